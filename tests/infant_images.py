"""A made-up infant: an ellipsoid of fluid, grey and white matter without any symmetry, as T1 and T2."""

import json

import nibabel as nib
import numpy as np
from scipy import ndimage

SPACING = 4.0
SHAPE = (36, 42, 34)
SIGNALS = {"T1": (0.0, 0.55, 1.0, 1.12), "T2": (0.0, 1.8, 1.0, 0.9)}


def tissues(seed=0, shape=SHAPE, spacing=SPACING):
    """Labels 0 to 3, about 700 ml."""
    rng = np.random.default_rng(seed)
    centre = (np.array(shape) - 1) / 2
    grid = (np.indices(shape).T - centre).T * spacing
    radius = np.sqrt(sum((axis / semi) ** 2 for axis, semi in zip(grid, (54, 66, 48), strict=True)))
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 8 / spacing)
    labels = np.where(field > 0, 3, 2)
    lake = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(grid, (20, 10, 8), strict=True))) < 14
    labels[lake | (radius > 0.9)] = 1
    labels[radius > 1] = 0
    return labels.astype(np.uint8)


def images(labels, seed=0, noise=0.04):
    """T1 and T2 as int16; 0 outside the brain."""
    rng = np.random.default_rng([seed, 1])
    found = {}
    for name, signals in SIGNALS.items():
        image = 500 * (np.array(signals)[labels] + noise * rng.standard_normal(labels.shape))
        found[name] = np.where(labels > 0, np.maximum(image, 1), 0).astype(np.int16)
    return found


def with_head(image, bright=1200):
    """Scalp and bone around a brain, and noise in the air."""
    rng = np.random.default_rng(7)
    brain = ndimage.binary_dilation(image > 0, iterations=1)
    bone = ndimage.binary_dilation(brain, iterations=2) & ~brain
    scalp = ndimage.binary_dilation(bone | brain, iterations=2) & ~bone & ~brain
    head = np.where(scalp, bright, np.where(bone, 60, image))
    return np.where(image > 0, image, head + rng.integers(1, 20, image.shape)).astype(np.int16)


def affine(codes="LAS", spacing=SPACING, shape=SHAPE):
    matrix = np.diag([*([spacing] * 3), 1.0])
    matrix[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    return matrix @ nib.orientations.inv_ornt_aff(turn, shape)


def save(array, matrix, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, matrix), file)
    return file


def write_infant(folder, name="sub-01", seed=0, codes="LAS"):
    """NAME_T1w.nii.gz and NAME_T2w.nii.gz; returns their paths."""
    found = images(tissues(seed), seed)
    return [save(image, affine(codes), folder / f"{name}_{kind}w.nii.gz") for kind, image in found.items()]


def write_bids(root, subjects=("01", "02"), session=None):
    """A raw data set with T1w and T2w of each subject."""
    root.mkdir(parents=True)
    description = {"Name": "Made-up infants", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    for seed, subject in enumerate(subjects):
        parts = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
        write_infant(root.joinpath(*parts, "anat"), "_".join(parts), seed)
    return root
