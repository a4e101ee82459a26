"""Mutated files for every command that reads files: done, or refused in one sentence, and never anything half-written.

A mutation follows from a number. Hypothesis chooses the numbers; those that once found a fault stay in ``SEEDS``.
"""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from evaluation_data import layers, write_comparison, write_image
from hostile import assert_one_sentence, mutate_bytes, mutate_json
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from iseg_files import brain, write_iseg
from trained_model import plans, write_model

from nnunetv2_dualagg import cli

SEEDS = (0, 1, 2, 3)
SHORT, LONG = 12, 420
LOG = "".join(
    f"2026-01-01 10:00:00.000000: {line}\n"
    for line in ("Epoch 0", "train_loss -0.5", "val_loss -0.4", "Pseudo dice [0.9, 0.8]", "Epoch time: 3.2 s")
)
NUMBERS = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
FINGERPRINT = {
    "spacings": [[1.0, 1.0, 1.0]] * 3,
    "shapes_after_crop": [[40, 40, 40]] * 3,
    "foreground_intensity_properties_per_channel": {"0": NUMBERS},
    "median_relative_size_after_cropping": 1.0,
}
DATASET = {
    "labels": {"background": 0, "CSF": 1, "GM": 2, "WM": 3},
    "file_ending": ".nii.gz",
    "channel_names": {"0": "T1"},
    "numTraining": 3,
}


@dataclass
class Target:
    """A command and the files to mutate.

    Attributes:
        arguments: of the command.
        files: those to mutate.
        output: what must not be there after a refusal, if anything.
        content: the files as they should be.
    """

    arguments: list
    files: list[Path]
    output: Path | None = None
    content: dict[Path, bytes] = field(default_factory=dict)


def convert_iseg(folder):
    folders, _ = write_iseg(folder / "in", numbers=(1, 24))
    write_iseg(folder / "in", numbers=(25,), ending=".nii.gz")
    arguments = ["convert_iseg", "-i", *folders, "-d", 219, "-np", 1]
    files = [file for file in sorted((folder / "in").rglob("*")) if file.is_file()]
    return Target(arguments, files, folder / "nnUNet_raw" / "Dataset219_iSeg2019")


def check_iseg(folder):
    target = convert_iseg(folder)
    return Target([*target.arguments[:-4], "--check", "-np", 1], target.files)


def submit_iseg(folder):
    import nibabel as nib
    import numpy as np

    write_iseg(folder / "in", numbers=(24,))
    (folder / "predictions").mkdir()
    file = folder / "predictions" / "iSeg_024.nii.gz"
    nib.save(nib.Nifti1Image(brain()[0], np.diag([-1, 1, 1, 1])), file)
    iseg = folder / "in" / "iSeg-2019-Testing"
    arguments = ["submit_iseg", "-i", file.parent, "-r", iseg, "-o", folder / "out.zip"]
    return Target(arguments, [file, iseg / "subject-24-T1.hdr"], folder / "out.zip")


def phantom(folder):
    write_image(folder / "maps" / "a.nii.gz", layers(0, (14, 14, 14)), spacing=(8, 8, 8))
    words = ["--num_training", 1, "--num_testing", 0, "--spacing", 10, "-np", 1]
    return Target(
        ["phantom", "-maps", folder / "maps", "-o", folder / "out", *words],
        [folder / "maps" / "a.nii.gz"],
        folder / "out",
    )


def compare(folder):
    root = write_comparison(folder / "in", cases=1)
    files = [
        root / "dataset.json",
        root / "sites.json",
        *(root / d / "iSeg_000.nii.gz" for d in ("labelsTs", "default")),
    ]
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-sites", root / "sites.json"]
    return Target([*arguments, "-np", 1, "-o", folder / "out"], files, folder / "out")


def curves(folder):
    fold = folder / "fold_0"
    fold.mkdir()
    files = [fold / "training_log_2026_1_1_10_00_00.txt", fold / "debug.json"]
    files[0].write_text(LOG)
    files[1].write_text(json.dumps({"gpu_name": "x", "device": "cuda"}))
    return Target(["curves", "-i", f"a={fold}", "-o", folder / "out"], files, folder / "out")


def _dataset(folder):
    raw, preprocessed = (folder / f"nnUNet_{name}" / "Dataset001_X" for name in ("raw", "preprocessed"))
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    for case in "abc":
        (raw / "labelsTr" / f"{case}.nii.gz").touch()
        (raw / "imagesTr" / f"{case}_0000.nii.gz").touch()
    (raw / "dataset.json").write_text(json.dumps(DATASET))
    preprocessed.mkdir(parents=True)
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(FINGERPRINT))
    (preprocessed / "splits_final.json").write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}]))
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans((16, 16, 16))))
    return raw, preprocessed


