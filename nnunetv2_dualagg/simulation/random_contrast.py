"""Images of an imaginary scanner: random contrast, field, resolution and noise from a map of tissues.

A network that has seen tissues in every contrast learns their shape and place instead of the contrast of one scanner
(Billot et al., "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining", Medical
Image Analysis 2023). The ranges hold the sites of :mod:`contrast` and reach far beyond: from the newborn's contrast
between grey and white matter through none to the toddler's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnunetv2_dualagg.simulation.anatomy import CSF, GM, WM
from nnunetv2_dualagg.simulation.separable import apply_along_axes, blurring_matrix, resampling_matrix

Range = tuple[float, float]
Fluid = Literal["dark", "bright", "either"]


@dataclass(frozen=True)
class Ranges:
    """What is drawn, for each channel by itself; signals are relative to grey matter, lengths in voxels.

    Attributes:
        fluid: signal of CSF where it is dark; where it is bright, its reciprocal.
        white: logarithm of white matter's signal where fluid is dark: of the youngest, the most frequent and the oldest
            age; where fluid is bright, its negative. Myelin shortens T1 and T2, so all channels show the same age.
        white_spread: deviation of that logarithm at one age.
        myelin: signal of deep less that of subcortical white matter where fluid is dark; elsewhere its negative.
        texture: deviation of the slow changes within a tissue.
        softness: sigma of the blur of the tissues' borders, for partial volume.
        bias: deviation of the logarithm of the bias field within a patch.
        blur: sigma of the point spread.
        thickness: of the slices, along one axis.
        noise: standard deviation.
    """

    fluid: Range = (0.3, 0.75)
    white: tuple[float, float, float] = (-0.15, 0.05, 0.2)
    white_spread: float = 0.04
    myelin: Range = (0.0, 0.15)
    texture: Range = (0.0, 0.03)
    softness: Range = (0.2, 0.8)
    bias: Range = (0.0, 0.12)
    blur: Range = (0.0, 0.8)
    thickness: Range = (1.0, 2.2)
    noise: Range = (0.01, 0.08)


DEFAULT_RANGES = Ranges()
_SHARES = {CSF: 6.0, GM: 8.0, WM: 7.0}
"""Parameters of a Dirichlet distribution: about 0.28, 0.38 and 0.33 of the brain, with a deviation of 0.1."""
_SHARE_OF_OTHERS = 1.0


def random_images(
    labels: NDArray, fluids: Sequence[Fluid], rng: np.random.Generator, ranges: Ranges = DEFAULT_RANGES
) -> NDArray[np.float32]:
    """Images of the same tissues in random contrasts, standardised as nnU-Net does it with a whole brain.

    Args:
        labels: (X, Y, Z) or (X, Y): 0 background, 1 CSF, 2 GM, 3 WM; further labels get a signal of their own.
        fluids: for each image whether fluid is dark, as in T1, bright, as in T2, or either.
        rng: source of randomness.
        ranges: what to draw from.

    Returns:
        (len(fluids), *labels.shape), exactly 0 outside the brain. A patch of one tissue keeps the value that the tissue
        has in the brain.
    """
    brain = labels > 0
    if not brain.any():
        return np.zeros((len(fluids), *labels.shape), np.float32)
    labels = labels.astype(np.intp)
    present = np.unique(labels).tolist()
    maturity = _maturity(labels, rng)
    white = rng.triangular(*ranges.white)
    images = np.zeros((len(fluids), *labels.shape), np.float32)
    for image, fluid in zip(images, fluids, strict=True):
        sign = 1 if fluid == "dark" or (fluid == "either" and rng.random() < 0.5) else -1
        signals = _draw_signals(present, white, sign, rng, ranges)
        clean = signals.take(labels)
        acquired = _image(labels, clean, sign * maturity, rng, ranges)
        image[brain] = _standardised(acquired[brain], clean[brain], signals, rng)
    return images


def _image(
    labels: NDArray, clean: NDArray[np.float32], maturity: NDArray[np.float32], rng: np.random.Generator, ranges: Ranges
) -> NDArray[np.float32]:
    """An acquired image of the tissues, whose signals without any disturbance are ``clean``."""
    texture = np.array([rng.uniform(*ranges.texture) for _ in range(labels.max() + 1)], np.float32)
    image = texture.take(labels)
    image *= smooth_noise(labels.shape, rng, knots=8)
    image += clean
    image += np.float32(rng.uniform(*ranges.myelin)) * maturity
    field = smooth_noise(labels.shape, rng, knots=3)
    field *= np.float32(rng.uniform(*ranges.bias))
    image *= np.exp(field, out=field)
    return _scanned(image, rng, ranges)


def _draw_signals(
    present: Sequence[int], white: float, sign: int, rng: np.random.Generator, ranges: Ranges
) -> NDArray[np.float32]:
    """The signal of each label, of all tissues of a brain and of what else is in the patch; nan for the rest.

    sign is 1 where fluid is dark, -1 where it is bright.
    """
    csf = rng.uniform(*ranges.fluid) ** sign
    signals = np.full(max(*present, WM) + 1, np.nan, np.float32)
    signals[[0, CSF]] = csf  # beyond the brain there is fluid, before it is cut away
    signals[GM] = 1
    signals[WM] = np.exp(sign * white + rng.normal(0, ranges.white_spread))
    for label in present:
        if label > WM:
            signals[label] = rng.uniform(min(csf, 1), max(csf, 1))
    return signals


def _standardised(
    found: NDArray[np.float32], clean: NDArray[np.float32], signals: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """With mean and deviation of a brain that has these signals in random shares, and within them what the patch has.

    nnU-Net standardises whole images. With the patch's own mean, fluid in a ventricle would look like any other tissue.

    Args:
        found: the acquired image in the brain's voxels.
        clean: their signals without any disturbance.
        signals: the signal of each label.
        rng: source of randomness.
    """
    tissues = [label for label in range(1, len(signals)) if np.isfinite(signals[label])]
    shares = rng.dirichlet([_SHARES.get(label, _SHARE_OF_OTHERS) for label in tissues])
    values = signals[tissues]
    mean = shares @ values
    # Partial volume brings the tissues closer to each other than their signals are: by the slope of a fitted line.
    variance = clean.var()
    covariance = np.dot(found, clean - clean.mean()) / len(clean)
    slope = covariance / variance if variance > 1e-6 else 1.0
    within = max(found.var() - slope * covariance, 0.0)
    deviation = np.sqrt(slope**2 * (shares @ (values - mean) ** 2) + within)
    return (found - np.float32(mean)) / np.float32(deviation)


def _scanned(image: NDArray[np.float32], rng: np.random.Generator, ranges: Ranges) -> NDArray[np.float32]:
    """Soft borders and point spread, slices that are thicker than a voxel along one axis, and noise."""
    shape = image.shape
    thickness = np.ones(image.ndim)
    thickness[rng.integers(image.ndim)] = rng.uniform(*ranges.thickness)
    coarse = [max(2, round(n / t)) for n, t in zip(shape, thickness, strict=True)]
    blur = np.hypot(rng.uniform(*ranges.softness), rng.uniform(*ranges.blur, size=image.ndim))
    blur = np.hypot(blur, 0.4 * np.sqrt(thickness**2 - 1))
    to_slices = [
        resampling_matrix(n, m, 1) @ blurring_matrix(n, sigma) for n, m, sigma in zip(shape, coarse, blur, strict=True)
    ]
    image = apply_along_axes(image, to_slices)
    image += np.float32(rng.uniform(*ranges.noise)) * rng.standard_normal(image.shape, np.float32)
    return _resampled(image, shape, order=1)


def _maturity(labels: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """Myelination: about 0.5 in deep, -0.5 in subcortical white matter, 0 elsewhere."""
    blur = [blurring_matrix(n, 5.0) for n in labels.shape]
    depth = apply_along_axes((labels == WM).astype(np.float32), blur)
    maturity = np.clip((depth - 0.3) / 0.5, 0, 1) - 0.5 + 0.25 * smooth_noise(labels.shape, rng, knots=6)
    return np.where(labels == WM, maturity, 0)


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, knots: int) -> NDArray[np.float32]:
    """Random numbers at ``knots`` positions per axis, with splines between them; SD 1."""
    field = _resampled(rng.standard_normal([knots] * len(shape), np.float32), shape, order=3)
    return field / np.float32(max(field.std(), 1e-6))


def _resampled(image: NDArray[np.float32], shape: tuple[int, ...], order: int) -> NDArray[np.float32]:
    if shape == image.shape:
        return image
    return apply_along_axes(image, [resampling_matrix(n, m, order) for n, m in zip(image.shape, shape, strict=True)])
