"""Nothing silently wrong, nothing lost: damaged files, folders that are not ours, two commands at once, killed ones."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest
from evaluation_data import LABELS, layers, write_dataset_json, write_image
from iseg_files import files_in, header_bytes, set_nnunet_folders, write_iseg
from trained_model import plans, write_model

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import MARK, locked, new_directory, new_file

THESIS = "years of work"


def run(capsys, *arguments):
    """The exit code and what stands on stderr; never a traceback."""
    code = cli.main([str(argument) for argument in arguments])
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    return code, errors


@pytest.fixture
def raw(tmp_path, monkeypatch):
    return set_nnunet_folders(tmp_path, monkeypatch)


@pytest.fixture
def comparison(tmp_path):
    """Arguments of ``compare`` for a perfect prediction of two cases."""
    write_dataset_json(tmp_path, LABELS)
    for case in ("iSeg_001", "iSeg_002"):
        for folder in ("labels", "perfect"):
            write_image(tmp_path / folder / f"{case}.nii.gz", layers(0, (20, 22, 24)))
    return ["compare", "-ref", tmp_path / "labels", "-pred", f"a={tmp_path / 'perfect'}", "-o", tmp_path / "out"]


# 1. One reader that checks byte counts and checksums, with a bound on memory


def _cut(data):
    return data[:-200]


def _cut_in_the_checksum(data):
    return data[:-5]


def _flip_the_checksum(data):
    return data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]


def _fewer_voxels(data):
    return gzip.compress(gzip.decompress(data)[:-500])


def _more_voxels(data):
    return gzip.compress(gzip.decompress(data) + bytes(7))


@pytest.mark.parametrize("folder", ["labels", "perfect"])
@pytest.mark.parametrize("damage", [_cut, _cut_in_the_checksum, _flip_the_checksum, _fewer_voxels, _more_voxels])
def test_compare_refuses_damaged_labels(comparison, tmp_path, capsys, folder, damage):
    file = tmp_path / folder / "iSeg_002.nii.gz"
    file.write_bytes(damage(file.read_bytes()))
    code, errors = run(capsys, *comparison)
    assert code == 1
    assert str(file) in errors
    assert not (tmp_path / "out").exists()


def test_compare_refuses_a_truncated_file_without_compression(comparison, tmp_path, capsys):
    write_dataset_json(tmp_path, LABELS, file_ending=".nii")
    for folder in ("labels", "perfect"):
        write_image(tmp_path / folder / "iSeg_001.nii", layers(0, (20, 22, 24)))
    file = tmp_path / "perfect" / "iSeg_001.nii"
    file.write_bytes(file.read_bytes()[:-3000])
    code, errors = run(capsys, *comparison)
    assert code == 1
    assert str(file) in errors


def test_a_bomb_takes_no_memory(tmp_path, raw, capsys):
    """Some kilobytes that decompress to a gigabyte, behind a header that tells of a small image."""
    (folder,), _ = write_iseg(tmp_path / "in", numbers=(1,), ending=".nii.gz")
    file = folder / "subject-1-T1.nii.gz"
    with gzip.open(file) as stream:
        header = stream.read(352)
    zeros = bytes(2**20)
    with gzip.open(file, "wb", 9) as stream:
        stream.write(header)
        for _ in range(1000):
            stream.write(zeros)
    tracemalloc.start()
    code, errors = run(capsys, "convert_iseg", "-i", folder, "-d", 219, "-np", 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == 1
    assert f"{file} holds more than" in errors
    assert peak < 100 * 2**20


@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (4000, 4000, 4000)])
def test_a_header_that_tells_of_too_much_takes_no_memory(tmp_path, raw, capsys, shape):
    (folder,), _ = write_iseg(tmp_path / "in", numbers=(1,))
    (folder / "subject-1-T1.hdr").write_bytes(header_bytes(shape, 4, 16))
    code, errors = run(capsys, "convert_iseg", "-i", folder, "-d", 219, "-np", 1)
    assert code == 1
    assert "subject-1-T1" in errors


# 2. A flipped bit in the weights


def test_export_onnx_refuses_a_flipped_bit(tmp_path, capsys):
    write_model(tmp_path / "model", plans((8, 8, 8), features=(8, 16)))
    file = tmp_path / "model" / "fold_0" / "checkpoint_final.pth"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    code, errors = run(capsys, "export_onnx", "-m", tmp_path / "model", "-f", 0, "-o", tmp_path / "model.onnx")
    assert code == 1
    assert f"{file} is damaged" in errors
    assert not (tmp_path / "model.onnx").exists()


# 3. Folders that are not ours


def _phantom(output, *more):
    return ["phantom", "-o", output, "--num_training", 1, "--num_testing", 0, "--spacing", 12, "-np", 1, *more]


def _holds_the_thesis(folder):
    return (folder / "thesis.txt").read_text() == THESIS


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text(THESIS)
    return tmp_path / "home"


def test_phantom_does_not_overwrite_a_foreign_folder(home, capsys):
    code, errors = run(capsys, *_phantom(home, "--overwrite"))
    assert (code, _holds_the_thesis(home)) == (1, True)
    assert f"{home} was not made by nnUNetv2_dualagg phantom" in errors


def test_phantom_does_not_overwrite_what_was_added_to_its_folder(tmp_path, capsys):
    output = tmp_path / "phantom"
    assert run(capsys, *_phantom(output))[0] == 0
    (output / "iSeg-2019-Testing" / "thesis.txt").write_text(THESIS)
    code, errors = run(capsys, *_phantom(output, "--overwrite"))
    assert (code, _holds_the_thesis(output / "iSeg-2019-Testing")) == (1, True)
    assert "thesis.txt" in errors
    (output / "iSeg-2019-Testing" / "thesis.txt").unlink()
    (output / ".DS_Store").touch()  # of the desktop
    assert run(capsys, *_phantom(output, "--overwrite"))[0] == 0


def test_phantom_does_not_overwrite_its_own_input(tmp_path, capsys):
    (tmp_path / "maps").mkdir()
    image = layers(0, (12, 12, 12))
    write_image(tmp_path / "maps" / "brain.nii.gz", image, spacing=(12, 12, 12))
    before = (tmp_path / "maps" / "brain.nii.gz").read_bytes()
    for output in (tmp_path / "maps", tmp_path):
        code, errors = run(capsys, *_phantom(output, "--overwrite", "-maps", tmp_path / "maps"))
        assert code == 1
        assert "which is an input" in errors
    assert (tmp_path / "maps" / "brain.nii.gz").read_bytes() == before


def test_convert_iseg_does_not_overwrite_a_foreign_dataset(tmp_path, raw, capsys):
    folders, _ = write_iseg(tmp_path / "in", numbers=(24,))
    (raw / "Dataset219_iSeg2019").mkdir(parents=True)
    (raw / "Dataset219_iSeg2019" / "thesis.txt").write_text(THESIS)
    code, _ = run(capsys, "convert_iseg", "-i", *folders, "-d", 219, "-np", 1, "--overwrite")
    assert (code, _holds_the_thesis(raw / "Dataset219_iSeg2019")) == (1, True)


@pytest.mark.parametrize("command", ["compare", "curves"])
def test_a_file_of_the_same_name_does_not_make_a_folder_ours(comparison, home, capsys, command):
    (home / "metrics.csv").touch()
    (home / "curves.csv").touch()
    arguments = comparison[:-1] if command == "compare" else ["curves", "-i", f"a={home}", "-o"]
    code, _ = run(capsys, *arguments, home, "--overwrite")
    assert (code, _holds_the_thesis(home)) == (1, True)


def test_our_own_folder_is_overwritten(comparison, tmp_path, capsys):
    for more in ([], ["--overwrite"]):
        code, errors = run(capsys, *comparison, *more)
        assert code == 0, errors
    assert run(capsys, *comparison)[0] == 1


def test_a_link_to_a_folder_is_not_overwritten(tmp_path, home):
    (tmp_path / "link").symlink_to(home)
    with pytest.raises(UserError, match="is not a folder"), new_directory(tmp_path / "link", "phantom", overwrite=True):
        pass
    assert _holds_the_thesis(home)


# 4. What appears while the command runs


def test_a_folder_that_appears_meanwhile_is_left_alone(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(UserError, match="has appeared meanwhile"), new_directory(target, "phantom") as folder:  # noqa: PT012
        (folder / "ours").touch()
        target.mkdir()
        (target / "thesis.txt").write_text(THESIS)
    assert _holds_the_thesis(target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("link", ["as it is", "no links"])
def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path, monkeypatch, link):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    if link == "no links":  # as FAT does
        monkeypatch.setattr(os, "link", refuse)
    with new_file(tmp_path / "first") as part:
        part.write_text("ours")
    assert (tmp_path / "first").read_text() == "ours"
    with pytest.raises((UserError, FileExistsError)), new_file(tmp_path / "out") as part:  # noqa: PT012
        part.write_text("ours")
        (tmp_path / "out").write_text(THESIS)
    assert (tmp_path / "out").read_text() == THESIS


def test_a_foreign_folder_in_place_of_ours_is_left_alone(tmp_path):
    target = tmp_path / "out"
    with new_directory(target, "phantom") as folder:
        (folder / "ours").touch()
    with pytest.raises(UserError, match="did not write"), new_directory(target, "phantom", overwrite=True):
        (target / "thesis.txt").write_text(THESIS)
    assert _holds_the_thesis(target)


# 5. Two commands on one dataset

ADD = """
import sys, time
from nnunetv2_dualagg import cli
sys.exit(cli.main(["convert_iseg", "-d", "219", "-np", "1", "--add", "-i", sys.argv[1]]))
"""


def test_two_conversions_that_add_lose_nobody(tmp_path, raw, capsys):
    """Both start from the same dataset; the first is held up until the second is there too."""
    first, _ = write_iseg(tmp_path / "a", numbers=(24,))
    assert run(capsys, "convert_iseg", "-d", 219, "-np", 1, "-i", *first)[0] == 0
    dataset = raw / "Dataset219_iSeg2019"
    others = [write_iseg(tmp_path / str(n), numbers=(n,))[0][0] for n in (25, 26, 27)]
    with locked(raw / "Dataset219"):
        processes = [subprocess.Popen([sys.executable, "-c", ADD, str(folder)]) for folder in others]
        time.sleep(1)
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert set(json.loads((dataset / "sites.json").read_text())) == {f"iSeg_{n:03d}" for n in (24, 25, 26, 27)}
    assert len(files_in(dataset / "imagesTs")) == 8
    assert sorted(path.name for path in raw.iterdir()) == [dataset.name]


def test_a_lock_excludes_and_leaves_nothing(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with locked(tmp_path / "dataset"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 80
    assert list(tmp_path.iterdir()) == []


# 6. What killed commands leave

KILLED = """
import os, signal, sys
from nnunetv2_dualagg.utils.files import new_directory
with new_directory(sys.argv[1], "phantom", overwrite=True) as folder:
    (folder / "sub").mkdir()
    (folder / "sub" / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_command_removes_what_a_killed_one_left(tmp_path):
    target = tmp_path / "out"
    assert subprocess.run([sys.executable, "-c", KILLED, target], check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with new_directory(target, "phantom") as folder:
        (folder / "whole").touch()
        with new_file(tmp_path / "other") as part:  # a living workplace is left alone
            part.touch()
            assert folder.is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out"]


def test_a_folder_whose_replacement_was_killed_halfway_comes_back(tmp_path):
    """Killed between the two renames: the old one is in the workplace, the new one not in its place."""
    target = tmp_path / "out"
    with new_directory(target, "phantom") as folder:
        (folder / "old").touch()
    code = """
import os, signal, sys
from nnunetv2_dualagg.utils import files
files._rename_directory = lambda part, target: os.kill(os.getpid(), signal.SIGKILL)
with files.new_directory(sys.argv[1], "phantom", overwrite=True) as folder:
    pass
"""
    subprocess.run([sys.executable, "-c", code, target], check=False)
    assert not target.exists()
    with new_file(tmp_path / "other") as part:
        part.touch()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out"]
    assert sorted(p.name for p in target.iterdir()) == [MARK, "old"]
