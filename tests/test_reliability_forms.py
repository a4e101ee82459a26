"""Bad JSON, bad names, bad numbers: one sentence that names the file, and nothing is written."""

import gzip
import json
import os
import re
import shutil
import struct

import nibabel as nib
import numpy as np
import pytest
from bobs_files import write_session
from evaluation_data import write_comparison
from fuzz_targets import FINGERPRINT
from infant_images import write_bids
from iseg_files import brain, set_nnunet_folders, voxels_of, write_iseg
from iseg_files import write_image as write_iseg_image
from planning_data import set_folders, write_dataset_with_fingerprint
from trained_model import plans, write_model

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.inference.bids import find_cases, start_derivative
from nnunetv2_dualagg.planning.reduced import add_reduced_configuration
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.forms import Plans
from nnunetv2_dualagg.utils.json import read_json

WRONG = {
    "null": b"null",
    "list": b"[]",
    "empty": b"",
    "number": b"3",
    "cut": b'{"labels": {"background": 0',
    "latin": b'{"labels": "\xe9"}',
    "deep": b"[" * 100_000,
    "object": b"{}",
}


def run(capsys, *arguments):
    """The exit code and the last line on stderr; an exception that nobody has foreseen is a failure."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as error:  # argparse
        code = error.code
    errors = capsys.readouterr().err
    assert cli.FAULT not in errors
    assert "Traceback" not in errors
    return code, errors.strip().splitlines()[-1] if errors.strip() else ""


# 10. JSON of the wrong form


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ["dataset.json", "sites.json"])
def test_compare(tmp_path, capsys, name, wrong):
    root = write_comparison(tmp_path / "in", cases=1)
    (root / name).write_bytes(WRONG[wrong])
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-sites", root / "sites.json"]
    code, error = run(capsys, *arguments, "-o", tmp_path / "out")
    assert code == 1
    assert str(root) in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"labels": [], "file_ending": ".nii.gz"}, "labels"),
        ({"labels": {"CSF": "1"}, "file_ending": ".nii.gz"}, "labels: CSF"),
        ({"labels": {"CSF": -1}, "file_ending": ".nii.gz"}, "labels: CSF"),
        ({"labels": {"CSF": True}, "file_ending": ".nii.gz"}, "labels: CSF"),
        ({"labels": {"CSF": 1, "ignore": [1]}, "file_ending": ".nii.gz"}, "labels.ignore"),
        ({"labels": {"CSF": 1}, "file_ending": ""}, "file_ending"),
        ({"labels": {"CSF": 1}, "file_ending": "/../x"}, "file_ending"),
        ({"labels": {"CSF": 1}, "file_ending": ".nii.gz", "channel_names": ["T1"]}, "channel_names"),
    ],
)
def test_dataset_json(tmp_path, capsys, content, place):
    root = write_comparison(tmp_path / "in", cases=1)
    (root / "dataset.json").write_text(json.dumps(content))
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-o", tmp_path / "out"]
    code, error = run(capsys, *arguments)
    assert code == 1
    assert f"{root / 'dataset.json'}: {place}" in error


def test_compare_without_channel_names_shows_images(tmp_path, capsys):
    root = write_comparison(tmp_path / "in", cases=1)
    content = json.loads((root / "dataset.json").read_text())
    del content["channel_names"]
    (root / "dataset.json").write_text(json.dumps(content))
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-images", root / "imagesTs"]
    assert run(capsys, *arguments, "-o", tmp_path / "out")[0] == 0


def test_a_site_called_like_all_of_them(tmp_path, capsys):
    root = write_comparison(tmp_path / "in", cases=2)
    (root / "sites.json").write_text(json.dumps({"iSeg_000": "all sites", "iSeg_001": "Oslo"}))
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-sites", root / "sites.json"]
    code, error = run(capsys, *arguments, "-o", tmp_path / "out")
    assert code == 1
    assert "gives the site 'all sites' for case iSeg_000" in error


def test_a_name_that_is_no_text(tmp_path, capsys):
    root = write_comparison(tmp_path / "in", cases=1)
    for folder in ("labelsTs", "default"):
        os.rename(root / folder / "iSeg_000.nii.gz", os.fsencode(root / folder) + b"/\xff.nii.gz")
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-o", tmp_path / "out"]
    code, error = run(capsys, *arguments)
    assert code == 1
    assert "is not UTF-8 text" in error


def test_pipes_and_links_to_themselves(tmp_path, capsys):
    root = write_comparison(tmp_path / "in", cases=1)
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-o", tmp_path / "out"]
    file = root / "default" / "iSeg_000.nii.gz"
    file.unlink()
    os.mkfifo(file)
    code, error = run(capsys, *arguments)
    assert (code, f"{file} is a pipe" in error) == (1, True)
    file.unlink()
    file.symlink_to(file)
    code, error = run(capsys, *arguments)
    assert (code, str(file) in error) == (1, True)
    (root / "dataset.json").unlink()
    os.mkfifo(root / "dataset.json")
    code, error = run(capsys, *arguments, "-djfile", root / "dataset.json")
    assert (code, "is a pipe" in error) == (1, True)


def test_links_to_themselves_among_isegs_files(tmp_path, monkeypatch, capsys):
    set_nnunet_folders(tmp_path, monkeypatch)
    (folder,), _ = write_iseg(tmp_path / "in", numbers=(1,))
    (folder / "subject-2-T1.hdr").symlink_to(folder / "subject-2-T1.hdr")
    (folder / "loop").symlink_to(folder / "loop")
    code, error = run(capsys, "convert_iseg", "-i", folder, "-d", 219, "-np", 1)
    assert code == 1
    assert "subject" in error


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    "name", ["raw/dataset.json", "dataset_fingerprint.json", "splits_final.json", "nnUNetPlans.json"]
)
def test_plan(tmp_path, monkeypatch, capsys, name, wrong):
    folders = set_folders(tmp_path, monkeypatch)
    raw = folders.raw / "Dataset001_Boxes"
    (raw / "imagesTr").mkdir(parents=True)
    description = {"labels": {"background": 0, "CSF": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "T1"}}
    (raw / "dataset.json").write_text(json.dumps({**description, "numTraining": 3}))
    preprocessed = folders.preprocessed / "Dataset001_Boxes"
    preprocessed.mkdir()
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(FINGERPRINT))
    file = raw / "dataset.json" if name.startswith("raw") else preprocessed / name
    file.write_bytes(WRONG[wrong])
    code, error = run(capsys, "plan", "-d", 1)
    assert code == 1
    assert str(file) in error
    assert not (preprocessed / "nnUNetDualAggPlans.json").exists()


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_export_onnx(tmp_path, capsys, name, wrong):
    write_model(tmp_path / "model", plans((8, 8, 8), features=(8, 8)))
    (tmp_path / "model" / name).write_bytes(WRONG[wrong])
    code, error = run(capsys, "export_onnx", "-m", tmp_path / "model", "-f", 0, "-o", tmp_path / "x.onnx")
    assert code == 1
    assert str(tmp_path / "model" / name) in error


@pytest.mark.parametrize("wrong", [name for name in WRONG if name != "object"])
def test_bids(tmp_path, wrong):
    pytest.importorskip("bids", reason="pybids is not installed")
    root, derivative = write_bids(tmp_path / "bids", ["01"]), tmp_path / "out"
    start_derivative(derivative, root, {"CSF": 1})
    description, ours = (folder / "dataset_description.json" for folder in (root, derivative))
    sidecar = root / "sub-01" / "anat" / "sub-01_T1w.json"
    sidecar.write_text('{"SkullStripped": true, "EchoTime": NaN}')
    assert find_cases(root, derivative, ["T1", "T2"])[0].stripped is True
    for file in (sidecar, description):
        file.write_bytes(WRONG[wrong])
        with pytest.raises(UserError, match=re.escape(str(file))):
            find_cases(root, derivative, ["T1", "T2"])
    ours.write_bytes(WRONG[wrong])
    with pytest.raises(UserError, match=re.escape(str(ours))):
        start_derivative(derivative, root, {"CSF": 1})


LINES = ["Epoch 0", "train_loss -0.5", "val_loss -0.4", "Pseudo dice [np.float32(0.9), 0.8]", "Epoch time: 3.2 s"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (0, "Epoch " + "9" * 5000),
        (0, "Epoch zero"),
        (1, "train_loss much"),
        (3, "Pseudo dice [" * 5000),
        (3, "Pseudo dice ['a']"),
        (3, "Pseudo dice __import__('os')"),
        (3, "Pseudo dice 3"),
    ],
)
def test_curves(tmp_path, capsys, line, text):
    fold = tmp_path / "fold_0"
    fold.mkdir()
    lines = [text if number == line else right for number, right in enumerate(LINES)]
    log = fold / "training_log_2026_1_1_10_00_00.txt"
    log.write_text("".join(f"2026-01-01 10:00:00.000000: {line}\n" for line in lines))
    code, error = run(capsys, "curves", "-i", f"a={fold}", "-o", tmp_path / "out")
    assert code == 1
    assert str(fold) in error


@pytest.mark.parametrize("wrong", [name for name in WRONG if name != "object"])
def test_curves_and_debug_json(tmp_path, capsys, wrong):
    fold = tmp_path / "fold_0"
    fold.mkdir()
    log = fold / "training_log_2026_1_1_10_00_00.txt"
    log.write_text("".join(f"2026-01-01 10:00:00.000000: {line}\n" for line in LINES))
    (fold / "debug.json").write_bytes(WRONG[wrong])
    code, error = run(capsys, "curves", "-i", f"a={fold}", "-o", tmp_path / "out")
    assert code == 1
    assert str(fold / "debug.json") in error


@pytest.mark.parametrize(
    ("name", "features", "sentence"),
    [
        ("../x", (4, 8, 8), "the configuration is '../x'"),
        ("a__b", (4, 8, 8), "the configuration is 'a__b'"),
        ("small", (0, 8, 8), "the features are 0 8 8; expected 1 to 4096"),
        ("small", (4, -8, 8), "the features are 4 -8 8"),
    ],
)
def test_add_configuration(tmp_path, name, features, sentence):
    file = tmp_path / "nnUNetPlans.json"
    file.write_text(json.dumps(plans((16, 16, 16))))
    before = file.read_bytes()
    with pytest.raises(UserError, match=sentence):
        add_reduced_configuration(file, name, [16, 16, 16], 2, features)
    assert file.read_bytes() == before


def test_heirs_without_an_end(tmp_path):
    content = plans((16, 16, 16))
    content["configurations"] |= {"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}
    file = tmp_path / "plans.json"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="inherits from itself"):
        read_json(file, Plans)


# Options that know their ranges


@pytest.mark.parametrize(
    "words",
    [
        "phantom -o {out} --size 100000 100000 100000",
        "phantom -o {out} --size 0 1 1",
        "phantom -o {out} --spacing 0.0001",
        "phantom -o {out} --spacing nan",
        "phantom -o {out} --num_training 999999999999999999999",
        "phantom -o {out} --seed -1",
        "phantom -o {out} -np 0",
        "benchmark -o {out} -device cpu -repeats 0",
        "benchmark -o {out} -device cpu -patch 99999999 8 8",
        "benchmark -o {out} -device cpu -batch -1",
        "add_configuration -d 1 -c a__b -patch_size 8 8 8 -batch_size 2 -features_per_stage 4 8 8",
        "add_configuration -d 1 -c a -patch_size 8 8 8 -batch_size 0 -features_per_stage 4 8 8",
        "compare -ref {out} -pred a={out} -o {out} -np 0",
        "pack_model -m {out} -o {out} -f x",
        "export_onnx -m {out} -o {out} -f -1",
        "segment -i {out} -o {out} -f 1.5",
    ],
)
def test_options(tmp_path, capsys, words):
    code, error = run(capsys, *words.format(out=tmp_path / "out").split())
    assert code in (1, 2)
    assert "expected" in error
    assert not (tmp_path / "out").exists()


def test_plans_are_not_written_over_the_splits(tmp_path, monkeypatch, capsys):
    folders = set_folders(tmp_path, monkeypatch)
    name = write_dataset_with_fingerprint(folders.raw)
    file = folders.preprocessed / name / "splits_final.json"
    file.write_text('[{"train": ["iSeg_001"], "val": ["iSeg_002"]}]')
    before = file.read_bytes()
    code, _ = run(capsys, "plan", "-d", 1, "-overwrite_plans_name", "splits_final", "--overwrite")
    assert code == 1
    assert file.read_bytes() == before


def test_what_nobody_has_foreseen_is_a_sentence_too(monkeypatch, capsys):
    from nnunetv2_dualagg.commands import path

    def fail(_):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(path, "run", fail)
    assert cli.main(["path"]) == 1
    assert f"Error: {cli.FAULT}: ZeroDivisionError: division by zero;" in capsys.readouterr().err
    monkeypatch.setenv(cli.TRACEBACK, "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["path"])


# 12. What nobody can mean


@pytest.mark.parametrize(
    ("row", "sentence"),
    [((0, 0, 0, 0), "does not tell how it lies in space"), ((9, 9, 0, 0), "axes that are not perpendicular")],
)
def test_an_image_that_lies_nowhere(tmp_path, monkeypatch, capsys, row, sentence):
    set_nnunet_folders(tmp_path, monkeypatch)
    write_session(tmp_path / "in", "11", 6)
    file = next((tmp_path / "in").rglob("*_dseg.nii.gz"))
    content = bytearray(gzip.decompress(file.read_bytes()))
    struct.pack_into("<4f", content, 280, *row)  # the first row of its sform
    file.write_bytes(gzip.compress(content))
    code, error = run(capsys, "convert_bobs", "-i", tmp_path / "in", "-d", 221, "-np", 1)
    assert code == 1
    assert f"{file}" in error
    assert sentence in error


def _subject(folder, t1, t2):
    label = np.zeros((28, 28, 28), np.uint8)
    label[4:24, 4:24, 4:24] = 1
    label[6:22, 6:22, 6:22] = 2
    label[9:19, 9:19, 9:19] = 3
    label[5, 5, 5:12] = 2  # no mirroring leaves it as it is
    for kind, levels in (("T1", t1), ("T2", t2)):
        write_iseg_image(folder / f"subject-1-{kind}", np.array([0, *levels], np.int16)[label])
    write_iseg_image(folder / "subject-1-label", label)


def test_swapped_images_are_remarked(tmp_path, capsys):
    right, swapped = (tmp_path / name / "iSeg-2019-Training" for name in ("right", "swapped"))
    levels = (55, 100, 105), (180, 100, 95)
    _subject(right, *levels)
    _subject(swapped, *levels[::-1])
    for folder, remarked in ((right, False), (swapped, True)):
        assert cli.main(["convert_iseg", "-i", str(folder), "--check", "-np", "1"]) == 0
        assert ("may have been swapped" in capsys.readouterr().out) == remarked


def test_the_same_image_twice_is_refused(tmp_path, monkeypatch, capsys):
    raw = set_nnunet_folders(tmp_path, monkeypatch)
    (folder,), _ = write_iseg(tmp_path / "in", numbers=(1,))
    for ending in (".hdr", ".img"):
        shutil.copy(folder / f"subject-1-T1{ending}", folder / f"subject-1-T2{ending}")
    assert cli.main(["convert_iseg", "-i", str(folder), "--check", "-np", "1"]) == 1
    assert "holds the same voxels as" in capsys.readouterr().out
    code, error = run(capsys, "convert_iseg", "-i", folder, "-d", 219, "-np", 1)
    assert code == 1
    assert "holds the same voxels as" in error
    assert list(raw.iterdir()) == []


@pytest.fixture
def prediction(tmp_path, monkeypatch, capsys):
    """Arguments of ``submit_iseg`` for one subject, and its prediction."""
    raw = set_nnunet_folders(tmp_path, monkeypatch)
    (folder,), _ = write_iseg(tmp_path / "in", numbers=(24,))
    assert run(capsys, "convert_iseg", "-i", folder, "-d", 219, "-np", 1)[0] == 0
    image = nib.load(raw / "Dataset219_iSeg2019" / "imagesTs" / "iSeg_024_0000.nii.gz")
    file = tmp_path / "predictions" / "iSeg_024.nii.gz"
    file.parent.mkdir()
    nib.save(nib.Nifti1Image(brain(image.shape)[0], image.affine), file)
    return ["submit_iseg", "-i", file.parent, "-r", folder, "-o", tmp_path / "out.zip"], file


def test_nothing_but_background_is_not_submitted(prediction, capsys):
    arguments, file = prediction
    image = nib.load(file)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), file)
    code, error = run(capsys, *arguments)
    assert code == 1
    assert "holds nothing but background" in error
    assert not arguments[-1].exists()


def test_the_wrong_year_is_not_submitted(prediction, capsys):
    arguments, _ = prediction
    code, error = run(capsys, *arguments, "-year", 2017)
    assert code == 1
    assert "is iSeg-2019 by names or numbers, but -year says 2017" in error
    assert run(capsys, *arguments, "-year", 2019)[0] == 0


def test_a_missing_tissue_is_remarked(prediction, capsys):
    arguments, file = prediction
    image = nib.load(file)
    nib.save(nib.Nifti1Image(np.minimum(voxels_of(file), 2), image.affine), file)
    assert cli.main([str(argument) for argument in arguments]) == 0
    assert "holds no WM" in capsys.readouterr().out
