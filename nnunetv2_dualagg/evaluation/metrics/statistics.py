"""Paired statistics between methods, and what may be concluded from them."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nnunetv2_dualagg.evaluation.metrics.aggregate import Aggregate, compared_key, with_all_sites
from nnunetv2_dualagg.evaluation.metrics.agreement import METRICS, Metric

MIN_CASES = 6  # with five pairs the Wilcoxon test cannot reach p < 0.05
CONFIDENCE = 0.95
RESAMPLES = 9999
SEED = 0
ROUNDING = 1e-12  # differences that are equal but for rounding have no SD to divide by


def paired_statistics(aggregated: Aggregate) -> pd.DataFrame:
    """Compare each pair of methods on the cases that both segmented.

    Args:
        aggregated: the scores. Of metrics that are best when close to zero, the absolute value is compared.

    Returns:
        A row per site, metric, tissue and pair (``method`` minus ``baseline``, the one named earlier), with the
        columns of :func:`compare_pairs`; ``p_holm``: p after Holm's correction for all tissues and pairs of the same
        site and metric; and ``run_sd``, ``baseline_run_sd``: the SD over the methods' runs.
    """
    cases = with_all_sites(aggregated.cases)
    tables = [
        pd.DataFrame(_pairs(at_site, metric)).assign(site=site, metric=metric.key)
        for site, at_site in cases.groupby("site", sort=False)
        for metric in METRICS
    ]
    tables = [table.assign(p_holm=holm(table["p"].to_numpy())) for table in tables if len(table)]
    if not tables:
        return pd.DataFrame()
    first = ["site", "metric", "tissue", "method", "baseline"]
    table = _with_run_spread(pd.concat(tables, ignore_index=True), aggregated.compared)
    return table[[*first, *(column for column in table if column not in first)]]


def compare_pairs(difference: np.ndarray, higher_is_better: bool) -> dict[str, float]:
    """Statistics of paired differences.

    Args:
        difference: method minus baseline, one value per case; NaN where a metric is missing.
        higher_is_better: whether a positive difference is a win.

    Returns:
        ``cases`` and ``empty`` (those with NaN, left out of the rest); ``difference`` (mean) with its bootstrap 95 %
        interval ``low`` to ``high`` (BCa, Efron 1987); ``p`` of the two-sided Wilcoxon signed-rank test;
        ``effect_size``: Cohen's d of paired samples, the mean difference over its SD; ``wins``, ``ties``, ``losses``.
    """
    valid = difference[~np.isnan(difference)]
    gain = valid if higher_is_better else -valid
    low, high = bootstrap_interval(valid)
    spread = valid.std(ddof=1) if valid.size > 1 else 0.0
    return {
        "cases": difference.size,
        "empty": difference.size - valid.size,
        "difference": valid.mean() if valid.size else np.nan,
        "low": low,
        "high": high,
        "p": wilcoxon(valid),
        "effect_size": valid.mean() / spread if spread > ROUNDING else np.nan,
        "wins": np.count_nonzero(gain > 0),
        "ties": np.count_nonzero(gain == 0),
        "losses": np.count_nonzero(gain < 0),
    }


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """Bootstrap confidence interval of the mean (BCa); NaN below two values, a point if they are all equal."""
    if values.size < 2:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return values[0], values[0]
    result = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa", rng=SEED
    )
    return result.confidence_interval.low, result.confidence_interval.high


def wilcoxon(values: np.ndarray) -> float:
    """Two-sided p value of the Wilcoxon signed-rank test; 1 if all values are zero, NaN without values."""
    if not values.size:
        return np.nan
    return float(stats.wilcoxon(values).pvalue) if values.any() else 1.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction (Holm 1979); NaN stays NaN and does not count as a test."""
    corrected = np.full(p_values.shape, np.nan)
    tests = ~np.isnan(p_values)
    if tests.any():  # statsmodels gives NaN for all if there is one
        corrected[tests] = multipletests(p_values[tests], method="holm")[1]
    return corrected


def _pairs(cases: pd.DataFrame, metric: Metric) -> Iterator[dict]:
    for tissue, of_tissue in cases.groupby("tissue", sort=False):
        values = of_tissue.pivot(index="case", columns="method", values=compared_key(metric))
        for baseline, method in combinations(cases["method"].unique(), 2):
            difference = (values[method] - values[baseline]).to_numpy()
            found = compare_pairs(difference, metric.better == "higher")
            yield {"tissue": tissue, "method": method, "baseline": baseline, **found}


def _with_run_spread(table: pd.DataFrame, summarised: pd.DataFrame) -> pd.DataFrame:
    keys = ["site", "metric", "tissue"]
    spread = summarised[[*keys, "method", "run_sd"]].assign(metric=summarised["metric"].str.strip("|"))
    table = table.merge(spread, on=[*keys, "method"], how="left")
    spread = spread.rename(columns={"method": "baseline", "run_sd": "baseline_run_sd"})
    return table.merge(spread, on=[*keys, "baseline"], how="left")
