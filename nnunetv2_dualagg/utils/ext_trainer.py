"""Where nnU-Net has to look for our trainers."""

from pathlib import Path

import nnunetv2_dualagg

VARIABLE = "nnUNet_extTrainer"
EXT_TRAINER_FOLDER = Path(nnunetv2_dualagg.__file__).parent / "ext"
