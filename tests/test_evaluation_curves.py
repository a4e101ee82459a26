import csv
import json
import re

import pytest

from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.training.curves import read_training
from nnunetv2_dualagg.utils.errors import UserError


def write_log(folder, epochs, name="training_log_2026_1_9_10_00_00.txt", more=""):
    """A log as nnU-Net 2.8 writes it: (epoch, train loss, validation loss, Dice of the classes, seconds)."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = "2026-01-09 10:43:42.866692:"
    lines = ["#####", f"{stamp} Using torch.compile... ", more]
    for epoch, train, val, dice, seconds in epochs:
        lines += [
            f"{stamp}  ",
            f"{stamp} Epoch {epoch} ",
            f"{stamp} Current learning rate: 0.01 ",
            f"{stamp} train_loss {train} ",
            f"{stamp} val_loss {val} ",
            f"{stamp} Pseudo dice {dice} ",
            f"{stamp} Epoch time: {seconds} s ",
            f"{stamp} Yayy! New best EMA pseudo Dice: 0.8420000076293945 ",
        ]
    (folder / name).write_text("\n".join(lines))


def test_epochs_are_read_as_nnunet_logs_them(tmp_path):
    epochs = [
        (0, -0.2, -0.4, "[np.float32(0.9), np.float32(0.7)]", 12.5),
        (1, -0.5, -0.6, "[np.float64(0.8), nan]", 7.25),
        (2, 0.1, 1e-05, "[0.6, 0.4]", 10.0),
    ]
    write_log(tmp_path / "fold_0", epochs)
    (tmp_path / "fold_0" / "debug.json").write_text(json.dumps({"device": "cuda:0", "gpu_name": "A100"}))
    training = read_training("ours", tmp_path / "fold_0")
    table = training.epochs
    assert table["train_loss"].tolist() == [-0.2, -0.5, 0.1]
    assert table["val_loss"].tolist() == [-0.4, -0.6, 1e-05]
    assert table["pseudo_dice"].tolist() == pytest.approx([0.8, 0.8, 0.5])
    assert table["ema_pseudo_dice"].tolist() == pytest.approx([0.8, 0.8, 0.9 * 0.8 + 0.1 * 0.5])
    assert table["seconds"].sum() == 29.75
    assert (training.device, training.parameters) == ("A100", None)


def test_seeds_are_told_apart(tmp_path):
    for seed in (0, 11):
        fold = tmp_path / f"seed_{seed}" / "Dataset001_X" / "T__P__C" / "fold_3"
        write_log(fold, [(0, -0.1, -0.1, "[0.1]", 1)])
        assert read_training("ours", fold).fold == f"seed_{seed}/fold_3"


def test_a_continued_training_is_one_curve_without_its_lost_epochs(tmp_path):
    first = [(0, -0.1, -0.1, "[0.1]", 1), (1, -0.2, -0.2, "[0.2]", 1)]
    write_log(tmp_path, first, "training_log_2026_1_9_10_00_00.txt")
    again = [(1, -0.3, -0.3, "[0.3]", 1), (2, -0.4, -0.4, "[0.4]", 1)]
    write_log(tmp_path, again, "training_log_2026_1_10_09_00_00.txt", more="x: Parameters: 1,234,567 ")
    with open(tmp_path / "training_log_2026_1_10_09_00_00.txt", "a", encoding="utf-8") as log:
        log.write("\n2026-01-10 10:43:42.866692: Epoch 3 \n2026-01-10 10:43:42.866692: train_loss -0.9 \n")
    training = read_training("ours", tmp_path)
    assert training.epochs["train_loss"].to_dict() == {0: -0.1, 1: -0.3, 2: -0.4}
    assert training.parameters == 1234567


def test_command_draws_all_folds(tmp_path, capsys):
    for fold in (0, 1):
        write_log(tmp_path / "model" / f"fold_{fold}", [(0, -0.1, -0.2, "[0.5]", 1800), (1, -0.3, -0.4, "[0.9]", 1800)])
    write_log(tmp_path / "other", [(0, -0.5, -0.6, "[0.7]", 3)])
    arguments = ["curves", "-i", f"default={tmp_path}/model", f"dualagg={tmp_path}/other", "-o", f"{tmp_path}/out"]
    assert main(arguments) == 0
    assert re.search(r"\| default +\| fold_1 +\| 2 ", capsys.readouterr().out)
    with open(tmp_path / "out" / "training.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["fold"], row["hours"]) for row in rows] == [
        ("default", "fold_0", "1.00"),
        ("default", "fold_1", "1.00"),
        ("dualagg", "other", "0.00"),
    ]
    assert rows[0]["best moving average"] == "0.5400"
    assert (tmp_path / "out" / "curves.png").stat().st_size > 10_000
    assert len((tmp_path / "out" / "curves.csv").read_text().splitlines()) == 1 + 5

    assert main(arguments) == 1
    assert main([*arguments, "--overwrite"]) == 0


def test_a_folder_without_a_finished_epoch_is_named(tmp_path):
    with pytest.raises(UserError, match="no training_log"):
        read_training("ours", tmp_path)
    write_log(tmp_path, [])
    with pytest.raises(UserError, match="finished epoch"):
        read_training("ours", tmp_path)
