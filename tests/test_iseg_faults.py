"""Bad input, bad options, full disks and Ctrl-C: one sentence, and the target is complete or absent."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from iseg_files import (
    CODING_2017,
    SMALL,
    files_in,
    set_nnunet_folders,
    voxels_of,
    write_image,
    write_iseg,
    write_subject,
)

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.dataset_conversion import description
from nnunetv2_dualagg.dataset_conversion.iseg.convert import convert_iseg
from nnunetv2_dualagg.utils.errors import UserError


@pytest.fixture
def raw(tmp_path, monkeypatch):
    return set_nnunet_folders(tmp_path, monkeypatch)


def _remove(pattern):
    return lambda root: [path.unlink() for path in root.rglob(pattern)]


def _cut(name):
    def change(root):
        path = next(root.rglob(name))
        path.write_bytes(path.read_bytes()[:-1])

    return change


def _image(name, voxels, ending=".hdr", **options):
    return lambda root: write_image(root / name, voxels, ending, **options)


def _replace(name, change, **options):
    """Write an image of the replica again, changed."""

    def again(root):
        path = next(root.rglob(f"{name}.hdr"))
        write_image(path.with_suffix(""), change(voxels_of(path)), **options)

    return again


def _with(value):
    def change(voxels):
        voxels = voxels.copy()
        voxels[6, 7, 5] = value
        return voxels

    return change


TRAIN, TEST = "iSeg-2019-Training/", "iSeg-2019-Testing/"
FAULTS = {
    "no T2": (_remove("subject-2-T2.*"), "subject 2 has no T2.*expected subject-2-T2"),
    "no T1": (_remove("subject-24-T1.*"), "subject 24 has no T1.*expected"),
    "no label": (_remove("subject-2-label.*"), "subject 2 has no label.*expected"),
    "no img": (_remove("subject-2-T2.img"), r"subject-2-T2\.hdr has no voxels; expected subject-2-T2\.img"),
    "no hdr": (_remove("subject-2-T2.hdr"), r"subject-2-T2\.img has no header; expected subject-2-T2\.hdr"),
    "img cut off": (_cut("subject-2-T1.img"), r"subject-2-T1\.img holds 3359 bytes.*expected 3360"),
    "hdr cut off": (_cut("subject-2-T1.hdr"), r"subject-2-T1\.hdr is truncated.*347.*expected.*348"),
    "img empty": (lambda r: (r / TRAIN / "subject-2-T1.img").write_bytes(b""), r"subject-2-T1\.img holds 0 bytes"),
    "hdr is text": (
        lambda r: (r / TRAIN / "subject-2-T1.hdr").write_text("x" * 400),
        r"subject-2-T1\.hdr is not an image header",
    ),
    "third modality": (_image(TRAIN + "subject-2-PD", np.ones(SMALL, np.int16)), "subject-2-PD.hdr is neither"),
    "two files for one": (
        _image(TRAIN + "subject-2-T1", np.ones(SMALL, np.int16), ".nii"),
        "is a second T1 of subject 2",
    ),
    "in two folders": (
        _image(TEST + "subject-2-T1", np.ones(SMALL, np.int16)),
        r"iSeg-2019-Training/subject-2-T1\.hdr is a second T1 of subject 2",
    ),
    "NaN": (_replace("subject-2-T1", lambda v: _with(np.nan)(v.astype("f4"))), r"subject-2-T1\.hdr holds NaN"),
    "infinite": (
        _replace("subject-24-T2", lambda v: _with(np.inf)(v.astype("f4"))),
        r"subject-24-T2\.hdr holds NaN or inf",
    ),
    "only zeros": (_replace("subject-24-T2", np.zeros_like), r"subject-24-T2\.hdr holds nothing but zeros"),
    "T2's shape": (
        _replace("subject-2-T2", lambda v: v[1:]),
        r"subject-2-T2\.hdr has shape \(11, 14, 10\); expected \(12",
    ),
    "label's shape": (
        _replace("subject-2-label", lambda v: v[..., 1:]),
        r"subject-2-label\.hdr has shape .*expected \(12",
    ),
    "axes exchanged": (
        _replace("subject-2-T2", lambda v: v.transpose(1, 0, 2)),
        r"subject-2-T2\.hdr has shape \(14, 12",
    ),
    "spacing": (
        _replace("subject-2-T2", lambda v: v, spacing=(1, 1, 2)),
        r"subject-2-T2\.hdr has spacing \(1.0, 1.0, 2",
    ),
    "4-D": (
        _replace("subject-2-T2", lambda v: np.stack([v, v], 3)),
        r"subject-2-T2\.hdr has shape .*expected three axes",
    ),
    "2-D": (_replace("subject-2-T2", lambda v: v[0]), r"subject-2-T2\.hdr has shape \(14, 10\); expected three axes"),
    "unknown label": (
        _replace("subject-2-label", _with(4)),
        r"subject-2-label\.hdr holds the values 0, 1, 2, 3, 4; expected",
    ),
    "fractional label": (
        _replace("subject-2-label", lambda v: _with(1.5)(v.astype("f4"))),
        r"values 0, 1, 1\.5, 2, 3; exp",
    ),
    "NaN label": (_replace("subject-2-label", lambda v: _with(np.nan)(v.astype("f4"))), "0, 1, 2, 3, nan; expected"),
    "codings mixed in a file": (
        _replace("subject-2-label", _with(150)),
        r"subject-2-label\.hdr holds .* 150; expected",
    ),
    "codings mixed over files": (
        _replace("subject-2-label", lambda v: CODING_2017[v]),
        "subject-2.* but .*subject-1.*same",
    ),
    "no white matter": (
        _replace("subject-2-label", lambda v: v.clip(0, 2)),
        "the values 0, 1, 2; expected all of 0, 1, 2, 3",
    ),
    "empty label": (_replace("subject-2-label", np.zeros_like), r"subject-2-label\.hdr holds the values 0; expected"),
    "mirrored left to right": (
        _replace("subject-2-label", lambda v: v[::-1]),
        r"subject-2-label\.hdr is mirrored along x",
    ),
    "mirrored up and down": (
        _replace("subject-24-T2", lambda v: v[..., ::-1]),
        r"subject-24-T2\.hdr is mirrored along z",
    ),
    "both years": (lambda r: write_subject(r / "iSeg-2017-Testing", 12, label=False), "iSeg-2017 but .* iSeg-2019"),
    "number without split": (lambda r: write_subject(r / "more", 40), "knows no subject 40; expected its split"),
    "damaged gzip": (
        lambda r: (
            _remove("subject-24-T1.*")(r),
            (r / TEST / "subject-24-T1.nii.gz").write_bytes(b"\x1f\x8b" + b"x" * 99),
        ),
        r"subject-24-T1\.nii\.gz is truncated or damaged",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_told_in_one_sentence_and_leaves_nothing(tmp_path, raw, capsys, fault):
    spoil, sentence = FAULTS[fault]
    write_iseg(tmp_path / "in", numbers=(1, 2, 24))
    spoil(tmp_path / "in")
    folders = [str(path) for path in (tmp_path / "in").iterdir()]
    capsys.readouterr()
    assert cli.main(["convert_iseg", "-np", "1", "-d", "219", "-i", *sorted(folders)]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if not re.search(r"case/s|\?case|s/case", line)]
    assert len([line for line in errors if line.strip()]) == 1, errors
    assert re.search(sentence, errors[-1]), errors
    assert not raw.exists() or list(raw.iterdir()) == []
    # The report tells the same, without writing, and what is sound is still described.
    assert cli.main(["convert_iseg", "--check", "-np", "1", "-i", *sorted(folders)]) == 1
    output = capsys.readouterr()
    assert re.search(sentence, output.out + output.err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-d", "0"], "number is 0; expected 1 to 999"),
        (["-d", "1000"], "number is 1000; expected 1 to 999"),
        ([], "no dataset number"),
        (["-d", "219", "-sites", "missing.csv"], "missing.csv: No such file"),
        (["-d", "219", "--add"], "Dataset219_iSeg2019.*sites.json; expected a converted dataset"),
    ],
)
def test_bad_options(tmp_path, raw, capsys, arguments, words):
    folders, _ = write_iseg(tmp_path / "in", numbers=(24,))
    assert cli.main(["convert_iseg", "-np", "1", "-i", str(folders[0]), *arguments]) == 1
    assert re.search(words, capsys.readouterr().err)
    assert not raw.exists()


def test_nothing_tells_the_year(tmp_path, raw):
    write_subject(tmp_path / "data", 11, label=False)
    with pytest.raises(UserError, match="-year 2017 or 2019"):
        convert_iseg([tmp_path / "data"], 5, num_processes=1)


@pytest.mark.parametrize("value", [None, ""])
def test_refuses_without_nnunet_raw(tmp_path, monkeypatch, value):
    folders, _ = write_iseg(tmp_path / "in", numbers=(24,))
    monkeypatch.delenv("nnUNet_raw", raising=False)
    if value is not None:
        monkeypatch.setenv("nnUNet_raw", value)
    with pytest.raises(UserError, match="nnUNet_raw is not set"):
        convert_iseg(folders, 219)


@pytest.mark.parametrize("variable", ["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"])
def test_refuses_a_number_that_belongs_to_another_dataset(tmp_path, raw, variable):
    folders, _ = write_iseg(tmp_path / "in", numbers=(24,))
    (tmp_path / variable / "Dataset219_Other").mkdir(parents=True)
    with pytest.raises(UserError, match="219 belongs to Dataset219_Other"):
        convert_iseg(folders, 219, num_processes=1)


def test_a_target_that_cannot_be_written_is_told(tmp_path, monkeypatch, capsys):
    folders, _ = write_iseg(tmp_path / "in", numbers=(24,))
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "file"))
    assert cli.main(["convert_iseg", "-np", "1", "-d", "219", "-i", str(folders[0])]) == 1
    assert f"Error: {tmp_path / 'file'}" in capsys.readouterr().err


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_full_disk_leaves_nothing(tmp_path, raw, num_processes):
    """The kernel itself refuses: no file may grow beyond what the labels take."""
    write_iseg(tmp_path / "in", numbers=(1, 2, 3), shape=(40, 40, 40))
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
    main = "from nnunetv2_dualagg.cli import main\nif __name__ == '__main__': raise SystemExit(main())"
    (tmp_path / "run.py").write_text(limit + main)
    command = [sys.executable, tmp_path / "run.py", "convert_iseg", "-d", "219", "-np", str(num_processes)]
    done = subprocess.run([*command, "-i", tmp_path / "in"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "iSeg_001_0000.nii.gz: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(raw.iterdir()) == []


def test_disk_full_in_the_last_step_leaves_the_old_dataset(tmp_path, raw, monkeypatch):
    folders, _ = write_iseg(tmp_path / "in", numbers=(1, 24))
    dataset = convert_iseg(folders, 219, num_processes=1)
    before = {name: (dataset / name).read_bytes() for name in files_in(dataset)}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(description, "generate_dataset_json", full)
    with pytest.raises(OSError, match=f"No space left.*{dataset}"):
        convert_iseg(folders[:1], 219, overwrite=True, num_processes=1)
    assert {name: (dataset / name).read_bytes() for name in files_in(dataset)} == before
    assert [path.name for path in raw.iterdir()] == [dataset.name]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_ctrl_c_leaves_nothing(tmp_path, raw, num_processes):
    folders, _ = write_iseg(tmp_path / "in", numbers=range(1, 11), shape=(96, 96, 96))
    command = [sys.executable, "-m", "nnunetv2_dualagg.cli", "convert_iseg", "-d", "219", "-np", str(num_processes)]
    process = subprocess.Popen(
        [*command, "-i", *folders], stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("nnUNet_raw/.*/new/imagesTr/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes of the group
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.rstrip().endswith("Interrupted.")
    assert "Traceback" not in errors
    assert list(raw.iterdir()) == []
