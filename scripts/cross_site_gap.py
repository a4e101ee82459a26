"""How much of the loss on other scanners a method wins back, from a folder that `nnUNetv2_dualagg compare` wrote.

python scripts/cross_site_gap.py COMPARISON -baseline default -oracles BCP=oracle_bcp Stanford=oracle_stanford

At each site the gap is the Dice of the oracle, which was trained at that site, less the Dice of the baseline, which was
not. A method closes (its Dice - the baseline's) / gap of it. Dice is the mean over the tissues, cases of the site and
runs. `examples/cross_site_phantom.yaml` makes such a comparison.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nnunetv2_dualagg.cli import exit_code
from nnunetv2_dualagg.evaluation.compare import SCORES
from nnunetv2_dualagg.utils.errors import UserError, explained
from nnunetv2_dualagg.utils.tables import as_markdown


def main() -> int:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path, help="folder that compare wrote")
    parser.add_argument("-baseline", required=True, metavar="METHOD", help="trained at another site")
    parser.add_argument("-oracles", required=True, nargs="+", metavar="SITE=METHOD", help="trained at the site itself")
    args = parser.parse_args()
    return exit_code(lambda: show(args))


def show(args: argparse.Namespace) -> None:
    """Print the table."""
    if not all("=" in oracle for oracle in args.oracles):
        raise UserError(f"-oracles is {' '.join(args.oracles)}; expected SITE=METHOD ...")
    oracles = dict(oracle.split("=", 1) for oracle in args.oracles)
    print(as_markdown(gap_table(read_scores(args.comparison / SCORES), args.baseline, oracles)))


def read_scores(file: Path) -> pd.DataFrame:
    """Read ``metrics.csv``.

    Raises:
        UserError: there is no such file, or it is another one.
    """
    if not file.is_file():
        raise UserError(f"{file} does not exist; expected a folder that nnUNetv2_dualagg compare wrote")
    with explained(f"{file} is no table"):
        scores = pd.read_csv(file)
    if missing := {"method", "site", "dice"} - set(scores.columns):
        raise UserError(f"{file} has no column {min(missing)}; expected the file that nnUNetv2_dualagg compare wrote")
    return scores


def gap_table(scores: pd.DataFrame, baseline: str, oracles: Mapping[str, str]) -> pd.DataFrame:
    """Dice of the baseline, the oracles and all other methods at each site, and the share of the gap that is closed.

    Args:
        scores: ``metrics.csv`` of a comparison.
        baseline: a method that was trained at another site.
        oracles: site -> the method that was trained there.

    Returns:
        A row per method: its Dice at each site and on average, and the share of the average gap that it closes.

    Raises:
        UserError: a method or a site is not in the comparison, or there is no gap.
    """
    dice = scores.groupby(["method", "site"], sort=False)["dice"].mean().unstack("site")
    for kind, name, known in (
        *(("method", method, dice.index) for method in (baseline, *oracles.values())),
        *(("site", site, dice.columns) for site in oracles),
    ):
        if name not in known:
            raise UserError(f"the comparison has no {kind} {name}; expected one of {', '.join(map(str, known))}")
    sites = list(oracles)
    best = pd.Series({site: dice.loc[method, site] for site, method in oracles.items()})
    others = [method for method in dice.index if method not in oracles.values()]
    table = pd.concat([dice.loc[others, sites], best.to_frame("oracle of each site").T])
    table["mean"] = table[sites].mean(axis=1)
    gap = table.loc["oracle of each site", "mean"] - table.loc[baseline, "mean"]
    if gap <= 0:
        raise UserError(f"the oracles are not ahead of {baseline}: {gap:+.4f}; there is no gap to close")
    closed = (table["mean"] - table.loc[baseline, "mean"]) / gap
    text = table.map("{:.3f}".format)
    text["gap closed"] = closed.map("{:.0%}".format)
    return text.rename_axis("method").reset_index()


if __name__ == "__main__":
    sys.exit(main())
