"""Files and commands of the jobs before the training: making the dataset, planning and preprocessing.

All paths are relative to the workflow's folder, in which Snakemake works, unless the user gave others.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.nnunet_folders import SITES_FILE
from nnunetv2_dualagg.workflow.config import PLANNERS, Config, Method

SHARED = ("2d", "3d_fullres")  # all planners use the data of nnU-Net's default plans for these
INHERIT_FULLRES = ("3d_paper",)


def _iseg_options(options: Mapping[str, Any]) -> list[Any]:
    """Options of ``convert_iseg``. A year that is not given is left to it: it must not take 2017 for 2019."""
    return [word for name in ("year", "sites") if options.get(name) for word in (f"-{name}", options[name])]


def _bobs_options(options: Mapping[str, Any]) -> list[Any]:
    """Options of ``convert_bobs``."""
    ages = ["-ages", *options["ages"]] if options.get("ages") else []
    return [*ages, *(["--keep-head"] if options.get("keep_head") else [])]


_CONVERT = {"iseg": _iseg_options, "bobs": _bobs_options}


class Data:
    """The dataset of one ``config.yaml``: raw, planned and preprocessed.

    Args:
        config: what the user asks for.
        root: the workflow's folder.
    """

    def __init__(self, config: Config, root: Path) -> None:
        self.config = config
        self.root = root.resolve()
        self.methods = {method.name: method for method in config.methods}
        self.models = {method.model: method for method in config.methods}
        self.plans = list(dict.fromkeys(method.plans for method in config.methods))

    @property
    def dataset(self) -> str:
        """The dataset's full name."""
        if self.is_raw:
            return Path(self.config.dataset["raw"]).name
        return f"Dataset{self.config.dataset['id']:03d}_{self.config.dataset.get('name') or self._usual_name()}"

    def _usual_name(self) -> str:
        """The name that the converter gives the dataset."""
        if self.config.sources == ["bobs"]:
            return "BOBs_head" if self.config.dataset["bobs"].get("keep_head") else "BOBs"
        return f"iSeg{(self.config.dataset.get('iseg') or {}).get('year', 2019)}"

    @property
    def is_raw(self) -> bool:
        """Whether the dataset is there already."""
        return self.config.sources == ["raw"]

    @property
    def is_phantom(self) -> bool:
        """Whether the dataset is made of a phantom."""
        return self.config.sources == ["phantom"]

    @property
    def number(self) -> int:
        """The dataset's number."""
        return int(self.dataset[len("Dataset") :][:3])

    @property
    def raw(self) -> Path:
        """The raw dataset."""
        return Path(self.config.dataset["raw"]) if self.is_raw else Path("nnUNet_raw") / self.dataset

    def raw_ready(self) -> str:
        """What is there once the raw dataset is."""
        return str(self.raw / "dataset.json") if self.is_raw else "done/convert"

    @property
    def preprocessed(self) -> Path:
        """The dataset's folder below nnUNet_preprocessed."""
        return Path("nnUNet_preprocessed") / self.dataset

    def phantom_options(self) -> str:
        """Options of ``nnUNetv2_dualagg phantom``."""
        words: list[Any] = []
        for key, value in self.config.dataset["phantom"].items():
            words += ["-maps" if key == "maps" else f"--{key}", *(value if isinstance(value, list) else [value])]
        return shlex.join(map(str, words))

    def source_folders(self) -> list[str]:
        """What is converted."""
        if self.is_phantom:
            return [f"phantom/iSeg-2019-{part}" for part in ("Training", "Testing", "Testing-labels")]
        return [str(folder) for source in self.config.sources for folder in self.config.dataset[source]["folders"]]

    def convert_command(self, processes: int) -> str:
        """The command that makes the raw dataset; two of them for a dataset of both sources."""
        if self.is_phantom:
            given = {"iseg": {"folders": self.source_folders(), "sites": "phantom/sites.csv"}}
        else:
            given = {source: self.config.dataset[source] for source in self.config.sources}
        commands = []
        for source, options in given.items():
            words = ["nnUNetv2_dualagg", f"convert_{source}", "-i", *options["folders"], "-d", self.number]
            words += ["-n", self.config.dataset["name"]] if self.config.dataset.get("name") else []
            words += [*_CONVERT[source](options), "-np", processes, "--add" if commands else "--overwrite"]
            commands.append(shlex.join(map(str, words)))
        return f"{{ {' && '.join(commands)}; }}"

    def splits_command(self) -> str:
        """The command that makes ``splits_final.json``."""
        splits, target = self.config.splits, str(self.preprocessed / "splits_final.json")
        if isinstance(splits, str) and splits.endswith(".json"):
            return shlex.join(["cp", splits, target])
        option = ["--holdout", *splits] if isinstance(splits, list) else [f"--{splits}"]
        return shlex.join(["nnUNetv2_dualagg", "splits", "-d", str(self.number), *option])

    def images(self) -> str:
        """The images to predict."""
        return str(self.config.dataset.get("images") or self.raw / "imagesTs")

    def references(self) -> str | None:
        """Reference segmentations of the predicted images, if there are any."""
        given = self.config.dataset.get("references")
        if given:
            return str(given)
        return str(self.raw / "labelsTs") if self.is_phantom or (self.root / self.raw / "labelsTs").is_dir() else None

    def sites(self) -> str | None:
        """``sites.json`` of the predicted images, if there is one: it lies above the references."""
        given = self.config.dataset.get("references")
        file = Path(given).parent / SITES_FILE if given else self.raw / SITES_FILE
        there = (not given and not self.is_raw) or (self.root / file).is_file()
        return str(file) if there else None

    def planning_command(self, plans: str) -> str:
        """The command that writes plans."""
        return f"{PLANNERS[plans]} {self.number}"

    def added(self) -> list[tuple[str, str]]:
        """Plans and reduced configurations that are used together."""
        pairs = ((method.plans, method.configuration) for method in self.config.methods)
        return [pair for pair in dict.fromkeys(pairs) if pair[1] in self.config.reduced_configurations]

    def configuration_options(self, configuration: str) -> str:
        """Options of ``nnUNetv2_dualagg add_configuration``."""
        reduced = self.config.reduced_configurations[configuration]
        patch, features = (" ".join(map(str, n)) for n in (reduced.patch_size, reduced.features_per_stage))
        return f"-patch_size {patch} -batch_size {reduced.batch_size} -features_per_stage {features}"

    def identifier(self, method: Method) -> str:
        """nnU-Net's name of the preprocessed data that a method trains on, known before it is planned."""
        fullres = method.configuration in (*self.config.reduced_configurations, *INHERIT_FULLRES)
        configuration = "3d_fullres" if fullres else method.configuration
        return f"{'nnUNetPlans' if configuration in SHARED else method.plans}_{configuration}"

    def identifiers(self) -> dict[str, tuple[str, str]]:
        """Preprocessed data -> plans and configuration to preprocess with: each data only once."""
        found: dict[str, tuple[str, str]] = {}
        for method in self.config.methods:
            identifier = self.identifier(method)
            configuration = identifier.split("_", 1)[1]
            # Those whose name the data carries, if they are there; the same data comes from all that share it.
            plans = "nnUNetPlans" if identifier.startswith("nnUNetPlans_") and "nnUNetPlans" in self.plans else None
            found.setdefault(identifier, (plans or method.plans, configuration))
        return found
