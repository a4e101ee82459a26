"""Images drawn anew from the labels of each patch, in place of those of the dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform

from nnunetv2_dualagg.simulation.random_contrast import DEFAULT_RANGES, Fluid, Ranges, random_images


class ImagesFromLabelsTransform(ImageOnlyTransform):
    """Replace the image by one in a random contrast for each channel; see :func:`random_images`.

    Labels below 0 mark what lies outside the brain, as nnU-Net does.

    Args:
        fluids: for each channel whether fluid is dark, as in T1, bright, as in T2, or either.
        ranges: what to draw from.
    """

    def __init__(self, fluids: Sequence[Fluid], ranges: Ranges = DEFAULT_RANGES) -> None:
        super().__init__()
        self.fluids = fluids
        self.ranges = ranges

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Take the labels, and a seed from NumPy's generator, which nnU-Net seeds in each of its workers."""
        return {"labels": data_dict["segmentation"][0].numpy(), "seed": np.random.randint(2**31)}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        labels = np.maximum(params["labels"], 0)
        images = random_images(labels, self.fluids, np.random.default_rng(params["seed"]), self.ranges)
        return torch.from_numpy(images).to(img.dtype)


def fluids_of(channel_names: Sequence[str]) -> list[Fluid]:
    """Whether fluid is dark (T1), bright (T2) or, in channels of other names, either."""
    return [_FLUIDS.get(name.upper().removesuffix("W"), "either") for name in channel_names]


_FLUIDS: dict[str, Fluid] = {"T1": "dark", "T2": "bright"}
