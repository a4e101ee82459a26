"""Images drawn anew from the labels of each patch, in place of those of the dataset."""

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform

from nnunetv2_dualagg.simulation.random_contrast import DEFAULT_RANGES, Ranges, random_images


class ImagesFromLabelsTransform(ImageOnlyTransform):
    """Replace the image by one in a random contrast for each channel; see :func:`random_images`.

    Labels below 0 mark what lies outside the brain, as nnU-Net does.

    Args:
        ranges: what to draw from.
    """

    def __init__(self, ranges: Ranges = DEFAULT_RANGES) -> None:
        super().__init__()
        self.ranges = ranges

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Take the labels, and a seed from NumPy's generator, which nnU-Net seeds in each of its workers."""
        return {"labels": data_dict["segmentation"][0].numpy(), "seed": np.random.randint(2**31)}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        labels = np.maximum(params["labels"], 0)
        images = random_images(labels, img.shape[0], np.random.default_rng(params["seed"]), self.ranges)
        return torch.from_numpy(images).to(img.dtype)
