"""All trainers of nnunetv2_dualagg, for nnU-Net's search through ``nnUNet_extTrainer``."""

from nnunetv2_dualagg.trainers import *  # noqa: F403
from nnunetv2_dualagg.trainers import __getattr__  # noqa: F401 (the trainers of other lengths)
