"""What the user asks for in ``config.yaml``, checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.workflow.schema import make, mapping

PLANNERS = {
    "nnUNetPlans": "nnUNetv2_plan_experiment -pl ExperimentPlanner -d",
    "nnUNetResEncUNetMPlans": "nnUNetv2_plan_experiment -pl nnUNetPlannerResEncM -d",
    "nnUNetResEncUNetLPlans": "nnUNetv2_plan_experiment -pl nnUNetPlannerResEncL -d",
    "nnUNetResEncUNetXLPlans": "nnUNetv2_plan_experiment -pl nnUNetPlannerResEncXL -d",
    "nnUNetDualAggPlans": "nnUNetv2_dualagg plan -d",
}
"""Plans -> the command that writes them; the dataset's number comes behind it."""

SOURCES = ("phantom", "iseg", "bobs", "raw")
CONVERTED = ("iseg", "bobs")
"""Sources that are converted, alone or together."""
SPLITS = ("default", "by-subject", "loso")
DEVICES = ("cuda", "cpu", "mps")
THREADS = {"prepare": 4, "train": 12, "predict": 4, "compare": 4}
CASCADE = "3d_cascade_fullres"


@dataclass(frozen=True)
class Method:
    """One way to train: what nnU-Net calls trainer, plans and configuration."""

    name: str
    trainer: str
    plans: str = "nnUNetPlans"
    configuration: str = "3d_fullres"
    num_gpus: int = 1
    epochs: int | None = None

    @property
    def model(self) -> str:
        """The folder that nnU-Net gives its results."""
        return f"{self.trainer}__{self.plans}__{self.configuration}"


@dataclass(frozen=True)
class Reduced:
    """A small configuration for every plans file that a method uses it with."""

    patch_size: list[int]
    batch_size: int
    features_per_stage: list[int]


@dataclass(frozen=True)
class Config:
    """``config.yaml``; see the comments in that file for what the keys mean."""

    dataset: Mapping[str, Any]
    methods: tuple[Method, ...]
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    splits: str | list[str] = "default"
    reduced_configurations: Mapping[str, Reduced] = field(default_factory=dict)
    ensembles: Mapping[str, list[str]] = field(default_factory=dict)
    device: str = "cuda"
    augmentation_processes: int | None = None
    step_size: float = 0.5
    test_time_augmentation: bool = True
    threads: Mapping[str, int] = field(default_factory=dict)
    benchmark: str | None = None
    tissues: list[str] = field(default_factory=list)

    @property
    def sources(self) -> list[str]:
        """phantom, raw, or one or both of iseg and bobs."""
        return [source for source in SOURCES if self.dataset.get(source) is not None]


