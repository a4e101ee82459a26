"""Images of one infant: reading them with their geometry, turning them to the model's axes and back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from nnunetv2_dualagg.dataset_conversion.volumes import open_volume
from nnunetv2_dualagg.utils.errors import UserError

SMALLEST_SPACING, LARGEST_SPACING = 0.2, 6.0
"""mm; what is outside is no scan of a brain, or its header is wrong."""

MAX_VOXELS = 2**28
SAME_GRID = 1e-3
"""mm; NIfTI stores positions in single precision."""


@dataclass(frozen=True)
class Image:
    """A 3-D image.

    Attributes:
        file: where it came from.
        data: (X, Y, Z) float32, in the order of the file.
        affine: 4x4, from voxels to world coordinates (RAS) in mm.
        oriented: whether the header says how the image lies in space.
    """

    file: Path
    data: NDArray[np.float32] = field(repr=False)
    affine: NDArray[np.float64] = field(repr=False)
    oriented: bool = True

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Size of a voxel along each axis in mm."""
        return voxel_sizes(self.affine)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def with_data(self, data: NDArray) -> "Image":
        """Other voxels on the same grid."""
        return Image(self.file, data, self.affine, self.oriented)


def read_image(file: Path) -> Image:
    """Read a NIfTI file.

    Raises:
        UserError: it is no NIfTI file, is cut off, or holds no 3-D image of a brain's size with finite values.
    """
    if not file.name.lower().endswith((".nii", ".nii.gz")):
        raise UserError(f"{file} is not a NIfTI file; expected a name that ends with .nii or .nii.gz")
    if not file.is_file():
        raise UserError(f"{file} does not exist")
    volume = open_volume(file)
    if np.prod([float(n) for n in volume.shape]) > MAX_VOXELS:
        raise UserError(f"{file} has {volume.shape} voxels; expected at most {MAX_VOXELS} in all")
    affine = volume.affine
    spacing = voxel_sizes(affine)
    if not np.all((spacing >= SMALLEST_SPACING) & (spacing <= LARGEST_SPACING)):
        shown = " x ".join(f"{s:g}" for s in spacing)
        raise UserError(f"{file} has voxels of {shown} mm; expected {SMALLEST_SPACING} to {LARGEST_SPACING} mm")
    data = volume.read().astype(np.float32)
    if not np.isfinite(data).all():
        raise UserError(f"{file} holds voxels that are NaN or infinite; expected numbers")
    if data.min() == data.max():
        raise UserError(f"{file} is the same everywhere ({data.flat[0]:g}); expected an image")
    header = volume.header
    return Image(file, data, affine, bool(header["sform_code"] or header["qform_code"]))


def same_grid(image: Image, other: Image) -> bool:
    """Whether two images have the same voxels at the same places."""
    if image.data.shape != other.data.shape:
        return False
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] *= image.data.shape
    return bool(np.abs((image.affine - other.affine) @ corners.T).max() < SAME_GRID)


def turned(data: NDArray, affine: NDArray, codes: str) -> tuple[NDArray, NDArray]:
    """Turn and flip an image so that its axes run as ``codes`` says, such as "RAS", as near as whole turns allow.

    Args:
        data: (X, Y, Z).
        affine: 4x4, of ``data``.
        codes: where the axes shall lead.

    Returns:
        The turned data and its affine.
    """
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    return apply_orientation(data, turn), affine @ nib.orientations.inv_ornt_aff(turn, data.shape)


def turned_back(data: NDArray, affine: NDArray, codes: str) -> NDArray:
    """Undo :func:`turned`.

    Args:
        data: with axes as ``codes`` says.
        affine: 4x4, of the image before it was turned.
        codes: as given to :func:`turned`.
    """
    return apply_orientation(data, ornt_transform(axcodes2ornt(codes), io_orientation(affine)))


def to_itk(data: NDArray, affine: NDArray) -> sitk.Image:
    """The image for SimpleITK, at the same place (LPS)."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = voxel_sizes(affine)
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def from_itk(image: sitk.Image) -> NDArray:
    """(X, Y, Z) of an image of SimpleITK."""
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0)


def save_labels(labels: NDArray[np.uint8], like: Image, file: Path) -> None:
    """Write labels on the grid of an image."""
    image = nib.Nifti1Image(labels, like.affine)
    if not like.oriented:
        image.set_sform(like.affine, code=0)
        image.set_qform(like.affine, code=0)
    nib.save(image, file)


def stem_of(file: Path, endings: Sequence[str] = ("T1w", "T1", "t1w", "t1")) -> str:
    """The name of an infant's file without its ending and without the modality, such as ``sub-01`` of sub-01_T1w."""
    name = file.name.removesuffix(".gz").removesuffix(".nii")
    for ending in endings:
        for separator in "_-.":
            if name.endswith(separator + ending) and len(name) > len(ending) + 1:
                return name[: -len(ending) - 1]
    return name
