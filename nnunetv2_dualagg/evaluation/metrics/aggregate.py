"""From single scores to means over runs, tissues, cases and sites."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from nnunetv2_dualagg.evaluation.metrics.agreement import METRICS, Metric

ALL_SITES = "all sites"
MEAN = "mean"  # the tissue that stands for the mean over the tissues
KEYS = [metric.key for metric in METRICS]


@dataclass(frozen=True)
class Aggregate:
    """The scores of a comparison on their way to tables, statistics and plots.

    Attributes:
        cases: a row per case, method and tissue, the runs (folds or seeds) averaged. A metric that is NaN in one run
            is NaN in the average, so that an empty class cannot improve it.
        summary: a row per site, method, tissue and metric, with the columns ``cases`` (all of them), ``empty`` (those
            without a value, left out of the rest), ``mean``, ``sd`` (ddof 1), ``median``, ``runs`` and ``run_sd``: the
            SD over the runs' means, NaN unless several runs predicted the same cases.
        compared: the summary of what methods are compared by, see :func:`compared_key`.
    """

    cases: pd.DataFrame
    summary: pd.DataFrame
    compared: pd.DataFrame


def compared_key(metric: Metric) -> str:
    """The column by which methods are compared: of a metric that is best close to zero, that of its absolute value."""
    return f"|{metric.key}|" if metric.better == "zero" else metric.key


def aggregate(scores: pd.DataFrame) -> Aggregate:
    """Average over runs, tissues, cases and sites.

    Args:
        scores: a row per case, method, run and tissue, as from :func:`scoring.scores_table`.
    """
    to_zero = {compared_key(metric): scores[metric.key].abs() for metric in METRICS if metric.better == "zero"}
    scores = scores.assign(**to_zero)
    cases = _strict_mean(scores.drop(columns="run"), ["case", "site", "method", "tissue"])
    table = _summary(cases, scores)
    is_compared = table["metric"].isin([compared_key(metric) for metric in METRICS])
    return Aggregate(cases, table[table["metric"].isin(KEYS)].reset_index(drop=True), table[is_compared])


def with_tissue_mean(scores: pd.DataFrame) -> pd.DataFrame:
    """Append to each case the mean over its tissues, as one more tissue."""
    keys = [key for key in ("case", "site", "method", "run") if key in scores]
    means = _strict_mean(scores.drop(columns="tissue"), keys)
    return pd.concat([scores, means.assign(tissue=MEAN)], ignore_index=True)


def with_all_sites(scores: pd.DataFrame) -> pd.DataFrame:
    """Repeat every case under the site "all sites", unless there is but one site."""
    if scores["site"].nunique() == 1:
        return scores
    return pd.concat([scores, scores.assign(site=ALL_SITES)], ignore_index=True)


def _summary(cases: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    keys = ["site", "method", "tissue", "metric"]
    table = _long(with_all_sites(with_tissue_mean(cases))).groupby(keys, sort=False)["value"]
    table = table.agg(cases="size", empty=lambda values: values.isna().sum(), mean="mean", sd="std", median="median")
    return table.join(_run_spread(scores, keys)).reset_index()


def _run_spread(scores: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The number of runs and, where they share their cases, the SD over the runs' means."""
    runs = _long(with_all_sites(with_tissue_mean(scores)))
    per_run = runs.groupby([*keys, "run"], sort=False).agg(mean=("value", "mean"), cases=("case", frozenset))
    groups = per_run.groupby(list(keys), sort=False)
    spread = groups["mean"].std().where(groups["cases"].nunique() == 1)
    return pd.DataFrame({"runs": groups.size(), "run_sd": spread})


def _long(scores: pd.DataFrame) -> pd.DataFrame:
    keys = [key for key in ("case", "site", "method", "run", "tissue") if key in scores]
    values = dict.fromkeys([*KEYS, *map(compared_key, METRICS)])
    return scores.melt(id_vars=keys, value_vars=list(values), var_name="metric")


def _strict_mean(scores: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means of all other columns that are NaN if one of their values is."""
    groups = scores.groupby(keys, sort=False)
    return groups.mean().where(groups.count().eq(groups.size(), axis=0)).reset_index()
