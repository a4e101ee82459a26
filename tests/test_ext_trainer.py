import os
import pickle

import pytest
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

import nnunetv2_dualagg.trainers
from nnunetv2_dualagg import cli
from nnunetv2_dualagg.architectures.options_record import encode_record
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER


@pytest.fixture
def ext_trainer(monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(EXT_TRAINER_FOLDER))


def test_path_prints_the_folder(capsys):
    assert cli.main(["path"]) == 0
    assert capsys.readouterr().out.strip() == str(EXT_TRAINER_FOLDER)


@pytest.mark.parametrize("name", [*nnunetv2_dualagg.trainers.__all__, "nnUNetTrainerDualAggNoDCP_20epochs"])
def test_nnunet_finds_every_trainer(ext_trainer, name):
    assert recursive_find_trainer_class_by_name(name) is getattr(nnunetv2_dualagg.trainers, name)


def test_lookup_is_stable_and_picklable(ext_trainer):
    trainer = recursive_find_trainer_class_by_name("nnUNetTrainerDualAgg")
    assert recursive_find_trainer_class_by_name("nnUNetTrainerDualAgg") is trainer
    assert pickle.loads(pickle.dumps(trainer)) is trainer


def test_lookup_beside_another_external_folder(monkeypatch, tmp_path):
    (tmp_path / "somebody_elses_trainer.py").write_text("x = 1\n")
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(tmp_path), str(EXT_TRAINER_FOLDER)]))
    assert cli.main(["path", "--check"]) == 0


def test_check_says_what_nnunet_finds(ext_trainer, capsys):
    assert cli.main(["path", "--check"]) == 0
    assert f"in {EXT_TRAINER_FOLDER}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (None, "is not set"),
        ("", "is not set"),
        ("{tmp}/missing", "does not exist"),
        ("{tmp}/empty", "holds no nnUNetTrainerDualAgg"),
        ("{tmp}/copy", "leads nnU-Net to my_trainers, not to nnunetv2_dualagg.trainers"),
        ("{tmp}/broken", "cannot be imported"),
    ],
)
def test_check_says_what_to_type(monkeypatch, tmp_path, capsys, setting, reason):
    for name in ("empty", "copy", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "copy" / "my_trainers.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
        "class nnUNetTrainerDualAgg(nnUNetTrainer): pass\n"
    )
    (tmp_path / "broken" / "broken_trainers.py").write_text("import a_package_that_nobody_has\n")
    if setting is None:
        monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    else:
        monkeypatch.setenv("nnUNet_extTrainer", setting.format(tmp=tmp_path))
    assert cli.main(["path", "--check"]) == 1
    out = capsys.readouterr().out
    assert reason in out
    assert 'export nnUNet_extTrainer="$(nnUNetv2_dualagg path)"' in out


def test_check_names_models_of_trainers_that_this_version_lacks(ext_trainer, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    dataset = tmp_path / "Dataset219_iSeg2019"
    record = encode_record({"version": "7.1"})
    for name, weights in (
        ("nnUNetTrainerDualAggFuture__nnUNetPlans__2d", {"_extra_state": record}),
        ("nnUNetTrainerDualAggForeign__nnUNetPlans__2d", {}),
        ("nnUNetTrainerDualAgg_3epochs__nnUNetPlans__2d", {"_extra_state": record}),
        ("nnUNetTrainer__nnUNetPlans__2d", {}),
    ):
        (dataset / name / "fold_0").mkdir(parents=True)
        torch.save({"network_weights": weights}, dataset / name / "fold_0" / "checkpoint_final.pth")
    (dataset / "nnUNetTrainerDualAggFuture__nnUNetPlans__2d" / "fold_0" / "checkpoint_best.pth").write_bytes(b"cut")
    assert cli.main(["path", "--check"]) == 1
    _, foreign, future = capsys.readouterr().out.splitlines()[-3:]
    assert "was trained with nnUNetTrainerDualAggForeign; version" in foreign
    assert foreign.endswith("pip install -U nnunetv2-dualagg")
    assert "was trained with nnUNetTrainerDualAggFuture of nnunetv2_dualagg 7.1; version" in future
    assert future.endswith("pip install nnunetv2-dualagg==7.1")
