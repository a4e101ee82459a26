import errno
import fcntl
import os
import subprocess
import sys
import time

import pytest
import torch

from nnunetv2_dualagg.training.resuming import check_checkpoints, only_training_of
from nnunetv2_dualagg.utils.errors import UserError

HOLDER = """
import os, sys, time
from pathlib import Path
from nnunetv2_dualagg.training.resuming import only_training_of
with only_training_of(Path(sys.argv[1])):
    if os.fork() == 0:  # a worker that outlives its parent
        time.sleep(60)
        os._exit(0)
    print("locked", flush=True)
    time.sleep(60)
"""


def save(file, epoch):
    torch.save({"current_epoch": epoch, "network_weights": {"w": torch.zeros(1000)}}, file)


def test_without_checkpoints_a_training_starts_at_0(tmp_path):
    assert check_checkpoints(tmp_path / "fold_0") == 0


def test_the_checkpoint_that_nnunet_would_take_counts(tmp_path):
    save(tmp_path / "checkpoint_best.pth", 87)
    assert check_checkpoints(tmp_path) == 87
    save(tmp_path / "checkpoint_latest.pth", 50)
    assert check_checkpoints(tmp_path) == 50
    save(tmp_path / "checkpoint_final.pth", 100)
    assert check_checkpoints(tmp_path) == 100


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.999])
def test_whatever_part_was_written_is_set_aside(tmp_path, part):
    file = tmp_path / "checkpoint_latest.pth"
    save(tmp_path / "checkpoint_best.pth", 7)
    save(file, 50)
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    assert check_checkpoints(tmp_path) == 7
    assert sorted(f.name for f in tmp_path.iterdir()) == ["checkpoint_best.pth", "checkpoint_latest.pth.damaged"]


def test_blocks_that_a_crashed_computer_did_not_write_are_noticed(tmp_path):
    file = tmp_path / "checkpoint_latest.pth"
    save(file, 50)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 512] = b"\xff" * 512
    file.write_bytes(content)
    assert check_checkpoints(tmp_path) == 0
    assert not file.exists()


def test_a_fold_is_trained_by_one_process_until_that_is_dead(tmp_path):
    fold = tmp_path / "fold_0"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(fold)], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(UserError, match=f"another process is training {fold}"), only_training_of(fold):
            pass
        holder.kill()
        holder.wait()
        with only_training_of(fold):  # although the worker is still there
            pass
    finally:
        os.killpg(holder.pid, 9)
        time.sleep(0.1)


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, capsys):
    def lockf(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with only_training_of(tmp_path):
        pass
    assert "cannot be locked on this file system (Function not implemented)" in capsys.readouterr().out
