"""Planning a dataset, and saying what was planned."""

import io
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import nnunetv2
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunetv2_dualagg.planning.planner import DEFAULT_PREPROCESSOR, NNUNET_PLANS, PLANS_NAME, DualAggPlanner
from nnunetv2_dualagg.planning.splits import SPLITS_FILE, check_raw_splits, read_splits
from nnunetv2_dualagg.utils.errors import UserError, explained
from nnunetv2_dualagg.utils.forms import DatasetJson, Fingerprint, Plans
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.names import check_name, check_plans_name
from nnunetv2_dualagg.utils.nnunet_folders import dataset_name, required_folder, training_cases

MOST_GB, MOST_MM = 10_000, 100


def plan_dataset(
    dataset: int | str,
    gpu_memory_target: float = 8,
    overwrite_target_spacing: Sequence[float] | None = None,
    plans_name: str = PLANS_NAME,
    preprocessor_name: str = DEFAULT_PREPROCESSOR,
    overwrite: bool = False,
    verbose: bool = False,
) -> Path:
    """Plan the dual aggregation network for a dataset whose fingerprint nnU-Net has extracted.

    Args:
        dataset: the dataset's number or full name.
        gpu_memory_target: GPU memory that training may take, in GB.
        overwrite_target_spacing: voxel size z, y, x in mm; None for the data's median.
        plans_name: name of the plans.
        preprocessor_name: name of a preprocessor class of nnU-Net.
        overwrite: replace existing plans of another content.
        verbose: let nnU-Net's planner print what it tries.

    Returns:
        The plans file, in the dataset's folder below nnUNet_preprocessed.

    Raises:
        UserError: the dataset, its raw data or its fingerprint is missing, an option is out of range, images or memory
            are too small for a network, or the plans exist already with another content.
    """
    name = dataset_name(dataset)
    _check_options(gpu_memory_target, overwrite_target_spacing, plans_name, preprocessor_name)
    _check_dataset(name, plans_name)
    with nullcontext() if verbose else redirect_stdout(io.StringIO()):
        planner = DualAggPlanner(
            name,
            gpu_memory_target,
            preprocessor_name,
            plans_name,
            None if overwrite_target_spacing is None else [float(s) for s in overwrite_target_spacing],
            overwrite=overwrite,
        )
        with explained(f"nnU-Net cannot plan {name} from its dataset.json and fingerprint"):
            planner.plan_experiment()
    return planner.plans_file


def _check_options(
    gpu_memory_target: float, spacing: Sequence[float] | None, plans_name: str, preprocessor_name: str
) -> None:
    if not 0 < gpu_memory_target <= MOST_GB:
        raise UserError(f"the GPU memory target is {gpu_memory_target:g} GB; expected more than 0, at most {MOST_GB}")
    if spacing is not None and (len(spacing) != 3 or not all(0 < s <= MOST_MM for s in spacing)):
        found = " ".join(map(str, spacing))
        raise UserError(f"the target spacing is {found}; expected three numbers above 0 and up to {MOST_MM}, in mm")
    check_plans_name(plans_name)
    check_name(preprocessor_name, "the preprocessor")
    place = str(Path(nnunetv2.__path__[0]) / "preprocessing")
    if recursive_find_python_class(place, preprocessor_name, current_module="nnunetv2.preprocessing") is None:
        raise UserError(f"nnU-Net has no preprocessor {preprocessor_name}; expected a class of nnunetv2.preprocessing")


def _check_dataset(name: str, plans_name: str) -> None:
    raw = required_folder(nnUNet_raw) / name
    if not (raw / "dataset.json").is_file():
        raise UserError(f"{raw / 'dataset.json'} does not exist; nnU-Net plans from the raw dataset")
    preprocessed = required_folder(nnUNet_preprocessed) / name
    if not (preprocessed / "dataset_fingerprint.json").is_file():
        number = int(name[len("Dataset") :].split("_")[0])
        raise UserError(
            f"{preprocessed} holds no fingerprint of the dataset; type: nnUNetv2_extract_fingerprint -d {number} "
            f"(or nnUNetv2_plan_and_preprocess -d {number}, to have nnU-Net's default plans and data as well)"
        )
    description = read_json(raw / "dataset.json", DatasetJson)
    fingerprint = read_json(preprocessed / "dataset_fingerprint.json", Fingerprint)
    _check_fingerprint(
        preprocessed / "dataset_fingerprint.json", fingerprint, len(description.get("channel_names") or ())
    )
    for file in (preprocessed / f"{plans}.json" for plans in dict.fromkeys((plans_name, NNUNET_PLANS))):
        if file.is_file():
            read_json(file, Plans)
    splits = read_splits(preprocessed / SPLITS_FILE)
    if splits is not None:
        check_raw_splits(name, splits)


def _check_fingerprint(file: Path, fingerprint: dict[str, Any], channels: int) -> None:
    axes = {len(size) for size in (*fingerprint["spacings"], *fingerprint["shapes_after_crop"])}
    if len(axes) > 1 or len(fingerprint["spacings"]) != len(fingerprint["shapes_after_crop"]):
        raise UserError(f"{file}: spacings and shapes_after_crop do not fit together; extract the fingerprint again")
    found = set(fingerprint["foreground_intensity_properties_per_channel"])
    if found != {str(channel) for channel in range(channels)}:
        raise UserError(f"{file} is of the channels {', '.join(sorted(found))}, but dataset.json has {channels}")


def describe_plans(file: Path) -> str:
    """A line for each configuration of a plans file, and the next commands.

    Args:
        file: plans in a dataset's folder below nnUNet_preprocessed.
    """
    manager = PlansManager(str(file))
    lines = [f"{file}"]
    missing = {}
    cases = training_cases(manager.dataset_name)
    for name in manager.available_configurations:
        configuration = manager.get_configuration(name)
        missing[name] = not _is_preprocessed(file.parent / configuration.data_identifier, cases)
        lines.append(f"  {name:<20}{_describe(configuration)}{' (to preprocess)' if missing[name] else ''}")
    number = int(manager.dataset_name[len("Dataset") :].split("_")[0])
    first = "3d_fullres" if "3d_fullres" in missing else "2d"
    lines.append("Next:")
    if missing[first]:
        lines.append(f"  nnUNetv2_preprocess -d {number} -plans_name {manager.plans_name} -c {first}")
    lines.append(f"  nnUNetv2_train {number} {first} 0 -p {manager.plans_name}")
    return "\n".join(lines)


def _describe(configuration: ConfigurationManager) -> str:
    patch = "x".join(str(n) for n in configuration.patch_size)
    stages = configuration.network_arch_init_kwargs["n_stages"]
    return f"patch {patch:<13}batch {configuration.batch_size:<4}{stages} stages  data {configuration.data_identifier}"


def _is_preprocessed(folder: Path, cases: Sequence[str]) -> bool:
    return all((folder / f"{case}.pkl").is_file() for case in cases)
