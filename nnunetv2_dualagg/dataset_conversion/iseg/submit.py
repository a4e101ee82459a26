"""Turn nnU-Net's predictions into the files that the iSeg challenge takes."""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nibabel.analyze import AnalyzeHeader
from tqdm import tqdm

from nnunetv2_dualagg.dataset_conversion.iseg.challenge import CODINGS, TISSUES, split_of, year_of
from nnunetv2_dualagg.dataset_conversion.iseg.layout import Subject, find_subjects, number_ranges
from nnunetv2_dualagg.dataset_conversion.volumes import AXIS_CODES, Volume, listed, naming, open_volume, recode
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_file

_PREDICTION = re.compile(r"iSeg_(\d+)\.nii(\.gz)?", re.IGNORECASE)


def submit_iseg(
    predictions: Path | str,
    iseg_folder: Path | str,
    output: Path | str,
    *,
    year: int | None = None,
    split: str | None = None,
    values: Sequence[int] | None = None,
    partial: bool = False,
    overwrite: bool = False,
) -> list[int]:
    """Write a flat zip of ``subject-N-label.hdr`` and ``.img``, uint8, with the shape and header of the subject's T1.

    Args:
        predictions: folder with nnU-Net's ``iSeg_NNN.nii.gz``, made from ``convert_iseg``'s images. Predictions for
            subjects that are not in ``iseg_folder`` are left out.
        iseg_folder: the challenge's own files; each of its subjects is expected to be predicted.
        output: the zip file.
        year: 2017 or 2019; None to recognise it. The values of the labels follow from it.
        split: submit only "training", "validation" or "testing" of ``iseg_folder``.
        values: the values for background, CSF, GM and WM, whatever the year.
        partial: accept that subjects are missing.
        overwrite: replace an existing file.

    Returns:
        The numbers of the subjects in the zip.

    Raises:
        UserError: subjects are missing, or a prediction has another shape, orientation or other labels than 0 to 3;
            then nothing has been written.
    """
    output = Path(output)
    if output.suffix.lower() != ".zip":
        raise UserError(f"{output} does not end with .zip; expected the name of a zip file")
    subjects, values = _subjects_and_values([iseg_folder], year, split, values)
    files = _find_predictions(Path(predictions))
    missing = [subject.number for subject in subjects if subject.number not in files]
    predicted = [subject for subject in subjects if subject.number in files]
    if not predicted or (missing and not partial):
        told = f"{predictions} has no prediction for the subjects {number_ranges(missing)} of {iseg_folder}"
        raise UserError(f"{told}; expected all of them, or some and --partial")
    with (
        new_file(output, overwrite, inputs=[iseg_folder, predictions]) as part,
        naming(output),
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for subject in tqdm(predicted, unit="case"):
            header, voxels = _label_pair(subject, files[subject.number], values)
            archive.writestr(f"subject-{subject.number}-label.hdr", header)
            archive.writestr(f"subject-{subject.number}-label.img", voxels)
    return [subject.number for subject in predicted]


def _subjects_and_values(
    folders: list[Path | str], year: int | None, split: str | None, values: Sequence[int] | None
) -> tuple[list[Subject], Sequence[int]]:
    """The subjects to submit, and the values of the four labels."""
    subjects, problems = find_subjects(folders)
    told = year_of(subjects, folders)
    if year and told and year != told:
        raise UserError(f"{folders[0]} is iSeg-{told} by names or numbers, but -year says {year}; leave -year out")
    year = year or told
    if year is None:
        if values is None or split is not None:
            raise UserError(
                f"{folders[0]}: the year cannot be recognised from names or numbers; give -year 2017 or 2019"
            )
    elif values is None:
        values = CODINGS[year]
    if len(set(values)) != len(TISSUES) or not all(0 <= value <= 255 for value in values):
        raise UserError(f"the label values are {', '.join(map(str, values))}; expected four different ones, 0 to 255")
    if split and year:
        subjects = [subject for subject in subjects if split_of(subject, year) == split]
    without = [subject.number for subject in subjects if "T1" not in subject.files]
    if without:
        problems.append(f"{folders[0]} has no T1 of the subjects {number_ranges(without)}; expected one for the header")
    if not subjects:
        problems.append(f"{folders[0]} holds no {split} subject; expected at least one")
    if problems:
        raise UserError(problems[0])
    return subjects, values


def _find_predictions(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected the folder of nnU-Net's predictions")
    files: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if name := _PREDICTION.fullmatch(path.name):
            first = files.setdefault(int(name[1]), path)
            if first != path:
                raise UserError(f"{path} is a second prediction for subject {int(name[1])}, after {first.name}")
    if not files:
        raise UserError(f"{folder} holds no predictions; expected files such as iSeg_024.nii.gz")
    return files


def _label_pair(subject: Subject, prediction: Path, values: Sequence[int]) -> tuple[bytes, bytes]:
    """The content of a subject's ``.hdr`` and ``.img``."""
    t1 = open_volume(subject.files["T1"])
    volume = open_volume(prediction)
    if volume.shape != t1.shape:
        raise UserError(f"{prediction} has shape {volume.shape}; expected {t1.shape} as {t1.path}")
    if volume.axis_codes != AXIS_CODES:
        found, expected = ("".join(codes) for codes in (volume.axis_codes, AXIS_CODES))
        raise UserError(f"{prediction} has orientation {found}; expected {expected}, as in the images that nnU-Net got")
    voxels = volume.read()
    labels, counts = recode(voxels, tuple(TISSUES.values()), values)
    if sum(counts) != voxels.size:
        raise UserError(f"{prediction} holds the labels {listed(voxels)}; expected only 0, 1, 2 and 3")
    absent = [name for name, count in zip(TISSUES, counts, strict=True) if name != "background" and not count]
    if len(absent) == len(TISSUES) - 1:
        raise UserError(f"{prediction} holds nothing but background; expected CSF, GM and WM")
    if absent:
        print(f"Remark: {prediction} holds no {' and no '.join(absent)}")
    return _label_header(t1).binaryblock, labels.tobytes(order="F")


def _label_header(t1: Volume) -> AnalyzeHeader:
    """The T1's own header, changed where it speaks of the voxels' type and values."""
    if t1.path.suffix.lower() == ".hdr":
        header = t1.header.copy()
    else:
        header = AnalyzeHeader()
        header.set_data_shape(t1.header.get_data_shape())
        header["pixdim"][1:4] = t1.spacing
    header.set_data_dtype(np.uint8)
    # No scale and no display range: of these, readers make factors for the voxels.
    for name in ("vox_offset", "scl_slope", "scl_inter", "cal_max", "cal_min", "glmax", "glmin"):
        if name in header.keys():  # noqa: SIM118 - a header is no dict
            header[name] = 0
    return header
