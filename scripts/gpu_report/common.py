"""What the parts of the GPU report share: their options, and writing what they found."""

import argparse
import json
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.files import new_file


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every part has: the file to write, and the device."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("-o", type=Path, required=True, metavar="FILE.json", help="file to write")
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    return made


def write(file: Path, found: dict[str, Any]) -> None:
    """Write a part's file; it is there as a whole or not at all."""
    with new_file(file, overwrite=True) as part:
        part.write_text(json.dumps(found, indent=1) + "\n")
