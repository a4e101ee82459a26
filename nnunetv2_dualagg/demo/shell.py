"""Run nnU-Net's commands one after the other, show them, and skip those whose work is done."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER, VARIABLE


class Shell:
    """Commands of a small job, with nnU-Net's folders and the commands' logs below ``output``."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.steps = 0
        # With small images, more worker processes would take longer to start than to work.
        self.environment = os.environ | {"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1", "PYTHONUNBUFFERED": "1"}
        self.environment[VARIABLE] = str(EXT_TRAINER_FOLDER)
        print(f'export {VARIABLE}="$(nnUNetv2_dualagg path)"')

    def set_nnunet_folders(self) -> list[Path]:
        """Make nnUNet_raw, nnUNet_preprocessed and nnUNet_results and set the variables of these names."""
        folders = [self.output / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            self.environment[folder.name] = str(folder)
            print(f"export {folder.name}={shlex.quote(str(folder))}")
        return folders

    def run(self, title: str, command: Sequence[object], done: bool) -> None:
        """Run a command unless its work is ``done``; show it, the time it takes and its last line of output.

        Raises:
            UserError: the command failed.
        """
        self.steps += 1
        words = [str(word) for word in command]
        print(f"\n{self.steps}. {title}{' (done already)' if done else ''}\n$ {shlex.join(words)}", flush=True)
        if done:
            return
        log = self.output / "logs" / f"{self.steps}-{words[0]}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("w") as stream:
            process = subprocess.Popen(
                [_executable(words[0]), *words[1:]], stdout=stream, stderr=subprocess.STDOUT, env=self.environment
            )
            try:
                code = _wait(process, log)
            finally:
                process.terminate()  # without effect if it has ended
                process.wait()
        if code:
            raise UserError(f"{words[0]} failed with exit code {code}: {_last_line(log)} (all of its output: {log})")


def _executable(name: str) -> str:
    """The console script of this very environment, which need not be activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        raise UserError(f"the command {name} is not installed beside {sys.executable}")
    return found


def _wait(process: subprocess.Popen, log: Path) -> int:
    with tqdm(bar_format="  {elapsed}{postfix}", dynamic_ncols=True) as bar:
        while True:
            try:
                return process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                bar.set_postfix_str(_last_line(log)[:100])


def _last_line(log: Path) -> str:
    text = log.read_text(errors="replace").replace("\r", "\n").strip()
    return text.splitlines()[-1].strip() if text else ""
