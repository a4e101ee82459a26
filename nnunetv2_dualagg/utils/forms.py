"""The forms of the JSON files that we read: what our commands rely on. More keys are always fine."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.layers import check_architecture

Whole = Annotated[int, Field(ge=0, le=2**31)]
Positive = Annotated[int, Field(ge=1, le=2**20)]
Millimetres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Label = Annotated[int, Field(ge=0, le=2**15 - 1)]
Ending = Annotated[str, StringConstraints(pattern=r"^\.[A-Za-z0-9]+(\.[A-Za-z0-9]+)?$")]
Channel = Annotated[str, StringConstraints(pattern=r"^\d{1,4}$")]


class Form(BaseModel):
    """A JSON object with some known keys."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


class Files(Form):
    """What ``dataset.json`` says of a dataset's files."""

    file_ending: Ending


class DatasetJson(Files):
    """``dataset.json`` of nnU-Net."""

    labels: dict[str, Label | list[Label]]
    channel_names: dict[str, str] | None = None
    ignored_may_be: list[str] | None = None


class TrainedDatasetJson(DatasetJson):
    """That of a model, where the channels count."""

    channel_names: Annotated[dict[Channel, str], Field(min_length=1)]


class OriginForm(Form):
    """Where data come from."""

    model_config = ConfigDict(extra="forbid")

    name: str
    description: str
    licence: str
    citation: str
    reference: str


class ConvertedDatasetJson(TrainedDatasetJson):
    """``dataset.json`` of a dataset that a converter made."""

    converted_by: str
    origins: list[OriginForm] = []


class Fold(Form):
    """One fold of ``splits_final.json``."""

    train: list[str]
    val: list[str]


Splits = Annotated[list[Fold], Field(min_length=1)]


class Site(Form):
    """A case in ``sites.json``."""

    site: str


class ConvertedSite(Site):
    """A case in ``sites.json`` of a dataset that a converter made."""

    split: str


Sites = dict[str, str | Site]
ConvertedSites = dict[str, ConvertedSite]


class Fingerprint(Form):
    """``dataset_fingerprint.json``."""

    spacings: Annotated[list[Annotated[list[Millimetres], Field(min_length=2, max_length=3)]], Field(min_length=1)]
    shapes_after_crop: Annotated[
        list[Annotated[list[Positive], Field(min_length=2, max_length=3)]], Field(min_length=1)
    ]
    foreground_intensity_properties_per_channel: dict[str, dict[str, float | None]]
    median_relative_size_after_cropping: float = 1.0


class Architecture(Form):
    """The network of a configuration; its layers are those of :mod:`layers`."""

    network_class_name: str
    arch_kwargs: dict[str, Any]
    kw_requires_import: list[str] = Field(alias="_kw_requires_import")

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("arch_kwargs"), dict):
            imports = content.get("_kw_requires_import")
            if isinstance(imports, list) and all(isinstance(key, str) for key in imports):
                try:
                    check_architecture(content, "architecture")
                except (UserError, TypeError) as error:
                    raise ValueError(str(error)) from error
        return content


class Configuration(Form):
    """A configuration in plans; what it does not have, it inherits."""

    inherits_from: str | None = None
    patch_size: Annotated[list[Positive], Field(min_length=2, max_length=3)] | None = None
    batch_size: Positive | None = None
    spacing: list[Millimetres] | None = None
    data_identifier: str | None = None
    architecture: Architecture | None = None


class Plans(Form):
    """``plans.json``, or one of the plans in a dataset's folder."""

    plans_name: str | None = None
    dataset_name: str | None = None
    foreground_intensity_properties_per_channel: dict[str, dict[str, float | None]] | None = None
    configurations: dict[str, Configuration]

    @model_validator(mode="after")
    def _heirs(self) -> "Plans":
        for name in self.configurations:
            seen = [name]
            while (parent := self.configurations[seen[-1]].inherits_from) is not None:
                if parent not in self.configurations:
                    raise ValueError(f"configuration {seen[-1]} inherits from {parent}, which does not exist")
                if parent in seen:
                    raise ValueError(f"configuration {name} inherits from itself")
                seen.append(parent)
        return self


class UNetKwargs(Form):
    """``arch_kwargs`` of a U-Net."""

    n_stages: Annotated[int, Field(ge=1, le=16)]
    strides: list[Annotated[list[Positive], Field(min_length=2, max_length=3)]]
    kernel_sizes: list[Any] = []
    n_conv_per_stage: list[Positive] = []
    n_blocks_per_stage: list[Positive] = []
    n_conv_per_stage_decoder: list[Positive]

    @field_validator("strides")
    @classmethod
    def _of_one_rank(cls, strides: list[list[int]]) -> list[list[int]]:
        if len({len(stage) for stage in strides}) != 1:
            raise ValueError("are not of one number of axes")
        return strides


class _Maker(Form):
    name: str | None = Field(default=None, alias="Name")


class BidsDescription(Form):
    """``dataset_description.json`` of a BIDS data set."""

    made_by: list[_Maker] = Field(default=[], alias="GeneratedBy")


class DebugJson(Form):
    """``debug.json`` of a training."""

    gpu_name: str | None = None
    device: str | None = None


class _Speed(Form):
    step_seconds: float
    patch_seconds: float


class _BenchmarkSetting(Form):
    patch_size: list[Positive]
    batch_size: Positive


class _BenchmarkOptions(Form):
    device: str


class Benchmark(Form):
    """What ``nnUNetv2_dualagg benchmark`` writes."""

    networks: dict[str, _Speed]
    setting: _BenchmarkSetting
    options: _BenchmarkOptions
