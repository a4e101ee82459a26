"""Every command that writes, killed at a random moment or on a full disk: its target is complete or as it was before.

Then the same command again gives what it gives undisturbed, and nothing else is left.
"""

import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import fuzz_targets as targets
import pytest
from bobs_files import write_bobs
from evaluation_data import layers, write_comparison, write_image
from hostile import Child, digests, run
from iseg_files import write_iseg
from loopback_server import Server
from planning_data import write_dataset
from trained_model import plans

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.dataset_conversion.bobs import download
from nnunetv2_dualagg.dataset_conversion.bobs.registry import RemoteFile

for name in (
    "benchmark.run",
    "dataset_conversion.bobs.convert",
    "dataset_conversion.iseg.convert",
    "dataset_conversion.iseg.submit",
    "dataset_conversion.phantom",
    "evaluation.compare",
    "inference.export_onnx",
    "inference.segmenting",
    "planning.plan",
    "training.curves",
    "workflow.run",
):  # here, so that the children need not
    importlib.import_module(f"nnunetv2_dualagg.{name}")

BUCKET = {
    f"sub-11/ses-{age}mo/anat/sub-11_ses-{age}mo_{kind}.nii.gz": f"{age} {kind} ".encode() * 20_000
    for age in (3, 6)
    for kind in ("T1w", "T2w", "desc-aseg_dseg")
}
REGISTRY = [RemoteFile(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in BUCKET.items()]


@dataclass
class Command:
    """A command on its data.

    Attributes:
        arguments: such that it may be given again.
        target: what it makes or changes.
        varying: pattern of the names of files that differ each time, such as those that tell the time.
        most_bytes: too little for the largest of its files.
        one_by_one: it puts its files into the target's folder one after the other, each of them complete.
    """

    arguments: list
    target: Path
    varying: str | None = None
    most_bytes: int = 2000
    one_by_one: bool = False


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
    return Command(arguments, target, varying="*", most_bytes=300)  # zip files tell the time


def compare(folder, _):
    root = write_comparison(folder / "in", cases=1)
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-np", 1]
    return Command([*arguments, "-o", folder / "out", "--overwrite"], folder / "out", varying="*")


def curves(folder, _):
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "training_log_2026_1_1_10_00_00.txt").write_text(targets.LOG)
    arguments = ["curves", "-i", f"a={folder / 'fold_0'}", "-o", folder / "out", "--overwrite"]
    return Command(arguments, folder / "out", varying="*")


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
    return Command(["workflow", "-o", folder / "out"], folder / "out", most_bytes=100, one_by_one=True)


def convert_bobs(folder, nnunet):
    write_bobs(folder / "in", [("11", 6)])
    arguments = ["convert_bobs", "-i", folder / "in", "-d", 221, "-np", 1, "--overwrite"]
    return Command(arguments, nnunet.raw / "Dataset221_BOBs")


def download_bobs(folder, nnunet):
    arguments = ["download_bobs", "-o", folder / "bobs", "-url", nnunet.bucket]
    return Command(arguments, folder / "bobs", one_by_one=True)


def plan(folder, _):
    target = targets.plan(folder)
    return Command(target.arguments, target.output)


def pack_model(folder, _):
    target = targets.pack_model(folder)
    return Command([*target.arguments, "--overwrite"], target.output)


def unpack_model(folder, _):
    target = targets.unpack_model(folder)
    return Command([*target.arguments, "--overwrite"], target.output)


def segment(folder, _):
    target = targets.segment(folder)
    # the record tells the paths of the images
    return Command(target.arguments, target.output, varying="*_dseg.json", most_bytes=500, one_by_one=True)


def export_onnx(folder, _):
    target = targets.export_onnx(folder)
    return Command([*target.arguments, "--overwrite"], target.output, varying="*")


def benchmark(folder, _):
    (folder / "out").mkdir(parents=True)
    target = folder / "out" / "x.json"
    words = "-device cpu -setting tiny -repeats 1 -volume_repeats 1 --overwrite"
    return Command(["benchmark", "-o", target, *words.split()], target, varying="*")


QUICK = (
    phantom,
    convert_iseg,
    convert_iseg_add,
    convert_bobs,
    download_bobs,
    submit_iseg,
    add_configuration,
    splits,
    pack_model,
    unpack_model,
    workflow,
)
SECONDS = {compare: 10, curves: 25, plan: 25, segment: 25, export_onnx: 4, benchmark: 4}
"""Commands that take seconds, with how often they are killed in the slow test; the others 25 times."""


@dataclass
class Folders:
    raw: Path
    preprocessed: Path
    results: Path
    bucket: str


@pytest.fixture(scope="module")
def bucket():
    """The address of a small bucket of Baby Open Brains."""
    with pytest.MonkeyPatch.context() as patch, Server(BUCKET) as server:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setattr(download, "load_registry", lambda: REGISTRY)
        yield server.url


