"""``scripts/gpu_report.sh``: which parts run, what becomes of failures, and what the summary says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_report.sh"
RATIOS = {"PlainConvUNet": 1.0, "ResidualEncoderUNet": 1.5, "DualAggUNet": 1.3}
STEP = {
    "ratios": {name: {"step_seconds": ratio} for name, ratio in RATIOS.items()},
    "ratio_ranges": {name: {"step_seconds": [ratio - 0.1, ratio + 0.1]} for name, ratio in RATIOS.items()},
}


MACHINE = {
    "date": "2026-11-25",
    "device": "cuda",
    "machine": {"cuda_device": "NVIDIA H200", "cuda": "13.0", "cudnn": 91000},
    "versions": {"torch": "2.14.1"},
}


def report(*words, **environment):
    line = ["bash", str(SCRIPT), *map(str, words)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the script types our commands
    return subprocess.run(line, capture_output=True, text=True, env={**os.environ, "PATH": path, **environment})


def test_a_part_is_skipped_or_fails_without_stopping_the_others(tmp_path):
    (tmp_path / "machine.json").write_text(json.dumps(MACHINE))
    (tmp_path / "step_3d_fullres.json").write_text(json.dumps(STEP))
    ended = report(tmp_path, "cpu", "volume_3d_paper", "step_3d_fullres", "machine")
    assert ended.returncode == 1
    assert "step_3d_fullres: there already" in ended.stdout
    found = json.loads((tmp_path / "report.json").read_text())
    assert {name: part["state"] for name, part in found["parts"].items()} == {
        "machine": "done",
        "step_3d_fullres": "done",
        "volume_3d_paper": "failed (1)",  # there is no model
    }
    assert "NVIDIA H200, PyTorch 2.14.1, CUDA 13.0, cuDNN 91000, 2026-11-25" in ended.stdout
    assert found["machine"] == MACHINE["machine"]
    assert "ResidualEncoderUNet 1.50x (1.40-1.60), DualAggUNet 1.30x (1.20-1.40)" in ended.stdout
    assert [goal["reached"] for goal in found["goals"]] == ["no", "yes"]  # above 1.2, below ResEnc's
    assert "Not done: volume_3d_paper" in ended.stdout


def test_no_part_begins_when_the_time_is_over(tmp_path):
    ended = report(tmp_path, "cpu", "machine", "kernels", GPU_REPORT_SECONDS="0")
    assert ended.returncode == 1
    found = json.loads((tmp_path / "report.json").read_text())
    assert {name: part["state"] for name, part in found["parts"].items()} == {
        "machine": "not run",
        "kernels": "not run",
    }


def test_a_folder_belongs_to_one_device(tmp_path):
    assert report(tmp_path, "tpu").returncode == 1
    (tmp_path / "device").write_text("cuda\n")
    ended = report(tmp_path, "cpu", "machine")
    assert ended.returncode == 1
    assert "is of the device cuda" in ended.stderr
    assert not (tmp_path / "machine.json").exists()


def test_all_tests_for_cuda_are_chosen(tmp_path):
    """Without a GPU they are skipped, which does not count as a success."""
    collect = ["-m", "pytest", "--collect-only", "-q", "--slow", "-m", "gpu", "-p", "no:cacheprovider"]
    line = [sys.executable, *collect]
    listed = subprocess.run(line, capture_output=True, text=True, cwd=SCRIPT.parents[1], check=True).stdout
    assert report(tmp_path, "cuda", "tests", CUDA_VISIBLE_DEVICES="").returncode == 1
    found = json.loads((tmp_path / "tests.failed.json").read_text())["tests"]
    assert {test["outcome"] for test in found} == {"skipped"}
    assert sorted(test["name"] for test in found) == sorted(
        line.partition("::")[2] for line in listed.splitlines() if "::" in line
    )


@pytest.mark.slow
def test_all_parts_run_on_a_cpu(tmp_path):
    ended = report(tmp_path, "cpu")
    assert ended.returncode == 0, ended.stdout
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["machine"]["cpu_count"] == os.cpu_count()
    assert {part["state"] for part in found["parts"].values()} == {"done"}
    assert found["parts"]["volume_3d_fullres"]["result"]["windows"]["same_labels"] > 0.99
