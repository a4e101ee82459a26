"""Images of an imaginary scanner: random contrast, field, resolution and noise from a map of tissues.

A network that has seen tissues in every contrast learns their shape and place instead of the contrast of one scanner
(Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining", Medical
Image Analysis 2023). The ranges hold the sites of :mod:`contrast`, and reach far beyond them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_dualagg.simulation.anatomy import CSF, GM, WM

Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """What is drawn, for each channel by itself; signals are relative to grey matter, lengths in voxels.

    Attributes:
        fluid: signal of CSF; in half of the channels its reciprocal.
        white: logarithm of white matter's signal.
        myelin: signal of deep less that of subcortical white matter.
        texture: deviation of the slow changes within a tissue.
        softness: sigma of the blur of the tissues' borders, for partial volume.
        bias: logarithm of the bias field at its strongest.
        blur: sigma of the point spread.
        thickness: of the slices, along one axis.
        noise: standard deviation.
    """

    fluid: Range = (0.3, 0.75)
    white: Range = (-0.25, 0.25)
    myelin: Range = (-0.15, 0.15)
    texture: Range = (0.0, 0.05)
    softness: Range = (0.2, 0.8)
    bias: Range = (0.0, 0.3)
    blur: Range = (0.0, 0.8)
    thickness: Range = (1.0, 2.2)
    noise: Range = (0.01, 0.1)


DEFAULT_RANGES = Ranges()


def random_images(
    labels: NDArray, channels: int, rng: np.random.Generator, ranges: Ranges = DEFAULT_RANGES
) -> NDArray[np.float32]:
    """Images of the same tissues in independent random contrasts, standardised as nnU-Net does it.

    Args:
        labels: (X, Y, Z) or (X, Y): 0 background, 1 CSF, 2 GM, 3 WM; further labels get a signal of their own.
        channels: number of images.
        rng: source of randomness.
        ranges: what to draw from.

    Returns:
        (channels, *labels.shape), mean 0 and deviation 1 in the brain, exactly 0 outside.
    """
    brain = labels > 0
    if not brain.any():
        return np.zeros((channels, *labels.shape), np.float32)
    maturity = _maturity(labels, rng)
    return np.stack([_standardised(_image(labels, maturity, rng, ranges), brain) for _ in range(channels)])


def _image(labels: NDArray, maturity: NDArray, rng: np.random.Generator, ranges: Ranges) -> NDArray[np.float32]:
    shape = labels.shape
    fluid = rng.uniform(*ranges.fluid)
    fluid = fluid if rng.random() < 0.5 else 1 / fluid
    white = np.exp(rng.uniform(*ranges.white))
    signals = {0: fluid, CSF: fluid, GM: 1.0, WM: white}  # beyond the brain there is fluid, before it is cut away
    softness = rng.uniform(*ranges.softness)
    image, total = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for label in np.unique(labels):
        signal = signals.get(int(label), rng.uniform(min(fluid, 1), max(fluid, 1)))
        tissue = signal + rng.uniform(*ranges.texture) * smooth_noise(shape, rng, knots=8)
        if label == WM:
            tissue = tissue + rng.uniform(*ranges.myelin) * maturity
        share = ndimage.gaussian_filter((labels == label).astype(np.float32), softness)
        image += share * tissue
        total += share
    image /= np.maximum(total, 1e-6)
    image *= np.exp(rng.uniform(*ranges.bias) * smooth_noise(shape, rng, knots=4))
    return _scanned(image, rng, ranges)


def _scanned(image: NDArray[np.float32], rng: np.random.Generator, ranges: Ranges) -> NDArray[np.float32]:
    """Point spread, slices that are thicker than a voxel along one axis, and noise."""
    sigmas = rng.uniform(*ranges.blur, size=image.ndim)
    shape = image.shape
    thickness = np.ones(image.ndim)
    thickness[rng.integers(image.ndim)] = rng.uniform(*ranges.thickness)
    coarse = [max(2, round(n / t)) for n, t in zip(shape, thickness, strict=True)]
    image = ndimage.gaussian_filter(image, np.hypot(sigmas, 0.4 * np.sqrt(thickness**2 - 1)))
    image = _zoom(image, coarse)
    image = image + rng.uniform(*ranges.noise) * rng.standard_normal(image.shape, np.float32)
    return _zoom(image, shape)


def _maturity(labels: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """Myelination: about 0.5 in deep, -0.5 in subcortical white matter."""
    depth = ndimage.gaussian_filter((labels == WM).astype(np.float32), 5.0)
    return np.clip((depth - 0.3) / 0.5, 0, 1) - 0.5 + 0.25 * smooth_noise(labels.shape, rng, knots=6)


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, knots: int) -> NDArray[np.float32]:
    """Random numbers at ``knots`` positions per axis, with splines between them; SD 1."""
    field = _zoom(rng.standard_normal([knots] * len(shape), np.float32), shape)
    return field / max(float(field.std()), 1e-6)


def _zoom(image: NDArray[np.float32], shape: tuple[int, ...] | list[int]) -> NDArray[np.float32]:
    if list(shape) == list(image.shape):
        return image
    order = 1 if image.ndim == 3 and image.size > 1000 else 3
    zoomed = ndimage.zoom(image, np.divide(shape, image.shape), order=order, mode="nearest", grid_mode=True)
    return zoomed.astype(np.float32, copy=False)


def _standardised(image: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    inside = image[brain]
    return np.where(brain, (image - inside.mean()) / max(float(inside.std()), 1e-6), 0).astype(np.float32)
