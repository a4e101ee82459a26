"""The networks that trainers build from plans, without the trainers: whoever segments imports no training."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_dualagg.architectures.foreground import ForegroundUNet
from nnunetv2_dualagg.architectures.network_options import foreground_options, network_options
from nnunetv2_dualagg.utils.layers import DUALAGG_UNET, check_layers
from nnunetv2_dualagg.utils.trainer_names import parse_length

UNETS = ("PlainConvUNet", "ResidualEncoderUNet", "DualAggUNet")

NO_ATTENTION = {"attention": False}
NO_DCP = {"dcp": False}
NO_FOREGROUND = {"foreground_channel": False}
BASELINE = {"dcp": False, "attention": False}

Builder = Callable[[PlansManager, ConfigurationManager, int, int, bool], nn.Module]
"""Plans, configuration, number of input channels, number of outputs, deep supervision -> network."""


def dualagg_network(
    plans_manager: PlansManager,
    configuration_manager: ConfigurationManager,
    num_input_channels: int,
    num_output_channels: int,
    deep_supervision: bool,
    *,
    options: Mapping[str, Any],
    trainer: str,
) -> nn.Module:
    """A DualAggUNet from the plans of any U-Net.

    Args:
        plans_manager: nnU-Net's or our plans.
        configuration_manager: one of their configurations.
        num_input_channels: channels of the images, and of a cascade's labels.
        num_output_channels: classes.
        deep_supervision: outputs at the lower resolutions, too.
        options: arguments of DualAggUNet that replace those of the plans.
        trainer: whose network it is, for the messages.

    Raises:
        ValueError: the plans ask for an architecture that is not a U-Net.
        UserError: they name something that is not a layer.
    """
    planned = configuration_manager.network_arch_class_name
    if planned.split(".")[-1] not in UNETS:
        raise ValueError(
            f"{trainer} builds its network from the plans of a U-Net ({', '.join(UNETS)}), "
            f"but the plans '{plans_manager.plans_name}' are for {planned}"
        )
    of_plans = configuration_manager.network_arch_init_kwargs
    imported = configuration_manager.network_arch_init_kwargs_req_import
    check_layers(of_plans, imported, f"the plans '{plans_manager.plans_name}'")
    if planned != DUALAGG_UNET:  # our own plans say all that they want
        of_plans = network_options(of_plans, configuration_manager.use_mask_for_norm) | of_plans
    return get_network_from_plans(
        DUALAGG_UNET,
        of_plans | dict(options),
        imported,
        num_input_channels,
        num_output_channels,
        deep_supervision=deep_supervision,
    )


def planned_network(
    plans_manager: PlansManager,
    configuration_manager: ConfigurationManager,
    num_input_channels: int,
    num_output_channels: int,
    deep_supervision: bool,
    *,
    foreground: bool = False,
) -> nn.Module:
    """The network that the plans name, as nnU-Net's own trainers build it.

    Args:
        plans_manager: nnU-Net's or our plans.
        configuration_manager: one of their configurations.
        num_input_channels: channels of the images, and of a cascade's labels.
        num_output_channels: classes.
        deep_supervision: outputs at the lower resolutions, too.
        foreground: one more channel where the plans normalise inside the mask.
    """
    options = foreground_options(configuration_manager.use_mask_for_norm)
    foreground = foreground and options["foreground_channel"]
    network = get_network_from_plans(
        configuration_manager.network_arch_class_name,
        configuration_manager.network_arch_init_kwargs,
        configuration_manager.network_arch_init_kwargs_req_import,
        num_input_channels + foreground,
        num_output_channels,
        deep_supervision=deep_supervision,
    )
    return ForegroundUNet(network, options["image_channels"]) if foreground else network


_OF_THE_PLANS = (
    "nnUNetTrainer",
    "nnUNetTrainerDA5",
    "nnUNetTrainerNoMirroring",
    "nnUNetTrainerNoDeepSupervision",
    "nnUNetTrainerSite",
    "nnUNetTrainerSynthetic",
)
_WITH_FOREGROUND = ("nnUNetTrainerForeground", "nnUNetTrainerForegroundSite")
_DUALAGG: dict[str, dict[str, Any]] = {
    "nnUNetTrainerDualAgg": {},
    "nnUNetTrainerDualAggBaseline": BASELINE,
    "nnUNetTrainerDualAggDA5": {},
    "nnUNetTrainerDualAggNoAttention": NO_ATTENTION,
    "nnUNetTrainerDualAggNoDCP": NO_DCP,
    "nnUNetTrainerDualAggNoForeground": NO_FOREGROUND,
    "nnUNetTrainerDualAggPaper": {},
    "nnUNetTrainerDualAggPaperBaseline": BASELINE,
    "nnUNetTrainerDualAggPaperNoAttention": NO_ATTENTION,
    "nnUNetTrainerDualAggPaperNoDCP": NO_DCP,
    "nnUNetTrainerDualAggSite": {},
    "nnUNetTrainerDualAggSynthetic": {},
}
_BUILDERS: dict[str, Builder] = {
    **dict.fromkeys(_OF_THE_PLANS, planned_network),
    **dict.fromkeys(_WITH_FOREGROUND, partial(planned_network, foreground=True)),
    **{name: partial(dualagg_network, options=options, trainer=name) for name, options in _DUALAGG.items()},
}


def builder_of(trainer: str) -> Builder | None:
    """What builds a trainer's network, whatever its number of epochs; None for a trainer that is not on this list."""
    of_length = parse_length(trainer)
    return _BUILDERS.get(of_length[0] if of_length else trainer)
