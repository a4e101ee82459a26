import subprocess
import sys
import time

import pytest

from nnunetv2_dualagg.workflow.gpus import free_gpus, visible_gpus

SHOW = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep({seconds})"


def start(folder, number, visible, seconds=0.0):
    command = [sys.executable, "-m", "nnunetv2_dualagg.workflow.gpus", str(number)]
    command += [sys.executable, "-c", SHOW.format(seconds=seconds)]
    environment = {"CUDA_VISIBLE_DEVICES": visible}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def test_jobs_at_the_same_time_get_different_gpus_and_the_next_one_waits(tmp_path):
    jobs = [start(tmp_path, number, "0,2,3", seconds=5) for number in (1, 2)]
    lines = [job.stdout.readline().strip() for job in jobs]
    gpus = [gpu for line in lines for gpu in line.removeprefix("CUDA_VISIBLE_DEVICES=").split(",")]
    assert sorted(gpus) == ["0", "2", "3"]
    started = time.monotonic()
    third = start(tmp_path, 1, "0,2,3")
    assert third.wait(60) == 0
    assert time.monotonic() - started > 1
    assert third.stdout.read().split()[-1] in gpus
    assert [job.wait(60) for job in jobs] == [0, 0]


def test_a_gpu_is_free_again_when_its_job_was_killed(tmp_path):
    killed = start(tmp_path, 1, "0,1", seconds=60)
    assert killed.stdout.readline() == "CUDA_VISIBLE_DEVICES=0\n"
    killed.kill()
    killed.wait()
    with free_gpus(2, ["0", "1"], tmp_path / "done" / "gpus") as mine:
        assert mine == ["0", "1"]


@pytest.mark.parametrize("visible", ["5", "GPU-1a"])
def test_with_no_more_gpus_than_it_may_have_a_job_just_runs(tmp_path, visible):
    assert start(tmp_path, 1, visible).communicate()[0] == f"{visible}\n"
    assert not (tmp_path / "done").exists()


def test_the_exit_code_is_that_of_the_command(tmp_path):
    command = [sys.executable, "-m", "nnunetv2_dualagg.workflow.gpus", "1", sys.executable, "-c", "raise SystemExit(7)"]
    for visible in ("0", "0,1"):
        assert subprocess.run(command, cwd=tmp_path, env={"CUDA_VISIBLE_DEVICES": visible}, check=False).returncode == 7


def test_visible_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert visible_gpus() == ["2", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
