"""A trainer whose class body says what nnU-Net sets in ``__init__``, such as the number of epochs."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class PresetTrainer(nnUNetTrainer):
    """Sets attributes after nnU-Net has set them.

    Attributes:
        presets: attribute -> value. Those of a base class hold too, unless the class gives others.
    """

    presets: ClassVar[Mapping[str, Any]] = {}

    # nnU-Net reads the names of these arguments; *args would not do.
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's own default)
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        for trainer in reversed(type(self).__mro__):
            for name, value in vars(trainer).get("presets", {}).items():
                setattr(self, name, value)
