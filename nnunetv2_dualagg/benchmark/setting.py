"""What is compared: the plans, and the six networks built from them."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_dualagg.architectures.network_options import network_options
from nnunetv2_dualagg.planning.paper import paper_configuration
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.layers import DUALAGG_UNET

BASELINE = "PlainConvUNet"
FULL = "DualAggUNet"
RESENC = "ResidualEncoderUNet"
CONFIGURATION = "3d_fullres"
_UNETS = "dynamic_network_architectures.architectures.unet"
RESENC_BLOCKS = (1, 3, 4, 6, 6, 6)  # nnU-Net's ResEnc presets, of which M keeps the default's features and memory


@dataclass(frozen=True)
class Setting:
    """Plans of one 3-D configuration, and how large everything else is.

    Attributes:
        features: channels per stage.
        strides: strides per stage.
        patch_size: voxels.
        batch_size: of a training step; inference takes one patch at a time.
        volume: size of the image for the sliding window, voxels.
        sides: the position attention is timed on maps of side^3 voxels.
        naive_sides: so is the one with an N x N matrix, on some of them; side 32 takes 12 GiB in single precision.
        ours: arguments of DualAggUNet that the plans give instead of those of PlainConvUNet.
    """

    features: tuple[int, ...]
    strides: tuple[tuple[int, int, int], ...]
    patch_size: tuple[int, int, int]
    batch_size: int
    volume: tuple[int, int, int]
    sides: tuple[int, ...] = (8, 16, 32, 64)
    naive_sides: tuple[int, ...] = (8, 16, 32)
    ours: dict[str, Any] = field(default_factory=dict)

    @property
    def downsampling(self) -> tuple[int, ...]:
        """Product of all strides, per axis; the patch size has to be a multiple of it."""
        return tuple(int(torch.tensor(axis).prod()) for axis in zip(*self.strides, strict=True))

    def with_sizes(self, **sizes: Any) -> "Setting":
        """The setting with those sizes that are not None.

        Raises:
            UserError: the networks cannot take the patch, or a size is not positive.
        """
        setting = replace(self, **{name: value for name, value in sizes.items() if value is not None})
        if any(n % d for n, d in zip(setting.patch_size, self.downsampling, strict=True)):
            raise UserError(f"the patch size is {setting.patch_size}, expected multiples of {self.downsampling}")
        if min(*setting.patch_size, *setting.volume, setting.batch_size) < 1:
            raise UserError(f"patch size, batch size and volume have to be at least 1, not {sizes}")
        return setting


def _halving(n_stages: int) -> tuple[tuple[int, int, int], ...]:
    return ((1, 1, 1),) + ((2, 2, 2),) * (n_stages - 1)


def _paper() -> dict[str, Any]:
    return paper_configuration(DUALAGG_UNET)["architecture"]["arch_kwargs"]


SETTINGS = {
    # What nnU-Net 2.8 plans (3d_fullres, 8 GB) for T1 and T2 of 144 x 192 x 256 voxels at 1 mm, as in iSeg.
    "iseg": Setting((32, 64, 128, 256, 320, 320), (*_halving(5), (1, 2, 2)), (96, 128, 192), 2, (144, 192, 256)),
    # What nnU-Net's ResEnc M planner makes of them: DualAggUNet has residual blocks too, and as many.
    "resenc": Setting(
        (32, 64, 128, 256, 320, 320),
        (*_halving(5), (1, 2, 2)),
        (96, 128, 192),
        2,
        (144, 192, 256),
        ours={"n_blocks_per_stage": RESENC_BLOCKS, "n_conv_per_stage_decoder": (1,) * 5},
    ),
    # Our 3d_paper, beside nnU-Net's networks of as many stages and channels.
    "paper": Setting((32, 64, 128), _halving(3), (32, 32, 32), 5, (144, 192, 256), (8, 16), (8, 16), _paper()),
    # The network of "iseg" with one stage less on a patch that a CPU takes seconds for.
    "small": Setting((32, 64, 128, 256, 320), _halving(5), (48, 48, 48), 2, (96, 96, 96)),
    # To see whether the benchmark runs; its ratios mean nothing.
    "tiny": Setting((8, 16, 32), _halving(3), (8, 8, 8), 1, (12, 12, 12), (4, 8), (4,)),
}

DATASET_JSON: dict[str, Any] = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "CSF": 1, "GM": 2, "WM": 3},
    "file_ending": ".nii.gz",
}

# Name of the network: class, and what its arguments have beyond those of the plans.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    BASELINE: (f"{_UNETS}.PlainConvUNet", {}),
    RESENC: (f"{_UNETS}.ResidualEncoderUNet", {}),
    FULL: (DUALAGG_UNET, {}),
    f"{FULL} without attention": (DUALAGG_UNET, {"attention": False}),
    f"{FULL} without DCP": (DUALAGG_UNET, {"dcp": False}),
    f"{FULL} without both": (DUALAGG_UNET, {"attention": False, "dcp": False}),
}


def plans_of(setting: Setting) -> tuple[PlansManager, ConfigurationManager]:
    """The setting as nnU-Net's plans for a PlainConvUNet."""
    n = len(setting.features)
    arch_kwargs = {
        "n_stages": n,
        "features_per_stage": setting.features,
        "conv_op": "torch.nn.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * n,
        "strides": setting.strides,
        "n_conv_per_stage": [2] * n,
        "n_conv_per_stage_decoder": [2] * (n - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    architecture = {
        "network_class_name": NETWORKS[BASELINE][0],
        "arch_kwargs": arch_kwargs,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "patch_size": list(setting.patch_size),
        "use_mask_for_norm": [True] * len(DATASET_JSON["channel_names"]),
        "architecture": architecture,
    }
    plans = PlansManager({"label_manager": "LabelManager", "configurations": {CONFIGURATION: configuration}})
    return plans, plans.get_configuration(CONFIGURATION)


def build(name: str, setting: Setting, deep_supervision: bool) -> nn.Module:
    """One of :data:`NETWORKS`, with the initial weights that nnU-Net gives it."""
    class_name, options = NETWORKS[name]
    _, configuration = plans_of(setting)
    kwargs = configuration.network_arch_init_kwargs
    if class_name == DUALAGG_UNET:
        kwargs = kwargs | setting.ours
        if "n_blocks_per_stage" in setting.ours:
            del kwargs["n_conv_per_stage"]
        kwargs = network_options(kwargs, configuration.use_mask_for_norm) | kwargs
    kwargs |= options
    if name == RESENC:
        n = kwargs["n_stages"]
        del kwargs["n_conv_per_stage"]
        kwargs.update(n_blocks_per_stage=RESENC_BLOCKS[:n], n_conv_per_stage_decoder=[1] * (n - 1))
    return get_network_from_plans(
        class_name,
        kwargs,
        configuration.network_arch_init_kwargs_req_import,
        len(DATASET_JSON["channel_names"]),
        len(DATASET_JSON["labels"]),
        deep_supervision=deep_supervision,
    )
