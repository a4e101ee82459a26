"""Training with what is known about the background, for our network and for nnU-Net's own."""

from pathlib import Path

from nnunetv2.paths import nnUNet_raw
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_dualagg.architectures.foreground import KnownBackground
from nnunetv2_dualagg.planning.networks import planned_network
from nnunetv2_dualagg.trainers.background_of_data import measure_background


class KnownBackgroundMixin(nnUNetTrainer):
    """Measures on the training data what is known about the background, and records it in the network.

    Mix it in front of a trainer of nnU-Net whose network may hold a :class:`KnownBackground`.
    """

    def on_train_start(self) -> None:
        """Start as nnU-Net does; at the first epoch, measure the rule and print it to the log."""
        super().on_train_start()
        known = next((module for module in self.network.modules() if isinstance(module, KnownBackground)), None)
        # A resumed training has the rule from its checkpoint; DistributedDataParallel sends it from the first process.
        if known is None or self.current_epoch > 0 or self.local_rank != 0:
            return
        known.set_rule(outside=False, inside=False)  # and not that of pretrained weights
        raw = Path(str(nnUNet_raw or "nnUNet_raw")) / self.plans_manager.dataset_name
        training_cases, _ = self.do_split()
        try:
            measured = measure_background(raw, self.dataset_json, self.plans_manager, training_cases)
        except FileNotFoundError as error:  # training itself needs the preprocessed data alone
            self.print_to_log_file(f"Known background: off, since it is measured on the raw data: {error}")
            return
        known.set_rule(measured.outside_is_known, measured.inside_is_known, self.label_manager.has_regions)
        self.print_to_log_file(f"Known background: {measured}")


class nnUNetTrainerForeground(KnownBackgroundMixin, nnUNetTrainer):
    """nnU-Net's own network and training with the foreground channel and the known background.

    It shows how much of our network's result is due to them.
    """

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """nnU-Net's network, with one more channel where the plans normalise inside the mask."""
        return planned_network(
            plans_manager,
            configuration_manager,
            num_input_channels,
            num_output_channels,
            enable_deep_supervision,
            foreground=True,
        )
