import os
import pickle

import pytest
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

import nnunetv2_dualagg.trainers
from nnunetv2_dualagg import cli
from nnunetv2_dualagg.ext_trainer import EXT_TRAINER_FOLDER


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