def read_config(file: Path) -> Config:
    """Read a ``config.yaml``.

    Raises:
        UserError: the file is missing, no YAML, or asks for something that does not fit together.
    """
    import yaml

    if not file.is_file():
        raise UserError(f"{file} does not exist; nnUNetv2_dualagg workflow -o {file.parent} writes one")
    try:
        return parse_config(yaml.safe_load(file.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def parse_config(content: Any) -> Config:
    """Check what was read from ``config.yaml``.

    Raises:
        UserError: it asks for something that does not fit together.
    """
    content = dict(mapping(content, "the file"))
    methods = mapping(content.pop("methods", None), "methods")
    content["methods"] = tuple(make(Method, options, f"methods: {name}", name) for name, options in methods.items())
    reduced = mapping(content.get("reduced_configurations") or {}, "reduced_configurations")
    content["reduced_configurations"] = {
        name: make(Reduced, options, f"reduced_configurations: {name}") for name, options in reduced.items()
    }
    for key in ("folds", "seeds"):
        content[key] = _numbers(content.get(key), key)
    for key in ("ensembles", "threads"):
        content[key] = mapping(content.get(key) or {}, key)
    content["threads"] = THREADS | content["threads"]
    config = make(Config, content, "the file")
    for check in (_check_dataset, _check_methods, _check_splits, _check_ensembles, _check_numbers):
        check(config)
    return config


def _numbers(value: Any, key: str) -> tuple[int, ...]:
    if not (isinstance(value, list) and value and all(type(number) is int and number >= 0 for number in value)):
        raise UserError(f"{key} is {value!r}; expected a list of numbers such as [0, 1, 2]")
    if len(set(value)) < len(value):
        raise UserError(f"{key} names a number twice: {value}")
    return tuple(value)


def _check_dataset(config: Config) -> None:
    dataset = mapping(config.dataset, "dataset")
    known = ("id", "name", *SOURCES, "images", "references")
    if unknown := [key for key in dataset if key not in known]:
        raise UserError(f"dataset has the unknown key {unknown[0]}; expected {', '.join(known)}")
    given = config.sources
    if len(given) != 1 and given != list(CONVERTED):
        found = " and ".join(given) or "no source"
        raise UserError(f"dataset has {found}; expected one of {', '.join(SOURCES)}, or iseg and bobs")
    if given == list(CONVERTED) and not dataset.get("name"):
        raise UserError("dataset has iseg and bobs but no name; expected one for the dataset of both, such as Infants")
    if given[0] == "raw":
        if not re.fullmatch(r"Dataset\d{3}_\w.*", Path(str(dataset["raw"])).name):
            raise UserError(f"dataset: raw is {dataset['raw']}; expected a folder named like Dataset123_Name")
    elif type(dataset.get("id")) is not int or not 1 <= dataset["id"] <= 999:
        raise UserError(f"dataset: id is {dataset.get('id')}; expected a number of 1 to 999 for the new dataset")
    if given[0] == "phantom":
        mapping(dataset["phantom"], "dataset: phantom")
    for source in CONVERTED:
        if source in given:
            folders = mapping(dataset[source], f"dataset: {source}").get("folders")
            if not (isinstance(folders, list) and folders):
                raise UserError(f"dataset: {source} has the folders {folders!r}; expected a list of folders of it")


def _check_methods(config: Config) -> None:
    if not config.methods:
        raise UserError("methods is empty; expected at least one")
    models: dict[str, str] = {}
    for method in config.methods:
        where = f"methods: {method.name}"
        if not re.fullmatch(r"[\w.+-]+", method.name):
            raise UserError(f"{where}: the name may have letters, digits and . + - _ only, for it names folders")
        if method.plans not in PLANNERS:
            raise UserError(f"{where}: plans is {method.plans}; expected one of {', '.join(PLANNERS)}")
        if method.configuration == CASCADE:
            raise UserError(
                f"{where}: {CASCADE} needs another model's predictions first, which this workflow cannot do"
            )
        if method.model in models:
            raise UserError(f"{where} and {models[method.model]} are the same trainer, plans and configuration")
        if method.num_gpus > 1 and config.device != "cuda":
            raise UserError(f"{where}: num_gpus is {method.num_gpus}, but device is {config.device}; expected cuda")
        models[method.model] = method.name


def _check_splits(config: Config) -> None:
    splits = config.splits
    if isinstance(splits, str) and splits not in SPLITS and not splits.endswith(".json"):
        names = ", ".join(SPLITS)
        raise UserError(f"splits is {splits}; expected {names}, a list of cases or a file ending in .json")
    available = 5 if splits in ("default", "by-subject") else 1 if isinstance(splits, list) else None
    if available is not None and max(config.folds) >= available:
        raise UserError(f"folds names {max(config.folds)}, but these splits have the folds 0 to {available - 1}")


def _check_ensembles(config: Config) -> None:
    names = {method.name for method in config.methods}
    for name, members in config.ensembles.items():
        if not isinstance(members, list):
            raise UserError(f"ensembles: {name} is {members!r}; expected a list of methods")
        if name in names:
            raise UserError(f"ensembles: {name} is a method's name too; choose another one")
        unknown = [member for member in members if member not in names]
        if unknown or len(members) < 2:
            raise UserError(f"ensembles: {name} is {members}; expected two or more of {', '.join(sorted(names))}")


def _check_numbers(config: Config) -> None:
    if config.device not in DEVICES:
        raise UserError(f"device is {config.device}; expected one of {', '.join(DEVICES)}")
    if not 0 < config.step_size <= 1:
        raise UserError(f"step_size is {config.step_size}; expected more than 0 and at most 1")
    for name, number in config.threads.items():
        if name not in THREADS or type(number) is not int or number < 1:
            raise UserError(f"threads: {name} is {number}; expected a number for each of {', '.join(THREADS)}")
