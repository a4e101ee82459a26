"""Tables of mean and standard deviation in the paper's layout, as CSV, Markdown and LaTeX."""

from collections.abc import Sequence

import pandas as pd

from nnunetv2_dualagg.evaluation.metrics.aggregate import ALL_SITES, MEAN
from nnunetv2_dualagg.evaluation.metrics.agreement import ASD, DICE, HD, METRICS, Metric
from nnunetv2_dualagg.evaluation.published import TISSUES, published_table
from nnunetv2_dualagg.utils.tables import NO_VALUE, Table

PERCENT = Metric("dice", "Dice [%]", "higher", 1)
OURS = "this comparison"
CELL = "mean ± SD over cases"
NOTE = "Rows with other data were published on those; they stand here for reference and are not ranked with ours."


def make_tables(summarised: pd.DataFrame) -> list[Table]:
    """All tables of a comparison.

    Args:
        summarised: the table of :func:`aggregate.Aggregate`.

    Returns:
        ``dice``: Dice per site, method and tissue; ``table1`` to ``table3`` as in the paper: accuracy over all cases,
        accuracy per site, and Dice in percent as in its ablation; ``all_metrics``: everything.
    """
    tissues = list(summarised["tissue"].unique())
    single = [tissue for tissue in tissues if tissue != MEAN]
    triple = (DICE, HD, ASD)
    sites = list(summarised["site"].unique())
    overall = summarised[summarised["site"] == sites[-1]]
    text = f"{CELL}; HD: maximum Hausdorff distance, the nearest to the challenge's MHD. {NOTE}"
    table1 = _wide(_with_published(_cells(overall, triple), 1), ["method", "data"], single, triple)
    table2 = _wide(_with_published(_cells(summarised, triple), 2), ["site", "method", "data"], single, triple)
    table3 = _wide(_with_published(_cells(overall, (PERCENT,)), 3), ["method", "data"], tissues, (PERCENT,))
    dice = _wide(_cells(summarised, (DICE,)), ["site", "cases", "method"], tissues, (DICE,))
    return [
        Table("dice", "Dice per site", f"Dice, {CELL}", dice),
        Table("table1", "Accuracy over all cases", text, table1),
        Table("table2", "Accuracy per site", text, table2),
        Table("table3", "As in the ablation of the paper", f"Dice in percent, {CELL}. {NOTE}", table3),
        Table("all_metrics", "All metrics", CELL, _all_metrics(summarised)),
    ]


def statistics_table(statistics: pd.DataFrame) -> Table:
    """The paired statistics as text.

    Args:
        statistics: the table of :func:`statistics.paired_statistics`, with at least one row.
    """
    digits = {metric.key: metric.digits for metric in METRICS}
    titles = {metric.key: f"|{metric.title}|" if metric.better == "zero" else metric.title for metric in METRICS}
    rows = []
    for _, row in statistics.iterrows():
        difference, low, high = (_signed(row[key], digits[row["metric"]]) for key in ("difference", "low", "high"))
        spreads = (_number(row[key], digits[row["metric"]] + 1) for key in ("run_sd", "baseline_run_sd"))
        rows.append(
            {
                "site": row["site"],
                "metric": titles[row["metric"]],
                "tissue": row["tissue"],
                "methods": f"{row['method']} - {row['baseline']}",
                "cases": f"{row['cases'] - row['empty']} of {row['cases']}",
                "difference": difference,
                "95 % interval": f"{low} to {high}",
                "p": _number(row["p"], 4),
                "p (Holm)": _number(row["p_holm"], 4),
                "d": _number(row["effect_size"], 2),
                "wins/ties/losses": f"{row['wins']}/{row['ties']}/{row['losses']}",
                "SD over runs": " and ".join(spreads),
            }
        )
    caption = (
        "Mean paired differences over cases, bootstrap interval, Wilcoxon signed-rank test, Cohen's d of pairs, "
        "and the SD over each method's folds or seeds where these share their cases"
    )
    return Table("differences", "Differences between methods", caption, pd.DataFrame(rows))


def mean_and_sd(row: pd.Series, digits: int) -> str:
    """``mean ± SD`` of a row of the summary, and how many cases had no value, such as ``0.834 ± 0.012 (1 empty)``."""
    if pd.isna(row["mean"]):
        return NO_VALUE
    text = f"{row['mean']:.{digits}f}"
    if not pd.isna(row["sd"]):
        text += f" ± {row['sd']:.{digits}f}"
    return f"{text} ({row['empty']} empty)" if row["empty"] else text


def _cells(summarised: pd.DataFrame, metrics: Sequence[Metric]) -> pd.DataFrame:
    """The summary of some metrics in long form, with the text of each cell."""
    parts = []
    for metric in metrics:
        part = summarised[summarised["metric"] == metric.key]
        if metric is PERCENT:
            part = part.assign(mean=100 * part["mean"], sd=100 * part["sd"])
        cells = [mean_and_sd(row, metric.digits) for _, row in part.iterrows()]
        parts.append(part.assign(metric=metric.title, data=OURS, cell=cells))
    return pd.concat(parts)


def _with_published(cells: pd.DataFrame, table: int) -> pd.DataFrame:
    """Append the cells of the paper's table, if the tissues are the paper's."""
    if set(cells["tissue"]) - {MEAN} != TISSUES:
        return cells
    published = published_table(table).assign(site=ALL_SITES)
    parts = [cells]
    for metric, values in ((DICE, published["dice"]), (ASD, published["asd"]), (PERCENT, 100 * published["dice"])):
        if metric.title in set(cells["metric"]):
            text = [_number(value, metric.digits) for value in values]
            parts.append(published.assign(metric=metric.title, cell=text))
    return pd.concat(parts)


def _wide(cells: pd.DataFrame, rows: Sequence[str], tissues: Sequence[str], metrics: Sequence[Metric]) -> pd.DataFrame:
    """A row per site, method and so on; a column per tissue and metric, of one level if there is but one metric."""
    wide = cells.pivot_table(index=list(rows), columns=["tissue", "metric"], values="cell", aggfunc="first", sort=False)
    wide = wide[[(tissue, metric.title) for tissue in tissues for metric in metrics]].fillna(NO_VALUE)
    if len(metrics) == 1:
        wide.columns = wide.columns.droplevel(1)
    wide.columns.names = [None] * wide.columns.nlevels
    return wide.reset_index()


def _all_metrics(summarised: pd.DataFrame) -> pd.DataFrame:
    """A row per site, tissue and method, a column per metric."""
    wide = _cells(summarised, METRICS).pivot_table(
        index=["site", "tissue", "method"], columns="metric", values="cell", aggfunc="first", sort=False
    )
    return wide.rename_axis(columns=None).reset_index()


def _signed(value: float, digits: int) -> str:
    return NO_VALUE if pd.isna(value) else f"{value:+.{digits}f}"


def _number(value: float, digits: int) -> str:
    return NO_VALUE if pd.isna(value) else f"{value:.{digits}f}"
