"""Finding the cases of a comparison and reading them the way nnU-Net does."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from nnunetv2_dualagg.errors import UserError
from nnunetv2_dualagg.evaluation.orientation import to_ras

GEOMETRY_TOLERANCE = 1e-3  # mm; NIfTI stores positions in single precision


@dataclass(frozen=True)
class Labels:
    """What ``dataset.json`` says about the segmentations.

    Attributes:
        tissues: foreground name -> the label values that belong to it (several for a region).
        ignore: the label value of voxels to leave out, or None.
        channels: the names of the image channels, in nnU-Net's order.
        file_ending: such as ``.nii.gz``.
        content: the whole ``dataset.json``, for nnU-Net's choice of reader.
    """

    tissues: Mapping[str, tuple[int, ...]]
    ignore: int | None
    channels: tuple[str, ...]
    file_ending: str
    content: Mapping[str, Any] = field(repr=False)

    @property
    def known_values(self) -> set[int]:
        """Every label value that a segmentation may hold."""
        values = {0} | {value for values in self.tissues.values() for value in values}
        return values if self.ignore is None else values | {self.ignore}

    def paint(self, array: np.ndarray) -> np.ndarray:
        """Number the tissues for a picture.

        Args:
            array: label values of any shape.

        Returns:
            uint8: 1 for the first tissue and so on, the later one where regions overlap; 0 elsewhere.
        """
        painted = np.zeros(array.shape, np.uint8)
        for number, values in enumerate(self.tissues.values(), start=1):
            painted[np.isin(array, values)] = number
        return painted


@dataclass(frozen=True)
class Case:
    """One reference segmentation and what the methods made of it.

    Attributes:
        name: the case identifier, the file name without its ending.
        site: where it was acquired; "all sites" in a comparison without sites.
        reference: the reference segmentation.
        predictions: method -> run (the folder it lies in) -> file. Several runs of a method are folds or seeds.
        images: the image channels, empty if no image folder was given.
    """

    name: str
    site: str
    reference: Path
    predictions: Mapping[str, Mapping[str, Path]]
    images: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Volume:
    """A file that was read.

    Attributes:
        file: where it came from.
        array: the voxels, shape (z, y, x).
        properties: nnU-Net's; ``properties["spacing"]`` is in mm, in the array's order of axes.
    """

    file: Path
    array: np.ndarray = field(repr=False)
    properties: Mapping[str, Any] = field(repr=False)

    @property
    def ras(self) -> np.ndarray:
        """The voxels as :func:`orientation.to_ras` turns them, shape (right, anterior, superior)."""
        return to_ras(self.array, self.properties)


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: the file is no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}") from error


def load_labels(file: Path) -> Labels:
    """Read tissues, regions and the ignore label from nnU-Net's ``dataset.json``.

    Raises:
        UserError: ``labels`` or ``file_ending`` is missing, or there is no foreground label.
    """
    content = read_json(file)
    missing = [key for key in ("labels", "file_ending") if key not in content]
    if missing:
        raise UserError(f"{file} has no {' and no '.join(missing)}, expected nnU-Net's dataset.json")
    tissues = {}
    for name, value in content["labels"].items():
        values = tuple(value) if isinstance(value, list) else (value,)
        if name != "ignore" and set(values) != {0}:
            tissues[name] = values
    if not tissues:
        raise UserError(f"{file} declares no foreground label, expected at least one besides background")
    channels = tuple(content.get("channel_names", {}).values())
    return Labels(tissues, content["labels"].get("ignore"), channels, content["file_ending"], content)


def find_dataset_json(reference: Path, predictions: Mapping[str, Sequence[Path]]) -> Path:
    """The ``dataset.json`` beside the references, above them, or where nnU-Net left it with a prediction.

    Raises:
        UserError: there is none.
    """
    folders = [reference, reference.parent, *(folder for runs in predictions.values() for folder in runs)]
    for folder in folders:
        if (folder / "dataset.json").is_file():
            return folder / "dataset.json"
    raise UserError(f"no dataset.json found in {reference}, above it or in the predictions; name it with -djfile")


def load_sites(file: Path) -> dict[str, str]:
    """Read ``sites.json`` of ``convert_iseg``: ``{case: {"site": name, ...}}``; ``{case: name}`` will do too.

    Raises:
        UserError: the file has another form.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        raise UserError(f'{file} holds a {type(content).__name__}, expected {{"case": {{"site": "name"}}}}')
    sites = {case: entry.get("site") if isinstance(entry, dict) else entry for case, entry in content.items()}
    for case, site in sites.items():
        if not isinstance(site, str):
            raise UserError(f'{file} gives no site for case {case}, expected {{"{case}": {{"site": "name"}}}}')
    return sites


