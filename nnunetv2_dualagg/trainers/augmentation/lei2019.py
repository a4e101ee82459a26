"""Intensity changes by which the paper's authors brought iSeg-2019's testing sites closer to the training site.

The figures are those of the dual aggregation network's iSeg-2019 submission (Lei et al., "Infant brain MRI
segmentation with dilated convolution pyramid downsampling and self-attention", 2019, and public code of the
challenge): T1 contrast 4.7 about the mean, in training random from 4.5 to 5; T2 gamma 1.8, brightness -0.1,
contrast 1.35, in training random from 1.2 to 1.5; then each patch is standardised.

The paper does not say what the figures refer to, so these are our choices: intensities are first scaled to 0..1 by the
volume's maximum, the mean is that of the brain (the voxels that are not zero), results are clipped to 0..1 as image
libraries do, and zero stays zero. Without the clipping, contrast and brightness would be undone by the standardisation.

The functions take and return one volume or patch of any shape, as a numpy array or a torch tensor of a float type.
:class:`CrossSiteTransform` applies them in training, with random contrast; put it into a trainer's
``get_training_transforms``.
"""

from typing import Any, TypeVar

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform

Array = TypeVar("Array", np.ndarray, torch.Tensor)

T1_CONTRAST = 4.7
T1_CONTRAST_RANGE = (4.5, 5.0)
T2_CONTRAST = 1.35
T2_CONTRAST_RANGE = (1.2, 1.5)
T2_GAMMA = 1.8
T2_BRIGHTNESS = -0.1


def cross_site_t1(intensities: Array, contrast: float = T1_CONTRAST) -> Array:
    """Stretch the contrast of a T1 image about its mean.

    Args:
        intensities: zero outside the brain.
        contrast: the factor; for training, draw it from ``T1_CONTRAST_RANGE``.

    Returns:
        Values from 0 to 1.
    """
    scaled, brain = _scaled(intensities)
    return _contrast(scaled, brain, contrast)


def cross_site_t2(
    intensities: Array, contrast: float = T2_CONTRAST, gamma: float = T2_GAMMA, brightness: float = T2_BRIGHTNESS
) -> Array:
    """Change gamma, brightness and contrast of a T2 image, in this order.

    Args:
        intensities: zero outside the brain.
        contrast: the factor; for training, draw it from ``T2_CONTRAST_RANGE``.
        gamma: the exponent.
        brightness: what is added.

    Returns:
        Values from 0 to 1.
    """
    scaled, brain = _scaled(intensities)
    return _contrast((scaled**gamma + brightness).clip(0, 1) * brain, brain, contrast)


def z_score(patch: Array) -> Array:
    """Subtract the mean and divide by the standard deviation; a constant patch becomes zero."""
    centred = patch - patch.mean()
    sd = float((centred**2).mean()) ** 0.5
    return centred / sd if sd > 0 else centred


class CrossSiteTransform(ImageOnlyTransform):
    """The authors' changes of T1 (channel 0) and T2 (channel 1), with contrasts drawn from their ranges.

    It is made for images that nnU-Net has normalised by the z-score inside the mask of non-zero voxels: these are
    lifted so that the darkest voxel of the brain is just above zero, changed, and normalised again. What is exactly
    zero stays so, and other channels stay as they are.
    """

    def get_parameters(self, **data_dict: Any) -> dict[str, float]:
        """Draw both contrasts."""
        return {
            "t1": float(np.random.uniform(*T1_CONTRAST_RANGE)),
            "t2": float(np.random.uniform(*T2_CONTRAST_RANGE)),
        }

    def _apply_to_image(self, img: torch.Tensor, **params: float) -> torch.Tensor:
        """Change an image of shape (C, *spatial)."""
        changed = img.clone()
        for channel, change, contrast in ((0, cross_site_t1, params["t1"]), (1, cross_site_t2, params["t2"])):
            if channel < len(img) and (brain := img[channel] != 0).any():
                values = img[channel][brain]
                lifted = values - values.min() + torch.finfo(img.dtype).eps
                changed[channel][brain] = z_score(change(lifted, contrast))
        return changed


def _scaled(intensities: Array) -> tuple[Array, Array]:
    """Intensities from 0 to 1, and 1 in the brain and 0 outside."""
    positive = intensities.clip(0)
    highest = float(positive.max())
    if not highest < float("inf"):
        raise ValueError(f"the highest intensity is {highest}; expected a finite number")
    brain = (positive > 0) * (positive**0)
    return (positive / highest if highest else positive), brain


def _contrast(scaled: Array, brain: Array, factor: float) -> Array:
    mean = scaled.sum() / max(float(brain.sum()), 1)
    return ((scaled - mean) * factor + mean).clip(0, 1) * brain
