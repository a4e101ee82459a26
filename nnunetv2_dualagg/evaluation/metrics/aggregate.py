"""From single measurements to means over runs, tissues, cases and sites."""

from collections.abc import Sequence

import pandas as pd

from nnunetv2_dualagg.evaluation.metrics.agreement import MEASURES

ALL_SITES = "all sites"
MEAN = "mean"  # the tissue that stands for the mean over the tissues
KEYS = [measure.key for measure in MEASURES]


def per_case(scores: pd.DataFrame) -> pd.DataFrame:
    """Average the runs (folds or seeds) of each method.

    Args:
        scores: a row per case, method, run and tissue, as from :func:`measure.scores_table`.

    Returns:
        A row per case, method and tissue. A measure that is NaN in one run is NaN in the average, so that an empty
        class cannot improve it.
    """
    return _strict_mean(scores.drop(columns="run"), ["case", "site", "method", "tissue"])


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


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean, SD (ddof 1) and median over cases of every measure.

    Args:
        scores: a row per case, method, run and tissue.

    Returns:
        A row per site, method, tissue and measure, with the columns ``cases`` (all of them), ``empty`` (those without
        a value, left out of the rest), ``mean``, ``sd``, ``median``, ``runs`` and ``run_sd``: the SD over the runs'
        means, NaN unless several runs predicted the same cases.
    """
    keys = ["site", "method", "tissue", "measure"]
    cases = _long(with_all_sites(with_tissue_mean(per_case(scores))))
    table = cases.groupby(keys, sort=False)["value"].agg(
        cases="size", empty=lambda values: values.isna().sum(), mean="mean", sd="std", median="median"
    )
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
    return scores.melt(id_vars=keys, value_vars=KEYS, var_name="measure")


def _strict_mean(scores: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means of all other columns that are NaN if one of their values is."""
    groups = scores.groupby(keys, sort=False)
    return groups.mean().where(groups.count().eq(groups.size(), axis=0)).reset_index()
