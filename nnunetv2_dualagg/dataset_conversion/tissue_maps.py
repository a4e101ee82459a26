"""Tissue maps from files: the anatomy of a phantom."""

from pathlib import Path

import nibabel as nib
import numpy as np

from nnunetv2_dualagg.dataset_conversion.volumes import listed, open_volume
from nnunetv2_dualagg.simulation.anatomy import CSF, GM, WM, Anatomy, anatomy_of
from nnunetv2_dualagg.utils.errors import UserError


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

    Raises:
        UserError: the file cannot be read or is damaged, is not 3-D or has other values.
    """
    volume = open_volume(file)
    affine = volume.affine
    if not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0):
        raise UserError(f"{file} has no valid orientation; expected one that gives the direction of its axes")
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.read(), affine))
    labels = np.asanyarray(image.dataobj)
    if not np.array_equal(np.unique(labels), [0, CSF, GM, WM]):
        raise UserError(f"{file} has the values {listed(labels)}; a tissue map has 0, 1 (CSF), 2 (GM) and 3 (WM)")
    x, y, z = (float(s) for s in image.header.get_zooms()[:3])
    return anatomy_of(file.name, labels, (x, y, z))
