"""What ``dataset.json`` says about a converted dataset, and how the entries of two datasets are merged."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json

from nnunetv2_dualagg.dataset_conversion.origin import Origin, in_words
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.forms import ConvertedDatasetJson
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.nnunet_folders import SITES_FILE

DATASET_JSON = "dataset.json"
FILE_ENDING = ".nii.gz"

_PACKAGE = "nnunetv2_dualagg "


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says of a dataset besides its number of cases.

    Attributes:
        name: the name after the number.
        channels: names of the image channels, in their order.
        labels: name -> value.
        origins: where the data come from, and on what terms.
        converted_by: the commands that wrote it.
        skull_stripped: whether the images show the brain alone.
        ignored_may_be: the labels that an ignored voxel may belong to, where that is known; it belongs to no other.
            ``compare`` reads it.
    """

    name: str
    channels: Sequence[str]
    labels: Mapping[str, int]
    origins: Sequence[Origin]
    converted_by: Sequence[str]
    skull_stripped: bool = True
    ignored_may_be: Sequence[str] = ()

    def joined(self, folder: Path) -> "Description":
        """This description and that of the dataset that is in the folder already, if there is one.

        Raises:
            UserError: they do not fit together.
        """
        file = folder / DATASET_JSON
        if not file.is_file():
            return self
        before = read_json(file, ConvertedDatasetJson)
        channels = list(before["channel_names"].values())
        if channels != list(self.channels):
            raise UserError(f"{file} has the channels {channels}; expected {list(self.channels)} to add to")
        if before.get("skull_stripped", True) != self.skull_stripped:
            raise UserError(
                f"{file} says skull_stripped: {not self.skull_stripped}; expected the same of the data to add"
            )
        if clash := [name for name, value in self.labels.items() if before["labels"].get(name, value) != value]:
            raise UserError(f"{file} has another value for {clash[0]} than {self.labels[clash[0]]}; expected the same")
        return replace(
            self,
            labels=before["labels"] | dict(self.labels),
            origins=_together(_origins(before), self.origins),
            converted_by=_together(before["converted_by"].removeprefix(_PACKAGE).split(", "), self.converted_by),
            ignored_may_be=_together(before.get("ignored_may_be", []), self.ignored_may_be),
        )

    def write(self, folder: Path, table: Mapping[str, Mapping[str, Any]]) -> None:
        """Write ``dataset.json`` and ``sites.json``, which is ``table``, from :func:`merge_sites`."""
        save_json(table, str(folder / SITES_FILE), sort_keys=False)
        geometry = "; orientation of all files LAS"
        generate_dataset_json(
            str(folder),
            channel_names=dict(enumerate(self.channels)),
            labels=dict(self.labels),
            num_training_cases=sum(entry["split"] == "training" for entry in table.values()),
            file_ending=FILE_ENDING,
            dataset_name=self.name,
            overwrite_image_reader_writer="SimpleITKIO",  # keeps the order of the voxels; one of nnU-Net's does not
            reference=in_words(self.origins, "reference"),
            description=in_words(self.origins, "description") + geometry,
            license=in_words(self.origins, "licence"),
            converted_by=_PACKAGE + ", ".join(self.converted_by),
            origins=[asdict(origin) for origin in self.origins],
            skull_stripped=self.skull_stripped,
            **({"ignored_may_be": list(self.ignored_may_be)} if self.ignored_may_be else {}),
        )


def _origins(content: Mapping[str, Any]) -> list[Origin]:
    """Those in a ``dataset.json``; datasets of version 0.1.0 have one, in nnU-Net's own keys."""
    if "origins" in content:
        return [Origin.of(origin) for origin in content["origins"]]
    known = {key: str(content.get(key, "")) for key in ("name", "description", "licence", "citation", "reference")}
    return [Origin(**known)]


def _together(before: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys([*before, *new]))