def prepare(make, folder, monkeypatch, bucket):
    nnunet = Folders(*(folder / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")), bucket)
    for name in ("raw", "preprocessed", "results"):
        getattr(nnunet, name).mkdir(parents=True)
        monkeypatch.setenv(f"nnUNet_{name}", str(getattr(nnunet, name)))
    return make(folder, nnunet)


def content(command):
    """The target's files with their digests, or None in their place where the bytes differ each time."""
    found = digests(command.target) if command.target.exists() else {}
    return {name: None if command.varying and fnmatch(name, command.varying) else found[name] for name in found}


def hidden(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".nnunetv2_dualagg-*"))


def complete(command, right):
    """The target after a kill, without what the next command will remove."""
    now = {name: digest for name, digest in content(command).items() if ".nnunetv2_dualagg-" not in name}
    return now.items() <= right.items() if command.one_by_one else now == right


def kill_anywhere(make, tmp_path, monkeypatch, bucket, rounds, rng):
    command = prepare(make, tmp_path / "right", monkeypatch, bucket)
    start = time.monotonic()
    code, errors = run(command.arguments)
    duration = time.monotonic() - start
    assert code == 0, errors
    right = content(command)
    assert right
    assert hidden(tmp_path / "right") == []
    killed = 0
    for number in range(rounds):
        folder = tmp_path / str(number)
        command = prepare(make, folder, monkeypatch, bucket)
        before = content(command)
        child = Child(command.arguments)
        time.sleep(rng.uniform(0, 1.1 * duration))
        child.kill()
        code, errors = child.wait()
        assert code <= 0, errors
        killed += code < 0
        assert complete(command, right) or content(command) == before
        code, errors = run(command.arguments)
        if code:
            assert make is convert_iseg_add, errors
            assert "is in the dataset already" in errors
        assert content(command) == right
        assert hidden(folder) == []
        shutil.rmtree(folder)
    return killed


@pytest.mark.parametrize("make", QUICK, ids=lambda make: make.__name__)
def test_killed_twice(tmp_path, monkeypatch, bucket, make):
    kill_anywhere(make, tmp_path, monkeypatch, bucket, 2, random.Random(make.__name__))


@pytest.mark.slow
@pytest.mark.parametrize("make", [*QUICK, *SECONDS], ids=lambda make: make.__name__)
def test_killed_anywhere(tmp_path, monkeypatch, bucket, capsys, make):
    rounds, start = SECONDS.get(make, 25), time.monotonic()
    killed = kill_anywhere(make, tmp_path, monkeypatch, bucket, rounds, random.Random())
    with capsys.disabled():
        print(f" {make.__name__}: {killed} of {rounds} killed, {time.monotonic() - start:.0f} s", flush=True)


def test_a_download_killed_within_a_file_leaves_nothing_of_it(tmp_path, monkeypatch, bucket):
    command = prepare(download_bobs, tmp_path, monkeypatch, bucket)

    def die(self, url, file, pooch):
        Path(file).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(download._Downloader, "__call__", die)
        assert run(command.arguments)[0] == -signal.SIGKILL
    code, errors = run(command.arguments)
    assert code == 0, errors
    assert set(content(command)) == {*BUCKET, "origin.json"}


@pytest.mark.parametrize("make", [download_bobs, segment, workflow], ids=lambda make: make.__name__)
def test_killed_after_the_last_file_was_in_its_place(tmp_path, monkeypatch, bucket, make):
    """All files are there, so that the command has nothing to write, but the workplace of the last one is too."""
    command = prepare(make, tmp_path, monkeypatch, bucket)
    assert run(command.arguments)[0] == 0
    for folder in {file.parent for file in command.target.rglob("*") if file.is_file()}:
        (folder / ".nnunetv2_dualagg-left").mkdir()
    code, errors = run(command.arguments)
    assert code == 0, errors
    assert hidden(tmp_path) == []


def test_segment_goes_on_after_a_kill_while_its_files_came_into_place(tmp_path, monkeypatch, bucket):
    command = prepare(segment, tmp_path, monkeypatch, bucket)
    segmentation, record = (command.target / f"sub-01_{name}" for name in ("dseg.nii.gz", "dseg.json"))
    assert run(command.arguments)[0] == 0
    right = digests(command.target)
    segmentation.unlink()  # which comes last
    code, errors = run(command.arguments)
    assert code == 0, errors
    assert digests(command.target) == right
    record.unlink()  # so the segmentation is somebody else's
    code, errors = run(command.arguments)
    assert code == 1
    assert f"{segmentation} exists already without {record.name}" in errors
    assert segmentation.is_file()


def full_disk(make, tmp_path, monkeypatch, bucket):
    command = prepare(make, tmp_path / "x", monkeypatch, bucket)
    before = content(command)
    code, errors = run(command.arguments, most_bytes=command.most_bytes)
    assert code == 1, errors
    assert "File too large" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert cli.FAULT not in errors
    now = content(command)
    assert hidden(tmp_path / "x") == []
    code, errors = run(command.arguments)
    assert code == 0, errors
    assert now == before or (command.one_by_one and now.items() <= content(command).items())


@pytest.mark.parametrize("make", [*QUICK, compare, curves, plan, segment], ids=lambda make: make.__name__)
def test_full_disk(tmp_path, monkeypatch, bucket, make):
    full_disk(make, tmp_path, monkeypatch, bucket)


@pytest.mark.slow
@pytest.mark.parametrize("make", [export_onnx, benchmark], ids=lambda make: make.__name__)
def test_full_disk_in_the_end(tmp_path, monkeypatch, bucket, make):
    full_disk(make, tmp_path, monkeypatch, bucket)
