"""Training with a modality that shows nothing, so that a network does not need all of them."""

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from torch import Tensor


class LostModalityTransform(ImageOnlyTransform):
    """Replace one modality by the scan of nothing: what the scanner adds, standardised, and no anatomy.

    At another site one of the modalities may be much the worse: noise and bias field beyond its contrast, which the
    standardisation enlarges. A network that was trained where both are good has no reason to segment by one of them.
    Dropped inputs teach it to (Neverova et al., "ModDrop", IEEE TPAMI 2016). They are not set to 0, since 0 is what
    an image has outside the brain, and since noise is what a standardised image without contrast shows.

    Nothing is lost of an image with a single channel.

    Args:
        scanner: what is added to an empty image of shape (1, *spatial), such as a bias field and noise.
        probability: of a sample, that one of its modalities is lost. Never two.
    """

    def __init__(self, scanner: BasicTransform, probability: float) -> None:
        super().__init__()
        self.scanner = scanner
        self.probability = probability

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the channel that is lost, or None. NumPy's generator is the one that nnU-Net seeds in its workers."""
        channels = data_dict["image"].shape[0]
        lost = channels > 1 and np.random.uniform() < self.probability
        return {"channel": np.random.randint(channels) if lost else None}

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        if params["channel"] is not None:
            old = img[params["channel"]]
            inside = old != 0
            if inside.any():
                scanned = self.scanner(image=torch.zeros_like(old)[None])["image"][0][inside]
                old[inside] = _standardised_like(scanned, old[inside])
        return img


def _standardised_like(values: Tensor, others: Tensor) -> Tensor:
    """``values`` with mean and standard deviation of ``others``."""
    deviation = values.std(correction=0).clamp(min=torch.finfo(values.dtype).eps)
    return (values - values.mean()) / deviation * others.std(correction=0) + others.mean()
