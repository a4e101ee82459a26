"""Contrast of the phantom: isointense T1 and T2 images of four sites from tissue fractions."""

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunetv2_dualagg.simulation.deformation import FWHM_TO_SIGMA, smooth_field

T1_VOXEL = (1.0, 1.0, 1.0)  # mm, as acquired
T2_VOXEL = (1.25, 1.25, 1.95)


@dataclass(frozen=True)
class Contrast:
    """How one sequence of one scanner shows the tissues; signals and noise are relative to grey matter.

    Attributes:
        csf: signal of CSF.
        wm: mean signal of white matter.
        myelin: signal of deep (myelinating) white matter less that of subcortical white matter.
        noise: standard deviation of the noise.
        blur: full width at half maximum of the point spread in mm, beyond that of the acquired voxel.
        bias: standard deviation of the bias field that is left after correction.
        gain: the number stored for a signal of 1.
    """

    csf: float
    wm: float
    myelin: float
    noise: float
    blur: float
    bias: float
    gain: float


@dataclass(frozen=True)
class Site:
    """A scanner: its name in iSeg-2019 and its two sequences."""

    name: str
    t1: Contrast
    t2: Contrast


TRAINING_SITE = Site(
    "MAP",
    Contrast(csf=0.55, wm=1.035, myelin=0.07, noise=0.045, blur=0.0, bias=0.04, gain=500),
    Contrast(csf=1.80, wm=0.94, myelin=-0.08, noise=0.045, blur=0.0, bias=0.04, gain=450),
)
# The shifts are invented, within the range of published 6-month scans; they do not model these sites' scanners.
TESTING_SITES = (
    Site(
        "BCP",
        Contrast(csf=0.60, wm=1.06, myelin=0.09, noise=0.050, blur=1.0, bias=0.06, gain=700),
        Contrast(csf=1.60, wm=0.89, myelin=-0.10, noise=0.045, blur=0.8, bias=0.06, gain=600),
    ),
    Site(
        "Stanford",
        Contrast(csf=0.50, wm=1.02, myelin=0.05, noise=0.055, blur=1.3, bias=0.07, gain=320),
        Contrast(csf=2.05, wm=0.97, myelin=-0.05, noise=0.050, blur=1.0, bias=0.07, gain=300),
    ),
    Site(
        "Emory",
        Contrast(csf=0.62, wm=1.08, myelin=0.05, noise=0.060, blur=0.8, bias=0.05, gain=800),
        Contrast(csf=1.55, wm=0.98, myelin=-0.06, noise=0.055, blur=1.3, bias=0.08, gain=380),
    ),
)
SITES = {site.name: site for site in (TRAINING_SITE, *TESTING_SITES)}


def shifted(site: Site, factor: float) -> Site:
    """The site at ``factor`` times its distance from the training site: 0 is the training site, 1 the site itself."""
    t1 = _shifted(site.t1, TRAINING_SITE.t1, factor)
    return replace(site, t1=t1, t2=_shifted(site.t2, TRAINING_SITE.t2, factor))


def _shifted(contrast: Contrast, usual: Contrast, factor: float) -> Contrast:
    """All but the gain, which means nothing to a network that standardises; exactly the contrast for a factor of 1."""
    there, here = asdict(contrast), asdict(usual)
    moved = {name: value + (factor - 1) * (value - here[name]) for name, value in there.items() if name != "gain"}
    return replace(contrast, **moved)


def simulate_images(
    fractions: NDArray[np.float32],
    brain: NDArray[np.bool_],
    site: Site,
    rng: np.random.Generator,
    spacing: tuple[float, float, float],
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """T1 and T2 images of one subject.

    Args:
        fractions: (3, X, Y, Z) of CSF, GM and WM.
        brain: (X, Y, Z) mask; the images are 0 outside and at least 1 inside.
        site: where the subject is scanned.
        rng: source of randomness.
        spacing: size of the voxels in mm.

    Returns:
        Two (X, Y, Z) images.
    """
    maturity = _maturity(fractions[2], rng, spacing)
    return (
        _image(fractions, brain, maturity, site.t1, T1_VOXEL, rng, spacing),
        _image(fractions, brain, maturity, site.t2, T2_VOXEL, rng, spacing),
    )


def _maturity(
    wm: NDArray[np.float32], rng: np.random.Generator, spacing: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Myelination: 0.5 in deep, -0.5 in subcortical white matter, plus variation over the brain."""
    depth = ndimage.gaussian_filter(wm, np.divide(5.0, spacing))  # the share of white matter in the neighbourhood
    return np.clip((depth - 0.3) / 0.5, 0, 1) - 0.5 + 0.25 * smooth_field(rng, wm.shape, spacing, knots=30)


def _image(
    fractions: NDArray[np.float32],
    brain: NDArray[np.bool_],
    maturity: NDArray[np.float32],
    contrast: Contrast,
    voxel: tuple[float, float, float],
    rng: np.random.Generator,
    spacing: tuple[float, float, float],
) -> NDArray[np.int16]:
    _, gm, wm = fractions
    wm_mean = contrast.wm + rng.normal(0, 0.01)  # subjects of one site differ in age
    gm_signal = 1 + 0.015 * smooth_field(rng, brain.shape, spacing, knots=30)
    wm_signal = wm_mean + contrast.myelin * maturity
    # Outside the brain there is more CSF; it mixes into the border before the skull is stripped.
    signal = contrast.csf * (1 - gm - wm) + gm_signal * gm + wm_signal * wm
    signal *= np.exp(contrast.bias * smooth_field(rng, brain.shape, spacing, knots=60))
    signal = ndimage.gaussian_filter(signal, FWHM_TO_SIGMA * contrast.blur / np.array(spacing), mode="nearest")
    signal = _acquire(signal, contrast.noise, voxel, rng, spacing)
    # Gaussian noise: at these signal-to-noise ratios a magnitude image's Rician noise is no different.
    return np.where(brain, np.clip(np.rint(contrast.gain * signal), 1, np.iinfo(np.int16).max), 0).astype(np.int16)


def _acquire(
    signal: NDArray[np.float32],
    noise: float,
    voxel: tuple[float, float, float],
    rng: np.random.Generator,
    spacing: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Sample on the scanner's voxels where those are larger than the grid's, add noise, resample to the grid."""
    ratio = np.maximum(np.divide(voxel, spacing), 1)
    signal = ndimage.gaussian_filter(signal, FWHM_TO_SIGMA * np.sqrt(ratio**2 - 1), mode="nearest")
    acquired = _zoom(signal, tuple(int(n) for n in np.ceil(signal.shape / ratio)))
    acquired = acquired + noise * rng.standard_normal(acquired.shape, np.float32)
    return _zoom(acquired, signal.shape)


def _zoom(image: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if shape == image.shape:
        return image
    return ndimage.zoom(image, np.divide(shape, image.shape), order=3, mode="nearest", grid_mode=True)
