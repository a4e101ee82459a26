"""The raw dataset of an experiment, and what makes it.

All paths are relative to the workflow's folder, in which Snakemake works, unless the user gave others.
"""

import shlex
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.nnunet_folders import SITES_FILE
from nnunetv2_dualagg.workflow.data_options import Bobs, Dataset, Iseg


def _iseg_options(options: Iseg) -> list[Any]:
    """Options of ``convert_iseg``. A year that is not given is left to it: it must not take 2017 for 2019."""
    given = {"-year": options.year, "-sites": options.sites}
    return [word for name, value in given.items() if value for word in (name, value)]


def _bobs_options(options: Bobs) -> list[Any]:
    """Options of ``convert_bobs``."""
    ages = ["-ages", *options.ages] if options.ages else []
    return [*ages, *(["--keep-head"] if options.keep_head else [])]


class Data:
    """The raw dataset of one ``config.yaml``.

    Args:
        options: what the user says about the data.
        root: the workflow's folder.
    """

    def __init__(self, options: Dataset, root: Path) -> None:
        self.options = options
        self.root = root.resolve()

    @property
    def is_raw(self) -> bool:
        """Whether the dataset is there already."""
        return self.options.raw is not None

    @property
    def is_phantom(self) -> bool:
        """Whether the dataset is made of a phantom."""
        return self.options.phantom is not None

    @property
    def name(self) -> str:
        """The dataset's full name."""
        if self.options.raw is not None:
            return Path(self.options.raw).name
        return f"Dataset{self.options.id:03d}_{self.options.name or self._usual_name()}"

    def _usual_name(self) -> str:
        """The name that the converter gives the dataset."""
        iseg, bobs = self.options.iseg, self.options.bobs
        if bobs is not None and iseg is None:
            return "BOBs_head" if bobs.keep_head else "BOBs"
        return f"iSeg{(iseg and iseg.year) or 2019}"

    @property
    def number(self) -> int:
        """The dataset's number."""
        return int(self.name[len("Dataset") :][:3])

    @property
    def raw(self) -> Path:
        """The raw dataset."""
        return Path("nnUNet_raw") / self.name if self.options.raw is None else Path(self.options.raw)

    def raw_ready(self) -> str:
        """What is there once the raw dataset is."""
        return "done/convert" if self.options.raw is None else str(self.raw / "dataset.json")

    @property
    def preprocessed(self) -> Path:
        """The dataset's folder below nnUNet_preprocessed."""
        return Path("nnUNet_preprocessed") / self.name

    def phantom_options(self) -> str:
        """Options of ``nnUNetv2_dualagg phantom``."""
        words: list[Any] = []
        options = self.options.phantom.model_dump(exclude_none=True, exclude_unset=True) if self.options.phantom else {}
        for key, value in options.items():
            words += [
                f"-{key}" if key in ("maps", "seed") else f"--{key}",
                *(value if isinstance(value, list) else [value]),
            ]
        return shlex.join(f"{word:g}" if isinstance(word, float) else str(word) for word in words)

    def source_folders(self) -> list[str]:
        """What is converted."""
        return [folder for source in self._converted() for folder in source.folders]

    def convert_command(self, processes: int) -> str:
        """The command that makes the raw dataset; two of them for a dataset of both sources."""
        commands: list[str] = []
        for source in self._converted():
            options = _iseg_options(source) if isinstance(source, Iseg) else _bobs_options(source)
            command = "convert_iseg" if isinstance(source, Iseg) else "convert_bobs"
            words: list[Any] = ["nnUNetv2_dualagg", command, "-i", *source.folders, "-d", self.number]
            words += ["-n", self.options.name] if self.options.name else []
            words += [*options, "-np", processes, "--add" if commands else "--overwrite"]
            commands.append(shlex.join(map(str, words)))
        return f"{{ {' && '.join(commands)}; }}"

    def _converted(self) -> list[Iseg | Bobs]:
        if self.is_phantom:
            folders = [f"phantom/iSeg-2019-{part}" for part in ("Training", "Testing", "Testing-labels")]
            return [Iseg(folders=folders, sites="phantom/sites.csv")]
        return [source for source in (self.options.iseg, self.options.bobs) if source is not None]

    def images(self) -> str | None:
        """The images to predict; None if there are none."""
        given, phantom = self.options.images, self.options.phantom
        if given is False or (given is None and phantom is not None and phantom.num_testing == 0):
            return None
        return str(given or self.raw / "imagesTs")

    def references(self) -> str | None:
        """Reference segmentations of the predicted images, if there are any."""
        if self.options.references:
            return self.options.references
        return str(self.raw / "labelsTs") if self.is_phantom or (self.root / self.raw / "labelsTs").is_dir() else None

    def sites(self) -> str | None:
        """``sites.json`` of the predicted images, if there is one: it lies above the references."""
        given = self.options.references
        file = Path(given).parent / SITES_FILE if given else self.raw / SITES_FILE
        there = (not given and not self.is_raw) or (self.root / file).is_file()
        return str(file) if there else None