def plan(folder):
    raw, preprocessed = _dataset(folder)
    names = ("dataset_fingerprint.json", "splits_final.json", "nnUNetPlans.json")
    output = preprocessed / "nnUNetDualAggPlans.json"
    return Target(["plan", "-d", 1], [raw / "dataset.json", *(preprocessed / name for name in names)], output)


def splits(folder):
    raw, preprocessed = _dataset(folder)
    files = [raw / "dataset.json", preprocessed / "splits_final.json"]
    return Target(["splits", "-d", 1, "--loso", "--overwrite"], files)


def add_configuration(folder):
    _, preprocessed = _dataset(folder)
    words = "add_configuration -d 1 -c 3d_small -patch_size 16 16 16 -batch_size 2 -features_per_stage 4 8 8"
    return Target(words.split(), [preprocessed / "nnUNetPlans.json"])


def export_onnx(folder):
    model = folder / "model"
    write_model(model, plans((8, 8, 8), features=(8, 8)))
    files = [model / "plans.json", model / "dataset.json", model / "fold_0" / "checkpoint_final.pth"]
    return Target(["export_onnx", "-m", model, "-f", 0, "-o", folder / "x.onnx"], files, folder / "x.onnx")


def train(folder):
    _, preprocessed = _dataset(folder)
    write_model(folder / "model", plans((8, 8, 8), features=(8, 8)))
    weights = folder / "model" / "fold_0" / "checkpoint_final.pth"
    files = [weights, preprocessed / "nnUNetPlans.json", preprocessed / "splits_final.json"]
    return Target(["train", "-seed", 0, 1, "3d_fullres", 0, "-pretrained_weights", weights], files)


def path(folder):
    name = "nnUNetTrainerDualAggFuture__nnUNetPlans__3d_fullres"
    model = folder / "nnUNet_results" / "Dataset001_X" / name
    write_model(model, plans((8, 8, 8), features=(8, 8)))
    return Target(["path", "--check"], [model / "fold_0" / "checkpoint_final.pth"])


# Those that take seconds where the mutation changes nothing get fewer mutations.
COMMANDS: dict[Callable[[Path], Target], float] = {
    convert_iseg: 1.5,
    check_iseg: 1,
    submit_iseg: 1.5,
    phantom: 1,
    compare: 0.15,
    curves: 0.5,
    plan: 1,
    splits: 1.5,
    add_configuration: 1.5,
    export_onnx: 1,
    train: 1.5,
    path: 1,
}


REPORTS = (check_iseg, path)
"""Commands whose report on stdout says what is wrong."""


@pytest.fixture
def quick(monkeypatch):
    """Without what follows once the files are known to be good: ONNX's export, nnU-Net's training, the pictures."""
    from nnunetv2.run import run_training

    from nnunetv2_dualagg.inference import export_onnx as module

    monkeypatch.setattr(run_training, "run_training", lambda *_, **__: None)
    monkeypatch.setattr(module, "export_network", lambda network, shape, part, metadata: part.touch())
    monkeypatch.setattr(module, "_difference", lambda *_: 0.0)


def fuzz(make, tmp_path, monkeypatch, capsys, examples):
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / f"nnUNet_{name}"))
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    target = make(tmp_path)
    target.content = {file: file.read_bytes() for file in target.files}
    counts = {"done": 0, "refused": 0}

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def check(seed):
        rng = random.Random(seed)
        file = rng.choice(target.files)
        good = target.content[file]
        if file.suffix == ".json" and rng.random() < 0.8:
            bad = json.dumps(mutate_json(json.loads(good), rng)).encode()
        else:
            bad = mutate_bytes(good, rng)
        file.write_bytes(bad)
        try:
            code = cli.main([str(argument) for argument in target.arguments])
            errors = capsys.readouterr().err
            assert_one_sentence(code, errors, on_stdout=make in REPORTS)
            counts["refused" if code else "done"] += 1
            if code and target.output is not None:
                assert not target.output.exists()
            assert not list(tmp_path.rglob(".nnunetv2_dualagg-*"))
        finally:
            for changed, content in target.content.items():  # splits and add_configuration write to their inputs
                changed.write_bytes(content)
            if target.output is not None and target.output.exists():
                shutil.rmtree(target.output) if target.output.is_dir() else target.output.unlink()

    for seed in SEEDS:
        check = example(seed)(check)
    check()
    with capsys.disabled():
        print(f" {make.__name__}: {counts['refused']} refused, {counts['done']} done", end="")


@pytest.mark.parametrize("make", [make for make in COMMANDS if make not in (compare, curves, plan)])
def test_some_mutations(tmp_path, monkeypatch, capsys, quick, make):
    fuzz(make, tmp_path, monkeypatch, capsys, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("make", COMMANDS)
def test_many_mutations(tmp_path, monkeypatch, capsys, quick, make):
    fuzz(make, tmp_path, monkeypatch, capsys, int(LONG * COMMANDS[make]))
