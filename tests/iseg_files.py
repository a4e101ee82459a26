"""Replicas of iSeg's files. The Analyze writer is written out by the format's definition, apart from the package."""

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np

TYPE_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "u2": 512}
SMALL = (12, 14, 10)
CODING_2017 = np.array([0, 10, 150, 250], np.uint8)

SHAPES = {
    **dict.fromkeys(range(1, 23), (144, 192, 256)),
    23: (160, 192, 256),
    **dict.fromkeys(range(24, 35), (256, 256, 256)),
    **dict.fromkeys(range(35, 40), (160, 224, 256)),
}


def header_bytes(shape, type_code, bits, spacing=(1, 1, 1), order="<", slope=0.0, display=(0, 0, 0, 0)):
    """An Analyze 7.5 header, field by field; display is cal_max, cal_min, glmax, glmin."""
    dim = [len(shape), *shape, *[1] * (7 - len(shape))]
    pixdim = [0, *spacing, *[0] * (7 - len(spacing))]
    key = struct.pack(order + "i10s18sihcc", 348, b"", b"", 16384, 0, b"r", b"0")
    image = struct.pack(order + "8h4s8s4h", *dim, b"mm", b"", 0, type_code, bits, 0)
    scale = struct.pack(order + "8f4f2f2i2i", *pixdim, 0, slope, 0, 0, *display[:2], 0, 0, *display[2:])
    # Origin as SPM keeps it: five shorts after the orientation byte.
    history = struct.pack(order + "80s24sc5h", b"FSL-like", b"", b"\0", 72, 96, 128, 0, 0) + bytes(85)
    assert len(key + image + scale + history) == 348
    return key + image + scale + history


def write_pair(path, voxels, order="<", spacing=(1, 1, 1), **fields):
    path = Path(path)
    kind = voxels.dtype.str[1:]
    header = header_bytes(voxels.shape, TYPE_CODES[kind], 8 * voxels.dtype.itemsize, spacing, order, **fields)
    path.with_suffix(".hdr").write_bytes(header)
    path.with_suffix(".img").write_bytes(voxels.astype(order + kind).tobytes(order="F"))


def write_nifti(path, voxels, order="<", spacing=(1, 1, 1), **fields):
    kind = voxels.dtype.str[1:]
    header = header_bytes(voxels.shape, TYPE_CODES[kind], 8 * voxels.dtype.itemsize, spacing, order, **fields)
    header = bytearray(header[:252]) + bytes(92) + b"n+1\0"  # qform and sform codes are zero
    struct.pack_into(order + "f", header, 108, 352)
    data = bytes(header) + bytes(4) + voxels.astype(order + kind).tobytes(order="F")
    Path(path).write_bytes(gzip.compress(data, 1) if str(path).lower().endswith(".gz") else data)


def write_image(stem, voxels, ending=".hdr", **options):
    """Write one image; the ending decides the format: .hdr, .nii or .nii.gz."""
    path = Path(stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    if ending == ".hdr":
        write_pair(path.parent / (path.name + ".hdr"), voxels, **options)
    else:
        write_nifti(path.parent / (path.name + ending), voxels, **options)


def brain(shape=SMALL, seed=0):
    """A label map 0 to 3 that no mirroring and no exchange of axes leaves as it is, with T1 and T2."""
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    low = [max(1, size // 4) for size in shape]
    inside = tuple(slice(start, size - 1) for start, size in zip(low, shape, strict=True))
    label[inside] = rng.integers(1, 4, label[inside].shape)
    label[tuple(low)], label[low[0], low[1], low[2] + 1], label[low[0], low[1] + 1, low[2]] = 1, 2, 3
    tissue, noise = label.astype(int), rng.integers(1, 99, (2, *shape)) * (label > 0)
    t1 = tissue * 250 + noise[0]
    t2 = (1000 - tissue * 250) * (tissue > 0) + noise[1]
    return label, t1.astype(np.int16), t2.astype(np.int16)


def write_subject(
    folder, number, *, ending=".hdr", label=True, shape=SMALL, name="subject-{n}-{kind}", fourth=False, coding=None,
    dtype="i2", **options,
):  # fmt: skip
    """Write one subject; returns its label map 0 to 3, T1 and T2 as arrays (x, y, z)."""
    arrays = brain(shape, seed=number)
    for kind, voxels in zip(("label", "T1", "T2"), arrays, strict=True):
        if kind == "label":
            stored = voxels if coding is None else np.asarray(coding, np.uint8)[voxels]
        else:
            stored = voxels.astype(dtype)
        if kind != "label" or label:
            stored = stored[..., None] if fourth else stored
            write_image(Path(folder) / name.format(n=number, kind=kind), stored, ending, **options)
    return arrays


def write_iseg(root, year=2019, numbers=(1, 2, 11, 24, 30, 35), **options):
    """Write the challenge's folders with some of its subjects; returns the folders and the arrays by number."""
    arrays, folders = {}, []
    for number in numbers:
        split = "Training" if number <= 10 else "Validation" if year == 2019 and number <= 23 else "Testing"
        folder = Path(root) / f"iSeg-{year}-{split}"
        arrays[number] = write_subject(folder, number, label=split == "Training", **options)
        if folder not in folders:
            folders.append(folder)
    return folders, arrays


def voxels_of(path):
    return np.asanyarray(nib.load(path).dataobj)


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def set_nnunet_folders(folder, monkeypatch):
    """Set nnU-Net's three variables to folders that do not exist yet; returns nnUNet_raw."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(folder / name))
    return folder / "nnUNet_raw"
