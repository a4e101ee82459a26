"""A trainer of a few iterations for nnU-Net's ``-tr``, found through ``nnUNet_extTrainer``; small data for it."""

import os
from pathlib import Path

from nnunet_commands import run_command
from planning_data import use_threads, write_dataset

from nnunetv2_dualagg.planning.reduced import add_reduced_configuration
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER

SHORT = "nnUNetTrainerShort"

# The modules of the folder are executed at each search, so this is text, not a file of the tests that others import.
SOURCE = """
import os
import time

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerShort(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("SHORT_EPOCHS", 2))
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 3, 1
        self.save_every = 1

    def on_epoch_end(self):
        super().on_epoch_end()
        time.sleep(float(os.environ.get("SHORT_PAUSE", 0)))
"""


def write_short_trainer(folder: Path) -> str:
    """The value of ``nnUNet_extTrainer`` with which nnU-Net finds the short trainer and those of the package."""
    folder.mkdir()
    (folder / "short_trainer_for_tests.py").write_text(SOURCE)
    return os.pathsep.join([str(EXT_TRAINER_FOLDER), str(folder)])


def prepare(folders, monkeypatch):
    """A dataset of five small cases, preprocessed, with the configuration ``3d_tiny``."""
    use_threads(monkeypatch)
    name = write_dataset(folders.raw, cases=5)
    run_command("nnUNetv2_extract_fingerprint -d 1 -np 1 --no_pbar")
    run_command("nnUNetv2_plan_experiment -d 1")
    add_reduced_configuration(folders.preprocessed / name / "nnUNetPlans.json", "3d_tiny", [16, 16, 16], 2, [4, 8, 8])
    run_command("nnUNetv2_preprocess -d 1 -c 3d_fullres -np 1 --no_pbar")
    return name
