"""Individual brains for the phantom: an anatomy, deformed at random and shrunk to infant size."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from nnunetv2_dualagg.simulation.anatomy import CSF, GM, WM, Anatomy

INFANT_SCALE = 0.85  # length of an infant brain at six months relative to an adult's
FWHM_TO_SIGMA = 0.4247
FIELD_OF_VIEW = 256.0  # mm; random fields are drawn for this cube, whatever the grid


def random_tissue_fractions(
    anatomy: Anatomy, rng: np.random.Generator, spacing: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Deform an anatomy at random, shrink it to infant size and sample it on a grid of voxels.

    The map from the infant's brain to the adult's is a rotation (standard deviation 4 degrees), a scaling per axis
    (3 %) about ``INFANT_SCALE`` and a free-form deformation by cubic B-splines: 3 mm with knots every 40 mm plus
    1.5 mm with knots every 12 mm. It does not depend on the grid.

    Args:
        anatomy: the brain to start from.
        rng: source of randomness.
        spacing: size of the grid's voxels in mm.

    Returns:
        (3, X, Y, Z) fractions of CSF, GM and WM in each voxel; their sum is 1 in the brain, below 1 at its outer
        border and 0 outside. The grid is as large as the brain can become.
    """
    extent = np.multiply(anatomy.labels.shape, anatomy.spacing)
    angles, scales = np.clip(rng.standard_normal((2, 3)), -2, 2)  # no outliers that would not fit into the image
    rotation = Rotation.from_euler("xyz", 4 * angles, degrees=True).as_matrix()
    scale = INFANT_SCALE * np.exp(0.03 * scales)
    shape = tuple(int(n) for n in np.ceil((1.1 * scale * extent + 40) / spacing))

    points = np.stack(np.meshgrid(*grid_axes(shape, spacing), indexing="ij"))
    for amplitude, knots in ((3.0, 40.0), (1.5, 12.0)):
        for axis in range(3):
            points[axis] += amplitude * smooth_field(rng, shape, spacing, knots)
    to_voxels = rotation / scale / np.reshape(anatomy.spacing, (3, 1))
    voxels = np.tensordot(to_voxels.astype(np.float32), points, axes=1)
    voxels += (np.reshape(anatomy.labels.shape, (3, 1, 1, 1)).astype(np.float32) - 1) / 2

    # A voxel averages over its volume. The Gaussian stands for that, and keeps coarse grids free of aliasing.
    sigma = FWHM_TO_SIGMA * np.divide(spacing, INFANT_SCALE) / anatomy.spacing
    margin = int(np.ceil(4 * sigma.max()))
    labels = np.pad(anatomy.labels, margin)
    voxels += margin
    fractions = np.empty((3, *shape), np.float32)
    for i, tissue in enumerate((CSF, GM, WM)):
        smooth = ndimage.gaussian_filter((labels == tissue).astype(np.float32), sigma)
        ndimage.map_coordinates(smooth, voxels, output=fractions[i], order=1)
    return fractions


def grid_axes(shape: tuple[int, ...], spacing: tuple[float, ...]) -> list[NDArray[np.float32]]:
    """Positions of the voxels along each axis in mm, 0 in the middle."""
    return [((np.arange(n) - (n - 1) / 2) * step).astype(np.float32) for n, step in zip(shape, spacing, strict=True)]


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, ...], knots: float
) -> NDArray[np.float32]:
    """A smooth random field: a cubic B-spline with a normal random coefficient every ``knots`` mm.

    Args:
        rng: source of randomness; how much is drawn depends on ``knots`` only.
        shape: (X, Y, Z) of the grid, centred in the field of view.
        spacing: size of the grid's voxels in mm.
        knots: distance of the spline's knots in mm.

    Returns:
        (X, Y, Z) field with mean 0 and variance 1 (over draws).
    """
    count = int(np.ceil(FIELD_OF_VIEW / knots)) + 3
    field = rng.standard_normal((count,) * 3)
    positions = (np.arange(count + 4) - (count + 3) / 2) * knots
    for axis in grid_axes(shape, spacing):
        inside = np.clip(axis, -FIELD_OF_VIEW / 2, FIELD_OF_VIEW / 2)
        basis = BSpline.design_matrix(inside, positions, 3).toarray()
        field = np.tensordot(field, basis, axes=(0, 1))  # one axis of knots goes, one of voxels comes, at the end
    # The mean over positions of the sum of squares of the cubic B-splines is 151/315 per axis.
    return (field / (151 / 315) ** 1.5).astype(np.float32)
