"""The ready-made experiments with BOBs, run as a user runs them, on stand-ins of BOBs and of iSeg."""

from pathlib import Path

import pytest
import yaml
from bobs_files import write_stand_in
from evaluation_data import read_rows
from short_trainer import SHORT
from workflow_files import TINY, Run, write_small_workflow

from nnunetv2_dualagg import cli

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*bobs*.yaml"))
SHORT_DUALAGG = "nnUNetTrainerDualAggShort"
TRAINER = """
from nnunetv2_dualagg.trainers import nnUNetTrainerDualAgg


class nnUNetTrainerDualAggShort(nnUNetTrainerDualAgg):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 1
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 3, 1
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What the comments of the examples ask for, as /data."""
    folder = tmp_path_factory.mktemp("bobs") / "data"
    folder.mkdir()
    write_stand_in(folder / "BOBs", [(str(100 + i), age) for i in range(5) for age in ((5, 6) if i < 2 else (6,))])
    phantom = ["phantom", "-o", str(folder / "phantom"), "--num_training", "5", "--num_testing", "1", "--spacing", "4"]
    assert cli.main([*phantom, "-np", "1"]) == 0
    for part in ("Training", "Testing"):
        (folder / f"iSeg-2019-{part}").symlink_to(folder / "phantom" / f"iSeg-2019-{part}")
    (folder / "iSeg-2019-Validation").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_raw", str(folder / "nnUNet_raw"))
        bobs = ["convert_bobs", "-i", str(folder / "BOBs"), "-d", "226", "-ages", "6", "-np", "1"]
        assert cli.main(bobs) == 0
        iseg = ["convert_iseg", "-i", str(folder / "iSeg-2019-Training"), "-d", "219", "-np", "1"]
        assert cli.main(iseg) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_run(tmp_path, data, file):
    config = yaml.safe_load(file.read_text().replace("/data/", f"{data}/"))
    trainers = {"default": SHORT, "dualagg": SHORT_DUALAGG}
    assert trainers.keys() <= config["methods"].keys()
    config |= {
        "methods": {name: {"trainer": trainer, "configuration": "3d_tiny"} for name, trainer in trainers.items()},
        "reduced_configurations": {"3d_tiny": TINY},
        "folds": [0],
        "device": "cpu",
        "step_size": 1,
        "test_time_augmentation": False,
        "threads": {"prepare": 1, "train": 1, "predict": 1, "compare": 1},
    }
    folder = tmp_path / "work"
    environment = write_small_workflow(folder, config) | {"SHORT_EPOCHS": "1"}
    (tmp_path / "trainers" / "short_dualagg_for_tests.py").write_text(TRAINER)
    with Run(folder, environment) as run:
        assert run.wait(timeout=3600) == 0, run.output
    validation = read_rows(folder / "comparison_validation" / "metrics.csv")
    assert {row["method"] for row in validation} == set(trainers)
    assert {row["tissue"] for row in validation} == {"CSF", "GM", "WM"}
    if "name" in config["dataset"]:
        assert {row["site"] for row in validation} <= {"MAP", "BCP"}
    if config["dataset"].get("references"):
        rows = read_rows(folder / "comparison" / "metrics.csv")
        assert {row["tissue"] for row in rows} == set(config.get("tissues", ["CSF", "GM", "WM"]))
        assert {row["site"] for row in rows} == ({"BCP"} if "iseg" in config["dataset"] else {"MAP"})
        assert len({row["case"] for row in rows}) == 5
    elif config["dataset"].get("images") is not False:
        assert len(list((folder / "predictions/seed_0/dualagg").glob("iSeg_*.nii.gz"))) == 3
