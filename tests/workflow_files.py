"""Small workflows on disk, and running them as a user does."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml
from planning_data import write_dataset
from short_trainer import SHORT, write_short_trainer

from nnunetv2_dualagg.workflow.run import write_workflow

TINY = {"patch_size": [16, 16, 16], "batch_size": 2, "features_per_stage": [4, 8, 8]}


def small_config(**changes):
    """Two methods that differ in their plans but not in their data, two seeds."""
    return {
        "dataset": {"id": 219, "phantom": {"num_training": 5, "num_testing": 1, "spacing": 6}},
        "methods": {
            "plain": {"trainer": SHORT, "plans": "nnUNetPlans", "configuration": "3d_tiny"},
            "resenc": {"trainer": SHORT, "plans": "nnUNetResEncUNetMPlans", "configuration": "3d_tiny"},
        },
        "reduced_configurations": {"3d_tiny": TINY},
        "folds": [0],
        "seeds": [0, 1],
        "device": "cpu",
        "step_size": 1,
        "test_time_augmentation": False,
        "threads": {"prepare": 1, "train": 1, "predict": 1, "compare": 1},
        **changes,
    }


def write_raw_dataset(folder: Path) -> Path:
    """A raw dataset whose first case is a test case too, with its reference."""
    raw = folder / write_dataset(folder, cases=5)
    for kind in ("images", "labels"):
        (raw / f"{kind}Ts").mkdir()
        for file in (raw / f"{kind}Tr").glob("iSeg_001*"):
            shutil.copy(file, raw / f"{kind}Ts" / file.name.replace("iSeg_001", "iSeg_901"))
    return raw


def write_small_workflow(folder: Path, config: dict) -> dict[str, str]:
    """The workflow's files with this configuration; returns the environment in which to run it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    write_workflow(folder)
    trainers = folder.parent / "trainers"
    extra = str(trainers) if trainers.exists() else write_short_trainer(trainers).split(os.pathsep)[1]
    from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER

    return os.environ | {
        "nnUNet_extTrainer": os.pathsep.join([str(EXT_TRAINER_FOLDER), extra]),
        "OMP_NUM_THREADS": "1",
    }


class Run:
    """``nnUNetv2_dualagg workflow --run`` in a process group of its own, which Ctrl-C reaches as a whole."""

    def __init__(self, folder: Path, environment: dict[str, str], *options: str) -> None:
        command = [sys.executable, "-m", "nnunetv2_dualagg.cli", "workflow", "-o", str(folder), "--run", *options]
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell ignores it in the background
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self.reader.start()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:  # the test has failed
            self.signal(signal.SIGKILL)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def finished(self) -> int:
        """How many jobs this run has finished so far."""
        return sum(line.startswith("Finished jobid") for line in list(self.lines))

    def wait(self, timeout: float = 900) -> int:
        """The exit code."""
        code = self.process.wait(timeout)
        self.reader.join(10)
        return code

    def wait_for(self, condition, timeout: float = 600) -> None:
        """Wait until something has happened, while the workflow runs."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)

    def signal(self, number: int) -> None:
        """Send a signal to the whole group, as Ctrl-C does."""
        os.killpg(self.process.pid, number)

    def interrupt(self, number: int) -> None:
        """Send a signal and wait until the whole group has ended."""
        self.signal(number)
        deadline = time.monotonic() + 300
        while self._alive():
            assert time.monotonic() < deadline, self.output
            time.sleep(0.5)

    def _alive(self) -> bool:
        stats = [_read(file).rpartition(")")[2].split() for file in Path("/proc").glob("[0-9]*/stat")]
        return any(stat[2] == str(self.process.pid) and stat[0] != "Z" for stat in stats if stat)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return ""
