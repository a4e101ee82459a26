"""Nothing in a stranger's file runs: names in config.yaml, pickles in checkpoints, dotted names in plans."""

import json
import os
import pydoc
from pathlib import Path

import numpy as np
import pytest
import torch
from iseg_files import set_nnunet_folders
from trained_model import plans, write_model

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.architectures.options_record import encode_record
from nnunetv2_dualagg.training.resuming import check_checkpoints
from nnunetv2_dualagg.utils.checkpoints import load_checkpoint
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER
from nnunetv2_dualagg.utils.layers import LAYERS, NETWORKS
from nnunetv2_dualagg.utils.names import check_plans_name, is_name

MODEL = plans((8, 8, 8), features=(8, 8))


class Evil:
    """What a pickle of it does when it is loaded: it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def write_evil(file, pwned, **content):
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"network_weights": {}, "current_epoch": 3, **content, "evil": Evil(pwned)}, file)


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert cli.FAULT not in captured.err
    return code, captured.out + captured.err


@pytest.fixture
def folders(tmp_path, monkeypatch):
    set_nnunet_folders(tmp_path, monkeypatch)
    monkeypatch.setenv("nnUNet_extTrainer", str(EXT_TRAINER_FOLDER))
    return tmp_path


# 7. Names


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "../x", "a/b", "a\\b", "-x", "a b", "a;b", "$(x)", "a__b", "a..b", "é", "a\n", "x" * 101, None, 3],
)
def test_what_is_no_name(text):
    assert not is_name(text)


@pytest.mark.parametrize("text", ["3d_fullres", "nnUNetTrainerDualAgg_20epochs", "a.b", "a+b-c", "0", "_x"])
def test_what_is_a_name(text):
    assert is_name(text)


@pytest.mark.parametrize("text", ["splits_final", "dataset", "dataset_fingerprint", "../x", "a__b"])
def test_plans_do_not_take_the_name_of_another_file(text):
    with pytest.raises(UserError, match="the plans' name"):
        check_plans_name(text)


# 8. Pickles


def test_a_diagnosis_unpickles_nothing(folders, capsys):
    dataset = folders / "nnUNet_results" / "Dataset219_iSeg2019"
    for name in ("checkpoint_best.pth", "checkpoint_final.pth"):
        weights = {"_extra_state": encode_record({"version": "7.1"})}
        file = dataset / "nnUNetTrainerDualAggFuture__nnUNetPlans__2d" / "fold_0" / name
        write_evil(file, folders / "pwned", network_weights=weights)
    code, output = run(capsys, "path", "--check")
    assert code == 1
    assert "nnUNetTrainerDualAggFuture of nnunetv2_dualagg 7.1" in output
    assert not (folders / "pwned").exists()


def test_a_module_that_ends_python_is_no_success(folders, capsys, monkeypatch):
    (folders / "mine").mkdir()
    (folders / "mine" / "ends_python_for_a_test.py").write_text("raise SystemExit(0)\n")
    monkeypatch.setenv("nnUNet_extTrainer", str(folders / "mine"))
    code, output = run(capsys, "path", "--check")
    assert code == 1
    assert "cannot be imported: SystemExit" in output


def test_export_onnx_runs_nothing_in_a_checkpoint(tmp_path, capsys):
    write_model(tmp_path / "model", MODEL)
    write_evil(tmp_path / "model" / "fold_0" / "checkpoint_x.pth", tmp_path / "pwned")
    arguments = [
        "export_onnx",
        "-m",
        tmp_path / "model",
        "-f",
        0,
        "-chk",
        "checkpoint_x.pth",
        "-o",
        tmp_path / "x.onnx",
    ]
    code, output = run(capsys, *arguments)
    assert code == 1
    assert "checkpoint_x.pth holds more than the numbers and texts of nnU-Net's checkpoints" in output
    assert not (tmp_path / "pwned").exists()


def test_train_resumes_from_nothing_that_could_run_code(tmp_path):
    write_evil(tmp_path / "checkpoint_latest.pth", tmp_path / "pwned")
    with pytest.raises(UserError, match="might run code"):
        check_checkpoints(tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_what_nnunet_writes_is_read(tmp_path):
    """The content of a real checkpoint: NumPy scalars in the logs, tuples, nested plans, the optimizer's state."""
    content = {
        "network_weights": {"w": torch.arange(3.0)},
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {
            "mean_fg_dice": [np.float64(0.5), np.mean([0.1, 0.2])],
            "dice": [[np.float32(0.25)]],
            "lrs": [1e-2],
        },
        "_best_ema": np.float32(0.75),
        "current_epoch": 7,
        "init_args": {"plans": MODEL, "device": torch.device("cpu"), "fold": 0, "n": np.int64(3), "a": np.arange(2)},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    file = tmp_path / "checkpoint_final.pth"
    torch.save(content, file)
    read = load_checkpoint(file)
    assert read["logging"]["dice"] == [[0.25]]
    assert read["init_args"]["a"].tolist() == [0, 1]
    assert read["_best_ema"] == 0.75
    assert read["network_weights"]["w"].tolist() == [0, 1, 2]


# 9. Dotted names in plans


def test_every_listed_layer_and_network_is_one():
    for name in LAYERS | NETWORKS:
        assert issubclass(pydoc.locate(name), torch.nn.Module), name


@pytest.mark.parametrize("key", ["nonlin", "conv_op", "norm_op", "dropout_op", "network_class_name"])
def test_export_onnx_calls_nothing_that_plans_name(tmp_path, capsys, key):
    write_model(tmp_path / "model", MODEL)
    file = tmp_path / "model" / "plans.json"
    content = json.loads(file.read_text())
    architecture = content["configurations"]["3d_fullres"]["architecture"]
    place = architecture if key == "network_class_name" else architecture["arch_kwargs"]
    place[key] = "os.system"
    file.write_text(json.dumps(content))
    code, output = run(capsys, "export_onnx", "-m", tmp_path / "model", "-f", 0, "-o", tmp_path / "x.onnx")
    assert code == 1
    assert str(file) in output
    assert "os.system" in output


def _dataset(folders, content=MODEL):
    folder = folders / "nnUNet_preprocessed" / "Dataset001_Test"
    folder.mkdir(parents=True)
    (folder / "nnUNetPlans.json").write_text(json.dumps(content))
    return folder


# 11. What a training is asked for


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["1", "3d_fullres", "-1"], "the fold is -1; expected all or a number from 0 to 4"),
        (["1", "3d_fullres", "99"], "the fold is 99"),
        (["1", "3d_fullres", "x"], "the fold is x"),
        (["1", "3d_nothing", "0"], "has no configuration 3d_nothing; expected one of 3d_fullres"),
        (["1", "../x", "0"], "the configuration is '../x'"),
        (["1", "3d_fullres", "0", "-p", "Nothing"], "Nothing.json does not exist"),
        (["1", "3d_fullres", "0", "-tr", "nnUNetTrainerNothing"], "nnU-Net finds no trainer nnUNetTrainerNothing"),
        (["1", "3d_fullres", "0", "-tr", "a;b"], "the trainer is 'a;b'"),
    ],
)
def test_train_refuses_before_it_makes_a_folder(folders, capsys, words, sentence):
    _dataset(folders)
    code, output = run(capsys, "train", "-seed", 0, *words)
    assert code == 1
    assert sentence in output
    assert not (folders / "nnUNet_results").exists()


def test_train_refuses_plans_and_weights_that_could_run_code(folders, capsys):
    content = json.loads(json.dumps(MODEL))
    content["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["nonlin"] = "os.system"
    folder = _dataset(folders, content)
    code, output = run(capsys, "train", "-seed", 0, 1, "3d_fullres", 0)
    assert code == 1
    assert "nonlin is 'os.system'; expected a layer of torch.nn" in output
    (folder / "nnUNetPlans.json").write_text(json.dumps(MODEL))
    write_evil(folders / "weights.pth", folders / "pwned")
    code, output = run(capsys, "train", "-seed", 0, 1, "3d_fullres", 0, "-pretrained_weights", folders / "weights.pth")
    assert code == 1
    assert "weights.pth holds more than" in output
    assert not (folders / "pwned").exists()
    assert not (folders / "nnUNet_results").exists()
