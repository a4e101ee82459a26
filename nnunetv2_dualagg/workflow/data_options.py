"""What ``config.yaml`` may say about the data of an experiment."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from nnunetv2_dualagg.utils.names import is_dataset, is_name

SOURCES = ("phantom", "iseg", "bobs", "raw")
CONVERTED = ("iseg", "bobs")
"""Sources that are converted, alone or together."""


def _is_name(text: str) -> str:
    if not is_name(text):
        raise ValueError("is not a valid name; expected letters, digits and . + - _ only, and neither '..' nor '__'")
    return text


Name = Annotated[str, AfterValidator(_is_name)]
"""Of what becomes a part of paths and commands."""


class Options(BaseModel):
    """Options that must have the declared names and types; "2" is not a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Phantom(Options):
    """Options of ``nnUNetv2_dualagg phantom``."""

    num_training: Annotated[int, Field(ge=1, le=10_000)] = 10
    num_testing: Annotated[int, Field(ge=0, le=10_000)] = 2
    training_sites: Annotated[list[Name], Field(min_length=1)] | None = None
    shift: Annotated[float, Field(gt=0, le=2)] | None = None
    size: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)] | None = None
    spacing: float | Annotated[list[float], Field(min_length=1, max_length=3)] | None = None
    seed: NonNegativeInt | None = None
    file_ending: Literal[".img", ".nii.gz"] | None = None
    maps: str | None = None


class Iseg(Options):
    """Options of ``nnUNetv2_dualagg convert_iseg``."""

    folders: Annotated[list[str], Field(min_length=1)]
    year: Literal[2017, 2019] | None = None
    sites: str | None = None


class Bobs(Options):
    """Options of ``nnUNetv2_dualagg convert_bobs``."""

    folders: Annotated[list[str], Field(min_length=1)]
    ages: list[NonNegativeInt] | None = None
    keep_head: bool = False


class Dataset(Options):
    """The data: one of ``phantom``, ``iseg``, ``bobs`` and ``raw``, or ``iseg`` and ``bobs`` together."""

    id: Annotated[int, Field(ge=1, le=999)] | None = None
    name: Name | None = None
    phantom: Phantom | None = None
    iseg: Iseg | None = None
    bobs: Bobs | None = None
    raw: str | None = None
    images: str | Literal[False] | None = None
    references: str | None = None

    @property
    def sources(self) -> list[str]:
        """phantom, raw, or one or both of iseg and bobs."""
        return [source for source in SOURCES if getattr(self, source) is not None]

    @model_validator(mode="after")
    def _check(self) -> "Dataset":
        given = self.sources
        if len(given) != 1 and given != list(CONVERTED):
            found = " and ".join(given) or "no source"
            raise ValueError(f"has {found}; expected one of {', '.join(SOURCES)}, or iseg and bobs")
        if given == list(CONVERTED) and not self.name:
            raise ValueError("has iseg and bobs but no name; expected one for the dataset of both, such as Infants")
        if self.raw is not None and not is_dataset(Path(self.raw).name):
            raise ValueError(f"has raw = {self.raw}; expected a folder named like Dataset123_Name")
        if self.raw is None and self.id is None:
            raise ValueError("lacks id; expected a number of 1 to 999 for the new dataset")
        return self
