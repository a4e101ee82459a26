"""How long `segment` takes until it predicts, for the windows, and in all.

python scripts/start_up.py -i sub-01_T1w.nii.gz sub-01_T2w.nii.gz

Runs the command several times, each in a process of its own, and prints the seconds until its progress bar of the
windows appears, until that is full, and until the command ends; and those of `nnUNetv2_dualagg segment --help`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from nnunetv2_dualagg.cli import exit_code
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.options import whole
from nnunetv2_dualagg.utils.tables import as_markdown

COMMAND = [sys.executable, "-m", "nnunetv2_dualagg.cli", "segment"]
BAR = b"window/s"


def main() -> int:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", nargs="+", type=Path, required=True, metavar="FILE", help="T1 and T2 of one infant")
    parser.add_argument("-m", type=Path, metavar="MODEL", help="default: the one in the package")
    parser.add_argument("-device", default="cpu", help="default: cpu")
    parser.add_argument("-repeats", type=whole(1), default=5, metavar="N", help="default: 5")
    args = parser.parse_args()
    return exit_code(lambda: show(args))


def show(args: argparse.Namespace) -> None:
    """Print the table."""
    rows = []
    for _ in range(args.repeats):
        helped = seconds_of_help()
        first, last, end = seconds_of_segment(args.i, args.m, args.device)
        rows.append({"--help": helped, "first window": first, "last window": last, "end": end})
    table = pd.DataFrame(rows)
    seconds = {
        name: f"{column.median():.2f} ({column.min():.2f} to {column.max():.2f})" for name, column in table.items()
    }
    print(as_markdown(pd.DataFrame([{"median (range) in s of": f"{args.repeats} runs", **seconds}])))


def seconds_of_help() -> float:
    """Until the help is printed."""
    start = time.perf_counter()
    subprocess.run([*COMMAND, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def seconds_of_segment(images: list[Path], model: Path | None, device: str) -> tuple[float, float, float]:
    """Until the first window, the last one (to a tenth of a second), and the end."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["-o", Path(folder) / "out", "-device", device, *(["-m", model] if model else [])]
        start = time.perf_counter()
        with subprocess.Popen(
            [*COMMAND, "-i", *images, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as running:
            assert running.stderr is not None
            said, shown = b"", []
            while part := os.read(running.stderr.fileno(), 4096):
                said += part
                if BAR in part:
                    shown.append(time.perf_counter() - start)
        end = time.perf_counter() - start
    if running.returncode or not shown:
        raise UserError(f"segment failed: {said.decode(errors='replace').strip()[-500:]}")
    return shown[0], shown[-1], end


if __name__ == "__main__":
    sys.exit(main())
