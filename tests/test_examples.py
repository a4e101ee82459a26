"""The ready-made experiments: they can be read, and name trainers that exist."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from trained_model import DATASET_JSON, plans

from nnunetv2_dualagg import cli, trainers
from nnunetv2_dualagg.planning.paper import PAPER_CONFIGURATION
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER
from nnunetv2_dualagg.workflow.config import read_config
from nnunetv2_dualagg.workflow.estimate import epochs
from nnunetv2_dualagg.workflow.experiment import Experiment

needs_snakemake = pytest.mark.skipif(find_spec("snakemake") is None, reason="Snakemake (Python 3.11) is not installed")
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
    names = {file.stem: Experiment(read_config(file), file.parent).data.name for file in EXAMPLES}
    assert names["paper_iseg2017"] == "Dataset217_iSeg2017"
    assert names["comparison_iseg2019"] == "Dataset219_iSeg2019"


def test_there_are_examples():
    assert len(EXAMPLES) >= 7


@needs_snakemake
@pytest.mark.parametrize("file", [file for file in EXAMPLES if "bobs" in file.stem], ids=lambda file: file.stem)
def test_infants_without_a_form_to_sign_dry_run(tmp_path, file, capsys):
    """All jobs are found, once the data are at their places."""
    text = file.read_text().replace("/data/", f"{tmp_path}/data/")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "config.yaml").write_text(text)
    dataset = read_config(tmp_path / "work" / "config.yaml").dataset
    folders = [folder for source in (dataset.iseg, dataset.bobs) if source for folder in source.folders]
    for folder in [*folders, *filter(None, (dataset.images, dataset.references))]:
        Path(folder).mkdir(parents=True)
    assert cli.main(["workflow", "-o", str(tmp_path / "work")]) == 0
    capsys.readouterr()
    assert cli.main(["workflow", "-o", str(tmp_path / "work"), "--dry-run"]) == 0
    jobs = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines() if len(line.split()) == 2)
    methods = len(read_config(file).methods)
    assert jobs["train"] == str(5 * methods)
    assert jobs["convert"] == jobs["splits"] == jobs["compare_validation"] == "1"
    assert jobs.get("compare", "0") == ("1" if dataset.references else "0")
    assert jobs.get("predict", "0") == ("0" if dataset.images is False else str(methods))


def test_the_papers_length_is_that_of_its_trainer(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    (file,) = [file for file in EXAMPLES if file.stem.startswith("paper")]
    for method in read_config(file).methods:
        made = plans((16, 16, 16)) | {"continue_training": False}
        trainer = getattr(trainers, method.trainer)(made, "3d_fullres", 0, DATASET_JSON, torch.device("cpu"))
        assert trainer.num_epochs == epochs(method)
