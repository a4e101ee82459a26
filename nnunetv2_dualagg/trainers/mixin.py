"""What turns a trainer of nnU-Net into one that trains the dual aggregation network."""

from typing import Any, ClassVar

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_dualagg.architectures.network_options import network_options
from nnunetv2_dualagg.trainers.foreground import KnownBackgroundMixin
from nnunetv2_dualagg.trainers.pretrained import check_pretrained_weights, pretrained_weights_option
from nnunetv2_dualagg.utils.layers import DUALAGG_UNET, check_layers

UNETS = ("PlainConvUNet", "ResidualEncoderUNet", "DualAggUNet")


class DualAggMixin(KnownBackgroundMixin):
    """Builds a DualAggUNet from the plans of any U-Net; mix it in front of a trainer of nnU-Net."""

    network_options: ClassVar[dict[str, Any]] = {}
    """Arguments of DualAggUNet that replace those of the plans."""

    def initialize(self) -> None:
        """Initialise as nnU-Net does, log the number of parameters, and look whether pretrained weights fit.

        Raises:
            UserError: the weights behind ``-pretrained_weights`` do not fit the network.
        """
        super().initialize()
        pretrained = pretrained_weights_option()
        if pretrained is not None:
            check_pretrained_weights(self.network, pretrained)
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        self.print_to_log_file(f"Number of parameters: {parameters}", also_print_to_console=False)

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The network for a configuration of the plans; nnU-Net calls this for training and for inference.

        Raises:
            ValueError: the plans ask for an architecture that is not a U-Net.
            UserError: they name something that is not a layer.
        """
        planned = configuration_manager.network_arch_class_name
        if planned.split(".")[-1] not in UNETS:
            raise ValueError(
                f"{cls.__name__} builds its network from the plans of a U-Net ({', '.join(UNETS)}), "
                f"but the plans '{plans_manager.plans_name}' are for {planned}"
            )
        options = configuration_manager.network_arch_init_kwargs
        imported = configuration_manager.network_arch_init_kwargs_req_import
        check_layers(options, imported, f"the plans '{plans_manager.plans_name}'")
        if planned != DUALAGG_UNET:  # our own plans say all that they want
            options = network_options(options, configuration_manager.use_mask_for_norm) | options
        return get_network_from_plans(
            DUALAGG_UNET,
            options | cls.network_options,
            imported,
            num_input_channels,
            num_output_channels,
            allow_init=True,
            deep_supervision=enable_deep_supervision,
        )
