"""Planning a dataset, and saying what was planned."""

import io
import re
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

import nnunetv2
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunetv2_dualagg.planning.planner import DEFAULT_PREPROCESSOR, PLANS_NAME, DualAggPlanner
from nnunetv2_dualagg.planning.splits import SPLITS_FILE, check_raw_splits
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.nnunet_folders import dataset_name, required_folder, training_cases


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
    _check_dataset(name)
    with nullcontext() if verbose else redirect_stdout(io.StringIO()):
        planner = DualAggPlanner(
            name,
            gpu_memory_target,
            preprocessor_name,
            plans_name,
            None if overwrite_target_spacing is None else [float(s) for s in overwrite_target_spacing],
            overwrite=overwrite,
        )
        planner.plan_experiment()
    return planner.plans_file


def _check_options(
    gpu_memory_target: float, spacing: Sequence[float] | None, plans_name: str, preprocessor_name: str
) -> None:
    if not gpu_memory_target > 0:
        raise UserError(f"the GPU memory target is {gpu_memory_target:g} GB; expected more than 0")
    if spacing is not None and (len(spacing) != 3 or not all(s > 0 for s in spacing)):
        raise UserError(f"the target spacing is {' '.join(map(str, spacing))}; expected three numbers above 0, in mm")
    # nnU-Net names the results TRAINER__PLANS__CONFIGURATION and splits that name again.
    if not re.fullmatch(r"\w[\w.-]*", plans_name) or "__" in plans_name:
        raise UserError(f"the plans' name is '{plans_name}'; expected letters, digits, '-', '.' and single '_'")
    place = str(Path(nnunetv2.__path__[0]) / "preprocessing")
    if recursive_find_python_class(place, preprocessor_name, current_module="nnunetv2.preprocessing") is None:
        raise UserError(f"nnU-Net has no preprocessor {preprocessor_name}; expected a class of nnunetv2.preprocessing")


def _check_dataset(name: str) -> None:
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
    if (preprocessed / SPLITS_FILE).is_file():
        check_raw_splits(name, load_json(str(preprocessed / SPLITS_FILE)))


def describe_plans(file: Path) -> str:
    """A line for each configuration of a plans file, and the commands to type next.

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
