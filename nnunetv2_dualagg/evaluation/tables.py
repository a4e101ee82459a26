"""Tables of mean and standard deviation, as CSV, Markdown and LaTeX."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

ALL_SITES = "all sites"
MEAN = "mean"  # the column of the mean over tissues


def per_case(scores: pd.DataFrame) -> pd.DataFrame:
    """Average the runs (folds or seeds) of each method.

    Args:
        scores: a row per case, method, run and tissue, as from :func:`measure.scores_table`.

    Returns:
        A row per case, method and tissue. A measure that is NaN in one run is NaN in the average, so that an empty
        class cannot improve it.
    """
    groups = scores.drop(columns="run").groupby(["case", "site", "method", "tissue"], sort=False)
    return groups.agg(lambda values: values.mean(skipna=False)).reset_index()


def with_tissue_mean(cases: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Append the mean over the tissues of each case as a further tissue."""
    keys = ["case", "site", "method"]
    means = cases.groupby(keys, sort=False)[list(measures)].agg(lambda values: values.mean(skipna=False)).reset_index()
    return pd.concat([cases, means.assign(tissue=MEAN)], ignore_index=True)


def site_table(cases: pd.DataFrame, measure: str, digits: int = 3) -> pd.DataFrame:
    """A measure's mean and SD (ddof 1) over cases: rows site and method, columns tissues and their mean.

    Args:
        cases: a row per case, method and tissue.
        measure: the column to summarise.
        digits: decimals.

    Returns:
        Text such as ``0.834 ± 0.012``; without SD for a single case; ``n/a`` where no case has a value.
    """
    cases = with_tissue_mean(cases, [measure])
    sites = list(cases["site"].unique())
    parts = [cases] if len(sites) == 1 else [cases, cases.assign(site=ALL_SITES)]
    stacked = pd.concat(parts, ignore_index=True)
    groups = stacked.groupby(["site", "method", "tissue"], sort=False)[measure]
    text = groups.agg(lambda values: mean_and_sd(values.to_numpy(), digits)).unstack("tissue")
    order = [(site, method) for site in stacked["site"].unique() for method in cases["method"].unique()]
    table = text.loc[order, list(cases["tissue"].unique())]
    counts = stacked.groupby("site", sort=False)["case"].nunique()
    table.insert(0, "cases", [counts[site] for site, _ in order])
    return table.rename_axis(columns=None).reset_index()


def mean_and_sd(values: np.ndarray, digits: int) -> str:
    """``mean ± SD`` of the values that are not NaN, and how many were NaN."""
    valid = values[~np.isnan(values)]
    if not valid.size:
        return "n/a"
    text = f"{valid.mean():.{digits}f}"
    if valid.size > 1:
        text += f" ± {valid.std(ddof=1):.{digits}f}"
    missing = values.size - valid.size
    return f"{text} ({missing} empty)" if missing else text


def as_markdown(table: pd.DataFrame) -> str:
    """A Markdown table whose columns line up, so that it is readable on a screen too."""
    rows = [list(map(str, table.columns)), *([str(cell) for cell in row] for row in table.itertuples(index=False))]
    rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def write_table(table: pd.DataFrame, folder: Path, name: str, caption: str) -> None:
    """Write ``name.csv`` and ``name.md``."""
    table.to_csv(folder / f"{name}.csv", index=False)
    (folder / f"{name}.md").write_text(f"{caption}\n\n{as_markdown(table)}\n", encoding="utf-8")
