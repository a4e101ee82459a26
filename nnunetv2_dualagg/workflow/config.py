"""What ``config.yaml`` may contain. It is checked here and nowhere else."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.faults import sentence
from nnunetv2_dualagg.utils.files import regular_file
from nnunetv2_dualagg.utils.forms import Splits
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.workflow.data_options import Dataset, Name, Options

Plans = Literal[
    "nnUNetPlans",
    "nnUNetResEncUNetMPlans",
    "nnUNetResEncUNetLPlans",
    "nnUNetResEncUNetXLPlans",
    "nnUNetDualAggPlans",
]

PLANNERS: dict[str, str] = {
    "nnUNetPlans": "nnUNetv2_plan_experiment -pl ExperimentPlanner -d",
    "nnUNetResEncUNetMPlans": "nnUNetv2_plan_experiment -pl nnUNetPlannerResEncM -d",
    "nnUNetResEncUNetLPlans": "nnUNetv2_plan_experiment -pl nnUNetPlannerResEncL -d",
    "nnUNetResEncUNetXLPlans": "nnUNetv2_plan_experiment -pl nnUNetPlannerResEncXL -d",
    "nnUNetDualAggPlans": "nnUNetv2_dualagg plan -d",
}
"""Plans -> the command that writes them; the dataset's number comes behind it."""

SPLITS = ("default", "by-subject", "by-site", "loso")
CASCADE = "3d_cascade_fullres"
DEFAULT_FOLDS = 5


def _distinct(numbers: list[int]) -> list[int]:
    if not numbers:
        raise ValueError("is empty; expected a list of numbers such as [0, 1, 2]")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"names a number twice: {numbers}")
    return numbers


Numbers = Annotated[list[NonNegativeInt], AfterValidator(_distinct)]


class Method(Options):
    """One way to train: what nnU-Net calls trainer, plans and configuration."""

    name: Name
    trainer: Name
    plans: Plans = "nnUNetPlans"
    configuration: Name = "3d_fullres"
    num_gpus: PositiveInt = 1
    epochs: PositiveInt | None = None
    folds: Numbers | None = None

    @property
    def model(self) -> str:
        """The folder that nnU-Net gives its results."""
        return f"{self.trainer}__{self.plans}__{self.configuration}"

    @model_validator(mode="after")
    def _check(self) -> "Method":
        if self.configuration == CASCADE:
            raise ValueError(
                f"has the configuration {CASCADE}, which needs another model's predictions first; "
                "expected one that this workflow can train"
            )
        return self


class Reduced(Options):
    """A small configuration for every plans file that a method uses it with."""

    patch_size: list[PositiveInt]
    batch_size: PositiveInt
    features_per_stage: list[PositiveInt]


class Threads(Options):
    """Processor cores of each kind of job."""

    prepare: PositiveInt = 4
    train: PositiveInt = 12
    predict: PositiveInt = 4
    compare: PositiveInt = 4


class Config(Options):
    """``config.yaml``; see the comments in that file for what the keys mean."""

    dataset: Dataset
    named_methods: dict[str, Method] = Field(alias="methods")
    folds: Numbers
    seeds: Numbers
    splits: str | list[str] = "default"
    reduced_configurations: dict[Name, Reduced] = Field(default_factory=dict)
    ensembles: dict[Name, list[str]] = Field(default_factory=dict)
    device: Literal["cuda", "cpu", "mps"] = "cuda"
    augmentation_processes: NonNegativeInt | None = None
    step_size: Annotated[float, Field(gt=0, le=1)] = 0.5
    test_time_augmentation: bool = True
    threads: Threads = Threads()
    benchmark: str | None = None
    tissues: list[str] = Field(default_factory=list)

    @property
    def methods(self) -> tuple[Method, ...]:
        """All methods, in the order of the file."""
        return tuple(self.named_methods.values())

    def folds_of(self, method: Method) -> list[int]:
        """The folds that a method is trained on: its own, if it has some, or else everybody's."""
        return self.folds if method.folds is None else method.folds

    def last_fold(self) -> int:
        """The highest number of a fold that is asked for."""
        return max(fold for method in self.methods for fold in self.folds_of(method))

    @field_validator("named_methods", mode="before")
    @classmethod
    def _with_names(cls, methods: Any) -> Any:
        if not isinstance(methods, dict):
            return methods
        return {
            name: {"name": name, **options} if isinstance(options, dict) else options
            for name, options in methods.items()
        }

    @field_validator("reduced_configurations", "ensembles", "threads", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return {} if value is None else value  # a key with only comments behind it

    @model_validator(mode="after")
    def _check(self) -> "Config":
        self._check_methods()
        self._check_splits()
        self._check_ensembles()
        return self

    def _check_methods(self) -> None:
        if not self.methods:
            raise ValueError("methods is empty; expected at least one")
        trainings: dict[tuple[str, int], str] = {}
        for method in self.methods:
            where = f"methods: {method.name}"
            mine = [(method.model, fold) for fold in self.folds_of(method)]
            if twins := [trainings[training] for training in mine if training in trainings]:
                raise ValueError(
                    f"{where} and {twins[0]} are the same trainer, plans and configuration on the same folds"
                )
            if method.num_gpus > 1 and self.device != "cuda":
                raise ValueError(f"{where}: num_gpus is {method.num_gpus}, but device is {self.device}; expected cuda")
            trainings |= dict.fromkeys(mine, method.name)

    def _check_splits(self) -> None:
        splits = self.splits
        if isinstance(splits, str) and splits not in SPLITS and not splits.endswith(".json"):
            names = ", ".join(SPLITS)
            raise ValueError(f"splits is {splits}; expected {names}, a list of cases or a file ending in .json")
        available = DEFAULT_FOLDS if splits in ("default", "by-subject") else 1 if isinstance(splits, list) else None
        if available is not None and self.last_fold() >= available:
            raise ValueError(f"folds names {self.last_fold()}, but these splits have the folds 0 to {available - 1}")

    def _check_ensembles(self) -> None:
        for name, members in self.ensembles.items():
            if name in self.named_methods:
                raise ValueError(f"ensembles: {name} is a method's name too; choose another one")
            if len(members) < 2 or not set(members) <= self.named_methods.keys():
                known = ", ".join(sorted(self.named_methods))
                raise ValueError(f"ensembles: {name} is {members}; expected two or more of {known}")


def read_config(file: Path) -> Config:
    """Read a ``config.yaml``.

    Raises:
        UserError: the file is missing, no YAML, or asks for something that does not fit together.
    """
    import yaml

    if not file.is_file():
        raise UserError(f"{file} does not exist; nnUNetv2_dualagg workflow -o {file.parent} writes one")
    try:
        config = parse_config(yaml.safe_load(regular_file(file).read_text(encoding="utf-8")))
        _check_splits_file(config, file.parent)
        return config
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _check_splits_file(config: Config, root: Path) -> None:
    if isinstance(config.splits, str) and config.splits.endswith(".json"):
        number = len(read_json(root / config.splits, Splits))
        if config.last_fold() >= number:
            raise UserError(f"folds names {config.last_fold()}, but {config.splits} has the folds 0 to {number - 1}")


def parse_config(content: Any) -> Config:
    """Check what was read from ``config.yaml``.

    Raises:
        UserError: it asks for something that does not fit together.
    """
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise UserError(sentence(error, "the file")) from error
