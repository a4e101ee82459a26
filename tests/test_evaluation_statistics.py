from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, t

from nnunetv2_dualagg.evaluation.metrics.aggregate import KEYS, aggregate, with_tissue_mean
from nnunetv2_dualagg.evaluation.metrics.agreement import ASD, DICE, RVD
from nnunetv2_dualagg.evaluation.metrics.statistics import (
    bootstrap_interval,
    compare_pairs,
    holm,
    paired_statistics,
    wilcoxon,
)
from nnunetv2_dualagg.evaluation.report.conclusions import conclusions


def summarise(table):
    return aggregate(table).summary


def compare_methods(table):
    return paired_statistics(aggregate(table))


def scores(values, sites=None, tissue="WM"):
    """Scores in which every metric has the given values: {(method, run): [one per case]}."""
    rows = []
    for (method, run), numbers in values.items():
        for index, number in enumerate(numbers):
            site = "one" if sites is None else sites[index]
            keys = {"case": f"case_{index}", "site": site, "method": method, "run": run, "tissue": tissue}
            rows.append(keys | dict.fromkeys(KEYS, number))
    return pd.DataFrame(rows)


def row(table, **keys):
    for key, value in keys.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_summary_is_mean_sd_and_median_over_cases():
    values = [0.9, 0.8, 0.4]
    found = row(summarise(scores({("a", "x"): values})), tissue="WM", metric="dice")
    assert found["mean"] == pytest.approx(0.7)
    assert found["sd"] == pytest.approx(np.std(values, ddof=1))
    assert found["median"] == 0.8
    assert (found["cases"], found["empty"], found["runs"]) == (3, 0, 1)
    assert np.isnan(found["run_sd"])


def test_cases_without_a_value_are_counted():
    found = row(summarise(scores({("a", "x"): [1, np.nan, 2]})), tissue="WM", metric="asd")
    assert (found["cases"], found["empty"], found["mean"]) == (3, 1, 1.5)


def test_the_mean_over_tissues_and_all_sites_are_added():
    sites = ["BCP", "BCP", "Emory"]
    table = pd.concat(
        [scores({("a", "x"): [1, 2, 6]}, sites), scores({("a", "x"): [3, 4, np.nan]}, sites, tissue="GM")]
    )
    found = summarise(table)
    assert row(found, site="BCP", tissue="mean", metric="hd")["mean"] == 2.5
    assert row(found, site="all sites", tissue="WM", metric="hd")["mean"] == 3
    assert row(found, site="all sites", tissue="mean", metric="hd")["empty"] == 1  # not the mean of WM alone
    assert list(found["site"].unique()) == ["BCP", "Emory", "all sites"]


def test_seeds_are_averaged_and_their_spread_is_told():
    table = scores({("a", "seed 0"): [0.8, 0.6], ("a", "seed 1"): [0.9, 0.7], ("a", "seed 2"): [0.85, 0.8]})
    assert aggregate(table).cases["dice"].tolist() == pytest.approx([0.85, 0.7])
    found = row(summarise(table), tissue="WM", metric="dice")
    assert found["runs"] == 3
    assert found["run_sd"] == pytest.approx(np.std([0.7, 0.8, 0.825], ddof=1))
    assert found["sd"] == pytest.approx(np.std([0.85, 0.7], ddof=1))


def test_a_seed_without_a_value_leaves_the_case_without_one():
    table = scores({("a", "seed 0"): [1, 1], ("a", "seed 1"): [3, np.nan]})
    assert aggregate(table).cases["asd"].tolist() == pytest.approx([2, np.nan], nan_ok=True)


def test_folds_have_no_spread():
    table = scores({("a", "fold 0"): [0.8, 0.6, 0.7, 0.9]})
    table.loc[2:, "run"] = "fold 1"
    found = row(summarise(table), tissue="WM", metric="dice")
    assert found["mean"] == pytest.approx(0.75)
    assert np.isnan(found["run_sd"])


def test_the_tissue_mean_keeps_runs_apart():
    table = with_tissue_mean(scores({("a", "x"): [1, 2], ("a", "y"): [3, 4]}))
    assert table[table["tissue"] == "mean"]["dice"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5, 6], [1, -2, 3, 4, -5, 6, 7.5], [0.1, -0.2, -0.3, 0.35, -0.5]])
def test_wilcoxon_equals_all_sign_flips(values):
    ranks = rankdata(np.abs(values))
    observed = abs(np.sum(ranks * np.sign(values)))
    flips = [abs(np.dot(ranks, signs)) for signs in product((-1, 1), repeat=len(values))]
    expected = np.mean(np.array(flips) >= observed - 1e-9)
    assert wilcoxon(np.array(values)) == pytest.approx(expected)


def test_wilcoxon_of_equal_methods_is_one():
    assert wilcoxon(np.zeros(8)) == 1
    assert np.isnan(wilcoxon(np.array([])))


def test_holms_correction():
    assert holm(np.array([0.01, 0.04, np.nan, 0.03])) == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)
    assert holm(np.array([0.5, 0.6])).tolist() == [1, 1]


def test_bootstrap_interval_is_close_to_students_on_normal_data():
    values = np.random.default_rng(0).normal(0.02, 0.05, 60)
    margin = t.ppf(0.975, 59) * values.std(ddof=1) / np.sqrt(60)
    low, high = bootstrap_interval(values)
    assert (low, high) == pytest.approx((values.mean() - margin, values.mean() + margin), abs=0.15 * margin)
    assert bootstrap_interval(values) == (low, high)  # reproducible


