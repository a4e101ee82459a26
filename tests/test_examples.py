"""The ready-made experiments: they can be read, and name trainers that exist."""

from pathlib import Path

import pytest
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from trained_model import DATASET_JSON, plans

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.planning.paper import PAPER_CONFIGURATION
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER
from nnunetv2_dualagg.workflow.config import read_config
from nnunetv2_dualagg.workflow.estimate import epochs
from nnunetv2_dualagg.workflow.experiment import Experiment

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples(file, monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(EXT_TRAINER_FOLDER))
    config = read_config(file)
    for method in config.methods:
        trainer = recursive_find_trainer_class_by_name(method.trainer)
        assert trainer.__name__ == method.trainer
        known = {"3d_fullres", *config.reduced_configurations}
        assert method.configuration in known or (method.plans, method.configuration) == (
            "nnUNetDualAggPlans",
            PAPER_CONFIGURATION,
        )


def test_datasets_are_named_as_the_converter_names_them():
    names = {file.stem: Experiment(read_config(file), file.parent).dataset for file in EXAMPLES}
    assert names["paper_iseg2017"] == "Dataset217_iSeg2017"
    assert names["comparison_iseg2019"] == "Dataset219_iSeg2019"


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


def test_the_papers_length_is_that_of_its_trainer(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    (file,) = [file for file in EXAMPLES if file.stem.startswith("paper")]
    for method in read_config(file).methods:
        made = plans((16, 16, 16)) | {"continue_training": False}
        trainer = getattr(trainers, method.trainer)(made, "3d_fullres", 0, DATASET_JSON, torch.device("cpu"))
        assert trainer.num_epochs == epochs(method)