def read_image(file: Path, labels: Labels, like: Volume | None = None) -> Volume:
    """Read an image or a segmentation with nnU-Net's reader.

    Args:
        file: the image.
        labels: what ``dataset.json`` says.
        like: the volume whose voxel grid it must share, if any.

    Raises:
        UserError: the file cannot be read, is no single 3-D image, holds NaN, or differs from ``like`` in shape,
            spacing, origin or direction.
    """
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    reader = determine_reader_writer_from_dataset_json(dict(labels.content), verbose=False)()
    try:
        array, properties = reader.read_images([str(file)])
    except Exception as error:  # each of nnU-Net's readers has its own exceptions
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UserError(f"{file} cannot be read: {reason}") from error
    if len(array) != 1:
        raise UserError(f"{file} holds {len(array)} volumes, expected one")
    if not (np.isfinite(array).all() and _finite_on_disk(file)):
        raise UserError(f"{file} holds voxels that are NaN or infinite, expected numbers")
    volume = Volume(file, array[0], properties)
    if like is not None:
        check_same_grid(volume, like)
    return volume


def read_segmentation(file: Path, labels: Labels, like: Volume | None = None) -> Volume:
    """Read a segmentation (as int16); see :func:`read_image`.

    Raises:
        UserError: as there, or the file holds a value that ``dataset.json`` does not declare.
    """
    volume = read_image(file, labels, like)
    unknown = ~np.isin(volume.array, list(labels.known_values))
    if unknown.any():
        found, expected = _listed(np.unique(volume.array[unknown])), _listed(sorted(labels.known_values))
        raise UserError(f"{file} holds the label values {found}, which dataset.json does not declare ({expected})")
    return Volume(file, volume.array.astype(np.int16), volume.properties)


def check_same_grid(volume: Volume, like: Volume) -> None:
    """Two volumes must share voxel grid and position.

    Raises:
        UserError: shape, spacing, origin or direction differ.
    """
    found, expected = volume.array.shape[::-1], like.array.shape[::-1]
    if found != expected:
        raise UserError(f"{volume.file} has shape {found}, expected {expected} as in {like.file}")
    for name, ours, theirs in _geometry_pairs(volume.properties, like.properties):
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=GEOMETRY_TOLERANCE):
            raise UserError(f"{volume.file} has {name} {ours.tolist()}, expected {theirs.tolist()} as in {like.file}")


def _finite_on_disk(file: Path) -> bool:
    """ITK reads NaN in NIfTI files as 0, without a word."""
    if not file.name.endswith((".nii", ".nii.gz")):
        return True
    image = nib.load(file)
    return image.get_data_dtype().kind != "f" or bool(np.isfinite(np.asarray(image.dataobj)).all())


def _geometry_pairs(properties: Mapping, expected: Mapping) -> list[tuple[str, np.ndarray, np.ndarray]]:
    pairs = [("spacing", properties["spacing"], expected["spacing"])]
    for group in ("sitk_stuff", "nibabel_stuff"):
        pairs += [(key, value, expected[group][key]) for key, value in properties.get(group, {}).items()]
    return [(name, np.asarray(ours, float), np.asarray(theirs, float)) for name, ours, theirs in pairs]


def _listed(values: Sequence[float], most: int = 8) -> str:
    text = ", ".join(f"{value:g}" for value in values[:most])
    return text if len(values) <= most else f"{text}, ... ({len(values)} values)"
