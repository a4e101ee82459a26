"""Every command that writes, killed at a random moment or on a full disk: its target is complete or as it was before.

Then the same command again gives what it gives undisturbed, and nothing else is left.
"""

import json
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from evaluation_data import layers, write_comparison, write_image
from hostile import Child, digests, run
from iseg_files import write_iseg
from planning_data import write_dataset
from trained_model import plans

LOG = "".join(
    f"2026-01-01 10:00:00.000000: {line}\n"
    for line in ("Epoch 0", "train_loss -0.5", "val_loss -0.4", "Pseudo dice [0.9, 0.8]", "Epoch time: 3.2 s")
)


@dataclass
class Command:
    """A command on its data.

    Attributes:
        arguments: such that it may be given again.
        target: what it makes or changes.
        same_bytes: it gives the same bytes each time.
        most_bytes: too little for the largest of its files.
    """

    arguments: list
    target: Path
    same_bytes: bool = True
    most_bytes: int = 2000


def phantom(folder, _):
    target = folder / "phantom"
    write_image(folder / "maps" / "a.nii.gz", layers(0, (14, 14, 14)), spacing=(8, 8, 8))
    words = "--num_training 2 --num_testing 1 --spacing 10 -np 1 --overwrite"
    return Command(["phantom", "-maps", folder / "maps", "-o", target, *words.split()], target)


def convert_iseg(folder, nnunet):
    folders, _ = write_iseg(folder / "in", numbers=(1, 24, 30))
    arguments = ["convert_iseg", "-i", *folders, "-d", 219, "-np", 1, "--overwrite"]
    return Command(arguments, nnunet.raw / "Dataset219_iSeg2019", most_bytes=500)


def convert_iseg_add(folder, nnunet):
    folders, _ = write_iseg(folder / "in", numbers=(24,))
    others, _ = write_iseg(folder / "more", numbers=(25, 26))
    assert run(["convert_iseg", "-i", *folders, "-d", 219, "-np", 1])[0] == 0
    arguments = ["convert_iseg", "-i", *others, "-d", 219, "-np", 1, "--add"]
    return Command(arguments, nnunet.raw / "Dataset219_iSeg2019", most_bytes=500)


def submit_iseg(folder, nnunet):
    (training,), _ = write_iseg(folder / "in", numbers=(1, 2, 3))
    assert run(["convert_iseg", "-i", training, "-d", 219, "-np", 1])[0] == 0
    (folder / "out").mkdir()
    labels, target = nnunet.raw / "Dataset219_iSeg2019" / "labelsTr", folder / "out" / "x.zip"
    arguments = ["submit_iseg", "-i", labels, "-r", training, "-o", target, "--overwrite"]
    return Command(arguments, target, same_bytes=False, most_bytes=300)  # zip files tell the time


def compare(folder, _):
    root = write_comparison(folder / "in", cases=1)
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-np", 1]
    return Command([*arguments, "-o", folder / "out", "--overwrite"], folder / "out", same_bytes=False)


def curves(folder, _):
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "training_log_2026_1_1_10_00_00.txt").write_text(LOG)
    arguments = ["curves", "-i", f"a={folder / 'fold_0'}", "-o", folder / "out", "--overwrite"]
    return Command(arguments, folder / "out", same_bytes=False)


def add_configuration(folder, nnunet):
    preprocessed = nnunet.preprocessed / "Dataset001_Boxes"
    preprocessed.mkdir(parents=True)
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans((16, 16, 16))))
    words = "add_configuration -d 1 -c 3d_small -patch_size 16 16 16 -batch_size 2 -features_per_stage 4 8 8"
    return Command(words.split(), preprocessed / "nnUNetPlans.json")


def splits(folder, nnunet):
    name = write_dataset(nnunet.raw, cases=3, shape=(8, 8, 8))
    (nnunet.preprocessed / name).mkdir(parents=True)
    return Command(["splits", "-d", 1, "--loso"], nnunet.preprocessed / name / "splits_final.json", most_bytes=50)


def workflow(folder, _):
    return Command(["workflow", "-o", folder / "out"], folder / "out", most_bytes=100)


COMMANDS = (phantom, convert_iseg, convert_iseg_add, submit_iseg, compare, curves, add_configuration, splits, workflow)


@dataclass
class Folders:
    raw: Path
    preprocessed: Path
    results: Path


def prepare(make, folder, monkeypatch):
    nnunet = Folders(*(folder / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")))
    for name, path in vars(nnunet).items():
        path.mkdir(parents=True)
        monkeypatch.setenv(f"nnUNet_{name}", str(path))
    return make(folder, nnunet)


def everything(command, folder):
    """What is there: digests, or names only where the bytes differ each time; and all hidden names."""
    found = digests(command.target)
    content = found if command.same_bytes else set(found)
    return content, sorted(str(path.relative_to(folder)) for path in folder.rglob(".nnunetv2_dualagg-*"))


def kill_anywhere(make, tmp_path, monkeypatch, rounds, rng):
    command = prepare(make, tmp_path / "right", monkeypatch)
    run(command.arguments)  # warm
    shutil.rmtree(tmp_path / "right")
    command = prepare(make, tmp_path / "right", monkeypatch)
    start = time.monotonic()
    code, errors = run(command.arguments)
    duration = time.monotonic() - start
    assert code == 0, errors
    right = everything(command, tmp_path / "right")
    assert right[1] == []
    killed = 0
    for number in range(rounds):
        folder = tmp_path / str(number)
        command = prepare(make, folder, monkeypatch)
        before = digests(command.target) if command.target.exists() else None
        child = Child(command.arguments)
        time.sleep(rng.uniform(0, 1.1 * duration))
        child.kill()
        killed += child.wait()[0] < 0
        if make is not workflow and command.target.exists():  # which writes its few files one by one
            now = digests(command.target)
            assert now == before or everything(command, folder)[0] == right[0]
        code, errors = run(command.arguments)
        if code:
            assert make is convert_iseg_add, errors
            assert "is in the dataset already" in errors
        assert everything(command, folder) == right
        shutil.rmtree(folder)
    print(f"{make.__name__}: {killed} of {rounds} runs killed before their end")


# The commands that take seconds are killed in the slow test only.
@pytest.mark.parametrize("make", [m for m in COMMANDS if m not in (compare, curves)], ids=lambda make: make.__name__)
def test_killed_twice(tmp_path, monkeypatch, make):
    kill_anywhere(make, tmp_path, monkeypatch, 2, random.Random(make.__name__))


@pytest.mark.slow
@pytest.mark.parametrize("make", COMMANDS, ids=lambda make: make.__name__)
def test_killed_anywhere(tmp_path, monkeypatch, make):
    kill_anywhere(make, tmp_path, monkeypatch, 25, random.Random())


@pytest.mark.parametrize("make", COMMANDS, ids=lambda make: make.__name__)
def test_full_disk(tmp_path, monkeypatch, make):
    command = prepare(make, tmp_path / "x", monkeypatch)
    before = digests(command.target) if command.target.exists() else None
    code, errors = run(command.arguments, most_bytes=command.most_bytes)
    assert code == 1, errors
    assert "File too large" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    if make is not workflow:
        assert (digests(command.target) if command.target.exists() else None) == before
    assert list((tmp_path / "x").rglob(".nnunetv2_dualagg-*")) == []
    code, errors = run(command.arguments)
    assert code == 0, errors
