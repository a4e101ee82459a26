"""Finding a dataset of nnU-Net and its training cases."""

from pathlib import Path
from typing import Any, Protocol

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.forms import Files, Sites
from nnunetv2_dualagg.utils.json import read_json

SITES_FILE = "sites.json"
"""In a raw dataset that was converted by this package: what is known of each case."""


class FolderVariable(Protocol):
    """One of nnU-Net's environment variables, as ``nnunetv2.paths`` has them."""

    env_var_name: str

    def is_set(self) -> bool:
        """Whether the variable is set."""

    def require(self) -> str:
        """The folder."""


def required_folder(variable: FolderVariable) -> Path:
    """The folder that one of nnU-Net's environment variables names; it need not exist.

    Raises:
        UserError: the variable is not set.
    """
    if not variable.is_set():
        name = variable.env_var_name
        raise UserError(f"{name} is not set; type: export {name}=/the/folder")
    return Path(variable.require())


def dataset_name(dataset: int | str) -> str:
    """The full name, ``DatasetXXX_Name``, of a dataset in any of nnU-Net's three folders.

    Args:
        dataset: its number, or the full name.

    Raises:
        UserError: there is no such dataset, or several of that number.
    """
    number = dataset.removeprefix("Dataset").split("_")[0] if isinstance(dataset, str) else str(dataset)
    if not number.isdecimal():
        raise UserError(f"there is no dataset {dataset}; expected a number or a name like Dataset001_iSeg2019")
    found = [str(name) for name in find_candidate_datasets(int(number))]
    if isinstance(dataset, str) and "_" in dataset:
        found = [name for name in found if name == dataset]
    if not found:
        raise UserError(f"there is no dataset {dataset} in the folders of nnU-Net ({_folders()})")
    if len(found) > 1:
        raise UserError(f"dataset number {dataset} is ambiguous: {', '.join(found)}; expected one dataset per number")
    return found[0]


def training_cases(name: str) -> list[str]:
    """The identifiers of all training cases, sorted: from nnUNet_raw, or else from what preprocessing left.

    Args:
        name: the dataset's full name.

    Raises:
        UserError: neither folder has the dataset.
    """
    if nnUNet_raw.is_set() and (raw := Path(nnUNet_raw.require()) / name / "dataset.json").is_file():
        read_json(raw, Files)
        try:
            return sorted(str(case) for case in get_filenames_of_train_images_and_targets(str(raw.parent)))
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise UserError(
                f"{raw}: nnU-Net cannot list the training cases: {type(error).__name__}: {error}"
            ) from error
    preprocessed = required_folder(nnUNet_preprocessed) / name
    labels = preprocessed / "gt_segmentations"
    if not labels.is_dir() or not (preprocessed / "dataset.json").is_file():
        raise UserError(f"the training cases of {name} are unknown: {labels} does not exist, nor is it in nnUNet_raw")
    ending = read_json(preprocessed / "dataset.json", Files)["file_ending"]
    return sorted(file.name.removesuffix(ending) for file in labels.iterdir() if file.name.endswith(ending))


def case_subjects(name: str) -> dict[str, str] | None:
    """Case -> subject, of the cases whose subject may have others; None without a ``sites.json``.

    Args:
        name: the dataset's full name; ``sites.json`` is looked for in nnUNet_raw.

    Raises:
        UserError: the file is no JSON, or another one.
    """
    entries = _read_sites(name)
    return entries and {
        case: str(e["subject"]) for case, e in entries.items() if isinstance(e, dict) and "subject" in e
    }


def case_sites(name: str) -> dict[str, str] | None:
    """Case -> site; None without a ``sites.json``.

    Args:
        name: the dataset's full name; ``sites.json`` is looked for in nnUNet_raw.

    Raises:
        UserError: the file is no JSON, or another one.
    """
    entries = _read_sites(name)
    return entries and {case: str(e["site"] if isinstance(e, dict) else e) for case, e in entries.items()}


def _read_sites(name: str) -> dict[str, Any] | None:
    file = Path(nnUNet_raw.require()) / name / SITES_FILE if nnUNet_raw.is_set() else None
    return read_json(file, Sites) if file is not None and file.is_file() else None


def _folders() -> str:
    return ", ".join(f"{v.env_var_name}={v.get() or 'not set'}" for v in (nnUNet_raw, nnUNet_preprocessed))
