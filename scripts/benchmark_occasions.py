"""How stable the ratios of `nnUNetv2_dualagg benchmark` are: several of its files, measured on different occasions.

python scripts/benchmark_occasions.py docs/results/benchmark_cpu_occasions/*.json
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from nnunetv2_dualagg.benchmark.setting import BASELINE
from nnunetv2_dualagg.cli import exit_code
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.tables import as_markdown

QUANTITIES = {"step_seconds": "training step", "volume_seconds": "inference of a volume", "peak_bytes": "peak memory"}


def main() -> int:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.json", help="written by benchmark")
    args = parser.parse_args()
    return exit_code(lambda: print(as_markdown(occasions_table([read(file) for file in args.files]))))


def read(file: Path) -> dict[str, Any]:
    """A file of the benchmark.

    Raises:
        UserError: it is another one.
    """
    found = read_json(file)
    if not isinstance(found, dict) or "ratios" not in found:
        raise UserError(f"{file} has no ratios; expected a file that nnUNetv2_dualagg benchmark wrote")
    return found


def occasions_table(results: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each network and quantity: the median of the occasions' ratios to PlainConvUNet, and all of them."""
    names = [name for name in results[0]["ratios"] if name != BASELINE and all(name in r["ratios"] for r in results)]
    rows = []
    for name in names:
        for key, title in QUANTITIES.items():
            found = [result["ratios"][name][key] for result in results]
            each = ", ".join(f"{ratio:.2f}" for ratio in found)
            rows.append({"network": name, "": title, "median": f"{median(found):.2f}x", "occasions": each})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    sys.exit(main())
