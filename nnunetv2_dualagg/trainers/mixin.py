"""What turns a trainer of nnU-Net into one that trains the dual aggregation network."""

from typing import Any, ClassVar

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_dualagg.planning.networks import dualagg_network
from nnunetv2_dualagg.trainers.foreground import KnownBackgroundMixin
from nnunetv2_dualagg.trainers.pretrained import check_pretrained_weights, pretrained_weights_option


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
        return dualagg_network(
            plans_manager,
            configuration_manager,
            num_input_channels,
            num_output_channels,
            enable_deep_supervision,
            options=cls.network_options,
            trainer=cls.__name__,
        )
