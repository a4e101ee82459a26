"""Plans for the dual aggregation network: nnU-Net's experiment planner with another network."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.architectures.network_options import network_options
from nnunetv2_dualagg.planning.paper import PAPER_CONFIGURATION, paper_configuration, suits_paper
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_file
from nnunetv2_dualagg.utils.forms import Plans
from nnunetv2_dualagg.utils.json import read_json

PLANS_NAME = "nnUNetDualAggPlans"
DEFAULT_PREPROCESSOR = "DefaultPreprocessor"

NNUNET_PLANS = "nnUNetPlans"
_PLANNED = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres", PAPER_CONFIGURATION)
# What the preprocessed data depends on, in the plans and in a configuration.
_DATASET_SETTINGS = ("image_reader_writer", "transpose_forward", "foreground_intensity_properties_per_channel")
_DATA_SETTINGS = (
    "preprocessor_name",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg",
    "resampling_fn_seg_kwargs",
)


class DualAggPlanner(ExperimentPlanner):
    """nnU-Net's planner with :class:`DualAggUNet` as its network, and the configuration ``3d_paper``.

    Topology, features and convolutions per stage are those of nnU-Net's PlainConvUNet. Patch and batch size follow from
    nnU-Net's own reference values, 560e6 (3-D) and 85e6 (2-D) output values of convolutions, at 8 GB. They were set
    with PlainConvUNet, and they mean the same memory here: per value counted, autograd saves 1.97 values in
    PlainConvUNet, 1.95 in ResidualEncoderUNet, 1.91 to 1.99 in DualAggUNet and at most 2.12 for 2-D maps of 256x256 or
    less, where channel attention's weights count (half precision, nine patches up to 128x128x128; GPU peaks were not
    measured). nnU-Net's planner for ResidualEncoderUNet chose otherwise: it raises the 3-D reference by 21 %, so that
    the patch stays that of PlainConvUNet and the memory grows.

    Args:
        dataset_name_or_id: the dataset's number or full name.
        gpu_memory_target_in_gb: GPU memory that training may take, in GB.
        preprocessor_name: name of a preprocessor class of nnU-Net.
        plans_name: name of the plans, that is, of the file without ``.json``.
        overwrite_target_spacing: voxel size z, y, x in mm; None for the data's median.
        suppress_transpose: keep the order of axes instead of putting the coarsest first.
        overwrite: replace existing plans of another content.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = DEFAULT_PREPROCESSOR,
        plans_name: str = PLANS_NAME,
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = False,
        overwrite: bool = False,
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.UNet_class = DualAggUNet
        self.overwrite = overwrite

    def get_plans_for_configuration(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """nnU-Net's plan of a configuration, with the options of our network."""
        plan = super().get_plans_for_configuration(*args, **kwargs)
        arch_kwargs = plan["architecture"]["arch_kwargs"]
        arch_kwargs |= network_options(arch_kwargs, plan["use_mask_for_norm"])
        return plan

    @staticmethod
    def static_estimate_VRAM_usage(
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: dict[str, Any],
        arch_kwargs_req_import: Sequence[str],
    ) -> int:
        """nnU-Net's estimate (output values of the convolutions), without allocating the network's weights.

        Raises:
            UserError: the network has fewer than 3 stages. nnU-Net's deep supervision gives the lowest output no
                weight, so with a single output the loss would be NaN.
        """
        if arch_kwargs["n_stages"] < 3:
            raise UserError(
                f"patches of {'x'.join(map(str, patch_size))} voxels leave fewer than the 3 stages that nnU-Net's deep "
                f"supervision needs: the images are too small, or the GPU memory target is too low"
            )
        with torch.device("meta"):
            network = get_network_from_plans(
                arch_class_name, arch_kwargs, arch_kwargs_req_import, input_channels, output_channels, allow_init=False
            )
        return network.compute_conv_feature_map_size(patch_size)

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Complete the plans and write them, all or nothing; configurations that the user has added are kept.

        Raises:
            UserError: the file is another planner's, or of another content and not to be overwritten.
        """
        plans.update(_as_in_json(plans))
        self._share_preprocessed_data(plans)
        fullres = plans["configurations"].get("3d_fullres")
        if fullres is not None and suits_paper(fullres["spacing"]):
            network = fullres["architecture"]["network_class_name"]
            plans["configurations"][PAPER_CONFIGURATION] = paper_configuration(network)
        file = self.plans_file
        if file.exists():
            old = read_json(file, Plans)
            self._keep_added_configurations(old, plans)
            if old != plans and not self.overwrite:
                raise UserError(
                    f"{file} exists already and differs; give another name (-overwrite_plans_name) or --overwrite"
                )
        with new_file(file, overwrite=True) as part:
            save_json(plans, str(part), sort_keys=False)

    @property
    def plans_file(self) -> Path:
        """Where the plans are written."""
        return self._folder / f"{self.plans_identifier}.json"

    @property
    def _folder(self) -> Path:
        return Path(nnUNet_preprocessed.require()) / self.dataset_name

    def _keep_added_configurations(self, old: dict[str, Any], plans: dict[str, Any]) -> None:
        planner = old.get("experiment_planner_used")
        if planner != plans["experiment_planner_used"]:
            raise UserError(f"{self.plans_file} was written by {planner}; choose another name (-overwrite_plans_name)")
        added = {name: c for name, c in old["configurations"].items() if name not in _PLANNED}
        plans["configurations"].update(added)

    def _share_preprocessed_data(self, plans: dict[str, Any]) -> None:
        """Let configurations use the data preprocessed for nnU-Net's default plans, where it is the same.

        Without default plans it is assumed to be the same (as nnU-Net's other planners do) unless this planner was told
        otherwise. The 3d_lowres spacing follows from the patch size, so it is only shared if found to be equal.
        """
        file = self._folder / f"{NNUNET_PLANS}.json"
        default = read_json(file, Plans) if file.exists() else None
        untouched = (
            self.overwrite_target_spacing is None
            and self.preprocessor_name == DEFAULT_PREPROCESSOR
            and not self.suppress_transpose
        )
        for name, configuration in plans["configurations"].items():
            if default is not None and _same_data(plans, default, name):
                configuration["data_identifier"] = default["configurations"][name]["data_identifier"]
            elif default is None and untouched and name in ("2d", "3d_fullres"):
                configuration["data_identifier"] = f"{NNUNET_PLANS}_{name}"


def _same_data(plans: dict[str, Any], other: dict[str, Any], configuration: str) -> bool:
    ours, theirs = (p["configurations"].get(configuration, {}) for p in (plans, other))
    return (
        "data_identifier" in ours
        and "data_identifier" in theirs
        and all(plans[key] == other.get(key) for key in _DATASET_SETTINGS)
        and all(ours[key] == theirs.get(key) for key in _DATA_SETTINGS)
    )


def _as_in_json(plans: dict[str, Any]) -> dict[str, Any]:
    """A copy as it will be read back, so that it compares equal with what is in a file."""
    recursive_fix_for_json_export(plans)
    return json.loads(json.dumps(plans))
