"""Anatomy of the phantom: label maps of adult brains, deformed and shrunk to infant size."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from nnunetv2_dualagg.errors import UserError

CSF, GM, WM = 1, 2, 3
INFANT_SCALE = 0.85  # length of an infant brain at six months relative to an adult's
FWHM_TO_SIGMA = 0.4247
FIELD_OF_VIEW = 256.0  # mm; random fields are drawn for this cube, whatever the grid

# Boxes (|x| from, to, y from, to, z from, to, in MNI mm) that surely belong to the cerebrum or to the hindbrain
# (cerebellum and brain stem): the seeds of the watershed that separates them along the tentorium.
_ANY = 999
_CEREBRUM_BOXES = (
    (0, _ANY, -_ANY, _ANY, 6, _ANY),
    (0, _ANY, 0, _ANY, -_ANY, _ANY),
    (0, _ANY, -20, _ANY, -8, _ANY),
    (32, _ANY, -32, _ANY, -_ANY, _ANY),
    (0, _ANY, -_ANY, -96, -14, _ANY),
)
_HINDBRAIN_BOXES = (
    (0, 10, -42, -14, -_ANY, -14),
    (0, 36, -72, -48, -_ANY, -36),
    (0, 6, -66, -46, -_ANY, -8),
)


@dataclass(frozen=True)
class Anatomy:
    """A label map of one adult brain without cerebellum and brain stem.

    Attributes:
        name: the file or the atlas it comes from.
        labels: (X, Y, Z) uint8, axes right-anterior-superior, 0 background, 1 CSF, 2 GM, 3 WM.
        spacing: size of a voxel in mm.
    """

    name: str
    labels: NDArray[np.uint8]
    spacing: tuple[float, float, float]


def load_icbm152() -> Anatomy:
    """The ICBM152 2009a non-linear symmetric average brain that the nilearn package carries, as a label map.

    The average blurs the sulci and its mask is tight, so CSF counts twice when the largest fraction is chosen, and a
    rim of 2 mm of CSF is added outside. Cerebellum and brain stem are cut off by a watershed on the CSF fraction,
    whose crest is the tentorium.

    Source: Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54 (2011).

    Raises:
        UserError: nilearn is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise UserError(
            'the built-in anatomy needs nilearn; type: pip install "nnunetv2-dualagg[demo]" (or give -maps)'
        ) from error
    grey = nib.as_closest_canonical(datasets.load_mni152_gm_template(resolution=1))
    gm = grey.get_fdata(dtype=np.float32)
    wm = nib.as_closest_canonical(datasets.load_mni152_wm_template(resolution=1)).get_fdata(dtype=np.float32)
    brain = nib.as_closest_canonical(datasets.load_mni152_template(resolution=1)).get_fdata(dtype=np.float32) > 0

    csf = np.where(brain, np.clip(1 - gm - wm, 0, 1), 1)
    hindbrain = _hindbrain(csf, brain, origin=grey.affine[:3, 3])
    tissue = 1 + np.argmax([2 * csf, gm, wm], axis=0)
    cerebrum = brain & ~hindbrain
    rim = ndimage.binary_dilation(cerebrum, iterations=2) & ~cerebrum & ~hindbrain
    labels = np.where(cerebrum, tissue, np.where(rim, CSF, 0)).astype(np.uint8)
    return Anatomy("ICBM152", labels[bounding_box(labels > 0)], (1.0, 1.0, 1.0))


def _hindbrain(csf: NDArray[np.float32], brain: NDArray[np.bool_], origin: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mask of cerebellum and brain stem; grid of 1 mm, ``origin`` is the MNI position of its first voxel."""
    x, y, z = np.ogrid[tuple(slice(n) for n in csf.shape)]
    x, y, z = np.abs(x + origin[0]), y + origin[1], z + origin[2]
    seeds = np.zeros(csf.shape, np.uint8)
    for value, boxes in ((1, _CEREBRUM_BOXES), (2, _HINDBRAIN_BOXES)):
        for x0, x1, y0, y1, z0, z1 in boxes:
            seeds[(x >= x0) & (x <= x1) & (y >= y0) & (y <= y1) & (z >= z0) & (z <= z1) & brain] = value
    height = (255 * csf).astype(np.uint8)
    basins = sitk.MorphologicalWatershedFromMarkers(
        sitk.GetImageFromArray(height), sitk.GetImageFromArray(seeds), markWatershedLine=False
    )
    return (sitk.GetArrayFromImage(basins) == 2) & brain


def find_tissue_maps(folder: Path) -> list[Path]:
    """The NIfTI files of a folder, sorted by name.

    Raises:
        UserError: there is no such folder, or no ``.nii`` or ``.nii.gz`` file in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; -maps expects one with tissue maps (.nii or .nii.gz)")
    files = sorted(f for f in folder.iterdir() if f.name.endswith((".nii", ".nii.gz")))
    if not files:
        raise UserError(f"{folder} holds no tissue maps; expected .nii or .nii.gz files")
    return files


def load_tissue_map(file: Path) -> Anatomy:
    """Read a label map with values 0 background, 1 CSF, 2 GM and 3 WM, all of them present.

    Unlabelled holes inside the brain become CSF.

    Raises:
        UserError: the file cannot be read, is not 3-D or has other values.
    """
    try:
        image = nib.as_closest_canonical(nib.load(file))
        values = np.asanyarray(image.dataobj)
    except (ImageFileError, OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{file} cannot be read as a tissue map: {error}") from error
    if values.ndim != 3:
        raise UserError(f"{file} has {values.ndim} dimensions; a tissue map has 3")
    found = np.unique(values)
    if not np.array_equal(found, [0, CSF, GM, WM]):
        shown = ", ".join(f"{v:g}" for v in found[:8]) + (", ..." if len(found) > 8 else "")
        raise UserError(f"{file} has the values {shown}; a tissue map has 0, 1 (CSF), 2 (GM) and 3 (WM)")
    labels = values.astype(np.uint8)
    labels[ndimage.binary_fill_holes(labels > 0) & (labels == 0)] = CSF
    spacing = tuple(float(s) for s in image.header.get_zooms()[:3])
    return Anatomy(file.name, labels[bounding_box(labels > 0)], spacing)


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box that holds all of a mask."""
    return ndimage.find_objects(mask.astype(np.uint8))[0]


def random_tissue_fractions(
    anatomy: Anatomy, rng: np.random.Generator, spacing: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Deform an anatomy at random, shrink it to infant size and sample it on a grid of voxels.

    The map from the infant's brain to the adult's is a rotation (standard deviation 4 degrees), a scaling an axis
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
    rotation = Rotation.from_euler("xyz", rng.normal(0, 4, 3), degrees=True).as_matrix()
    scale = INFANT_SCALE * np.exp(rng.normal(0, 0.03, 3))
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
    # The mean over positions of the sum of squares of the cubic B-splines is 151/315 an axis.
    return (field / (151 / 315) ** 1.5).astype(np.float32)
