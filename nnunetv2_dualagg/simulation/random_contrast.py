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
from scipy import ndimage

from nnunetv2_dualagg.simulation.anatomy import CSF, GM, WM

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
    if not (labels > 0).any():
        return np.zeros((len(fluids), *labels.shape), np.float32)
    maturity = _maturity(labels, rng)
    white = rng.triangular(*ranges.white)
    return np.stack([_image(labels, maturity, white, fluid, rng, ranges) for fluid in fluids])


def _image(
    labels: NDArray, maturity: NDArray, white: float, fluid: Fluid, rng: np.random.Generator, ranges: Ranges
) -> NDArray[np.float32]:
    shape = labels.shape
    dark = fluid == "dark" or (fluid == "either" and rng.random() < 0.5)
    sign = 1 if dark else -1
    signals = _draw_signals(labels, white, sign, rng, ranges)
    softness = rng.uniform(*ranges.softness)
    image, total = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for label in np.unique(labels):
        tissue = signals[label] + rng.uniform(*ranges.texture) * smooth_noise(shape, rng, knots=8)
        if label == WM:
            tissue = tissue + sign * rng.uniform(*ranges.myelin) * maturity
        share = ndimage.gaussian_filter((labels == label).astype(np.float32), softness)
        image += share * tissue
        total += share
    image /= np.maximum(total, 1e-6)
    image *= np.exp(rng.uniform(*ranges.bias) * smooth_noise(shape, rng, knots=3))
    return _standardised(_scanned(image, rng, ranges), labels, signals, rng)


def _draw_signals(
    labels: NDArray, white: float, sign: int, rng: np.random.Generator, ranges: Ranges
) -> dict[int, float]:
    """Label -> signal, of all tissues of a brain and of what else is in the patch; sign 1 where fluid is dark."""
    csf = rng.uniform(*ranges.fluid) ** sign
    wm = np.exp(sign * white + rng.normal(0, ranges.white_spread))
    signals = {0: csf, CSF: csf, GM: 1.0, WM: wm}  # beyond the brain there is fluid, before it is cut away
    others = [int(label) for label in np.unique(labels) if label not in signals]
    return signals | {label: rng.uniform(min(csf, 1), max(csf, 1)) for label in others}


def _standardised(
    image: NDArray[np.float32], labels: NDArray, signals: dict[int, float], rng: np.random.Generator
) -> NDArray[np.float32]:
    """With mean and deviation of a brain that has these signals in random shares, and within them what the patch has.

    nnU-Net standardises whole images. With the patch's own mean, fluid in a ventricle would look like any other tissue.
    """
    tissues = [label for label in signals if label > 0]
    shares = rng.dirichlet([_SHARES.get(label, _SHARE_OF_OTHERS) for label in tissues])
    values = np.array([signals[label] for label in tissues])
    mean = shares @ values
    brain = labels > 0
    # Partial volume brings the tissues closer to each other than their signals are: by the slope.
    lookup = np.zeros(max(signals) + 1, np.float32)
    lookup[tissues] = values
    found, signal = image[brain], lookup[labels[brain]]
    covariance, variance = np.cov(found, signal, bias=True)[1]
    slope = covariance / variance if variance > 1e-6 else 1.0
    within = np.var(found - slope * signal)
    deviation = np.sqrt(slope**2 * (shares @ (values - mean) ** 2) + within)
    return np.where(brain, (image - mean) / deviation, 0).astype(np.float32)


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
