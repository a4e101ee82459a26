"""Tissue outside the brain and holes inside it, in percent of the brain's volume.

python scripts/outside_and_holes.py -ref nnUNet_raw/Dataset219_iSeg2019/labelsTs \
    -pred default=predictions/seed_0/default default=predictions/seed_1/default dualagg=predictions/seed_0/dualagg

Prints mean and worst over the cases of all folders of a method.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from nnunetv2_dualagg.cli import exit_code
from nnunetv2_dualagg.commands.compare import parse_folders
from nnunetv2_dualagg.inference.images import read_image, same_grid
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.tables import as_markdown


def main() -> int:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-ref", type=Path, required=True, metavar="DIR", help="references")
    parser.add_argument("-pred", nargs="+", required=True, metavar="NAME=DIR", help="predictions with the same names")
    args = parser.parse_args()
    return exit_code(lambda: show(args))


def show(args: argparse.Namespace) -> None:
    """Print the table."""
    references = sorted(args.ref.glob("*.nii.gz"))
    if not references:
        raise UserError(f"{args.ref} has no *.nii.gz; expected the references")
    rows = [
        {"method": name, **measure(file, folder / file.name)}
        for name, folders in parse_folders(args.pred, "-pred").items()
        for folder in folders
        for file in references
    ]
    found = pd.DataFrame(rows).groupby("method", sort=False).agg(["mean", "max"]).round(3)
    found.columns = [f"{what}: {'mean' if how == 'mean' else 'worst'}" for what, how in found.columns]
    print(as_markdown(found.reset_index()))


def measure(reference: Path, prediction: Path) -> dict[str, float]:
    """Both, of one case."""
    expected, found = read_image(reference), read_image(prediction)
    if not same_grid(expected, found):
        raise UserError(f"{prediction} has another grid than {reference}; expected the same")
    brain, tissue = expected.data > 0, found.data > 0
    volume = max(int(brain.sum()), 1)
    return {
        "outside": 100 * int(np.sum(tissue & ~brain)) / volume,
        "holes": 100 * int(np.sum(brain & ~tissue)) / volume,
    }


if __name__ == "__main__":
    sys.exit(main())
