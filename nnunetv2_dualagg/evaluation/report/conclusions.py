"""Plain sentences on what paired statistics allow to conclude, and what they do not."""

import pandas as pd

from nnunetv2_dualagg.evaluation.metrics.agreement import Metric
from nnunetv2_dualagg.evaluation.metrics.statistics import MIN_CASES

ALPHA = 0.05


def conclusions(statistics: pd.DataFrame, site: str, metric: Metric) -> list[str]:
    """One sentence per pair of methods.

    Args:
        statistics: the table of :func:`statistics.paired_statistics`.
        site: the site to speak of.
        metric: the metric to speak of.

    Returns:
        The sentences. A method is called better in a tissue only with at least six cases, a confidence interval that
        does not include zero, and a Holm-corrected p below 0.05.
    """
    if statistics.empty:
        return ["There is only one method, so there is nothing to compare it with."]
    rows = statistics[(statistics["site"] == site) & (statistics["metric"] == metric.key)]
    pairs = rows.groupby(["method", "baseline"], sort=False)
    return [_sentence(method, baseline, pair, site, metric) for (method, baseline), pair in pairs]


def verdict(row: pd.Series, metric: Metric) -> str:
    """``better``, ``worse`` or the reason why neither can be said, for a row of the statistics."""
    cases = row["cases"] - row["empty"]
    if cases < MIN_CASES:
        return f"only {cases} cases, {MIN_CASES} are needed"
    if not (row["low"] > 0 or row["high"] < 0):
        return "the interval includes zero"
    if not row["p_holm"] < ALPHA:
        return f"the interval excludes zero, but p after Holm's correction is not below {ALPHA}"
    return "better" if (row["difference"] > 0) == (metric.better == "higher") else "worse"


def _sentence(method: str, baseline: str, pair: pd.DataFrame, site: str, metric: Metric) -> str:
    quantity = f"|{metric.title}|" if metric.better == "zero" else metric.title
    groups: dict[str, list[pd.Series]] = {}
    for _, row in pair.iterrows():
        groups.setdefault(verdict(row, metric), []).append(row)
    parts = []
    for found in sorted(groups, key=("better", "worse").__contains__, reverse=True):
        if found in ("better", "worse"):
            tissues = [f"{row['tissue']} ({_numbers(row, metric)})" for row in groups[found]]
            parts.append(f"{method} is {found} than {baseline} in {_and(tissues)}")
        else:
            tissues = [row["tissue"] for row in groups[found]]
            parts.append(f"no winner between {method} and {baseline} in {_and(tissues)}: {found}")
    cases = int(pair["cases"].max())
    return f"{site}, {cases} case{'s' * (cases != 1)}, {quantity}: {'; '.join(parts)}."


def _numbers(row: pd.Series, metric: Metric) -> str:
    digits = metric.digits
    interval = f"{row['low']:+.{digits}f} to {row['high']:+.{digits}f}"
    return f"{row['difference']:+.{digits}f}, 95 % interval {interval}, p = {row['p_holm']:.2g}"


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