def test_bootstrap_interval_of_few_or_equal_values():
    assert np.isnan(bootstrap_interval(np.array([0.1]))).all()
    assert bootstrap_interval(np.full(5, 0.1)) == (0.1, 0.1)


def test_pairs_are_counted_by_what_is_better():
    difference = np.array([0.1, 0.3, 0, -0.2, np.nan])
    higher, lower = compare_pairs(difference, True), compare_pairs(difference, False)
    assert [higher[key] for key in ("cases", "empty", "wins", "ties", "losses")] == [5, 1, 2, 1, 1]
    assert [lower[key] for key in ("wins", "ties", "losses")] == [1, 1, 2]
    valid = difference[:4]
    assert higher["difference"] == lower["difference"] == pytest.approx(0.05)
    assert higher["effect_size"] == pytest.approx(valid.mean() / valid.std(ddof=1))
    assert higher["low"] < 0.05 < higher["high"]


def test_cases_are_paired_by_name_not_by_order():
    table = scores({("a", "x"): [0.1, 0.5, 0.9], ("b", "x"): [0.2, 0.6, 1.0]})
    shuffled = table.sample(frac=1, random_state=1).sort_values("method", kind="stable")
    found = row(compare_methods(shuffled), metric="dice")
    assert (found["method"], found["baseline"]) == ("b", "a")
    assert found["difference"] == pytest.approx(0.1)
    assert (found["low"], found["high"]) == pytest.approx((0.1, 0.1))
    assert (found["wins"], found["losses"]) == (3, 0)
    assert row(compare_methods(shuffled), metric="asd")["losses"] == 3


def test_holm_counts_the_tissues_and_pairs_of_one_metric():
    rng = np.random.default_rng(0)
    values = {(method, "x"): rng.normal(shift, 0.3, 10) for method, shift in (("a", 0), ("b", 0.3), ("c", 0.4))}
    table = pd.concat([scores(values), scores(values, tissue="GM")])
    found = compare_methods(table)
    dice = found[found["metric"] == "dice"]
    assert len(dice) == 6
    assert dice["p_holm"].min() == pytest.approx(6 * dice["p"].min())


def test_volume_differences_are_compared_by_their_size():
    table = scores({("a", "x"): [-8.0, 6, -4, 2, 3, 5], ("b", "x"): [-1.0, 1, 1, -1, 1, -1]})
    found = row(compare_methods(table), metric=RVD.key)
    assert found["difference"] == pytest.approx(1 - 28 / 6)
    assert found["wins"] == 6


def test_the_spread_of_seeds_stands_beside_the_difference():
    table = scores({("a", "s0"): [1, 2], ("a", "s1"): [2, 3], ("b", "s0"): [4, 4], ("b", "s1"): [8, 8]})
    found = row(compare_methods(table), metric="hd")
    assert found["difference"] == pytest.approx(4)
    assert found["baseline_run_sd"] == pytest.approx(np.std([1.5, 2.5], ddof=1))
    assert found["run_sd"] == pytest.approx(np.std([4, 8], ddof=1))


def sentence(a, b, metric=DICE):
    (text,) = conclusions(compare_methods(scores({("a", "x"): a, ("b", "x"): b})), "one", metric)
    return text


BASE = np.linspace(0.7, 0.8, 8)
GAIN = np.array([0.02, 0.03, 0.01, 0.025, 0.015, 0.022, 0.031, 0.012])


def test_a_clear_difference_is_called():
    assert "b is better than a in WM (+0.021, 95 % interval +0.01" in sentence(BASE, BASE + GAIN)
    assert "b is worse than a in WM" in sentence(BASE, BASE - GAIN)
    assert "b is worse than a in WM" in sentence(BASE, BASE + GAIN, ASD)


def test_five_cases_are_not_enough():
    text = sentence(BASE[:5], BASE[:5] + GAIN[:5])
    assert "no winner between b and a in WM: only 5 cases, 6 are needed" in text
    assert "better" not in text
    # the sixth case must have a value
    text = sentence(BASE[:6], np.where(np.arange(6) == 2, np.nan, BASE[:6] + GAIN[:6]))
    assert "only 5 cases" in text


def test_an_interval_that_includes_zero_has_no_winner():
    text = sentence(BASE, BASE + GAIN * [1, -1, 1, -1, 1, -1, 1, -1])
    assert "no winner between b and a in WM: the interval includes zero" in text


def test_correction_for_many_tests_can_take_the_winner_away():
    few = {("a", "x"): BASE[:6], ("b", "x"): BASE[:6] + GAIN[:6]}  # p = 1/32, times three tissues
    table = pd.concat([scores(few, tissue=tissue) for tissue in ("CSF", "GM", "WM")])
    (text,) = conclusions(compare_methods(table), "one", DICE)
    assert "no winner between b and a in CSF, GM and WM: the interval excludes zero, but p after Holm" in text


def test_a_single_method_has_nothing_to_compare_with():
    found = compare_methods(scores({("a", "x"): BASE}))
    assert found.empty
    assert conclusions(found, "one", DICE) == ["There is only one method, so there is nothing to compare it with."]
