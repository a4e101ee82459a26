import json

import numpy as np
import pytest
from evaluation_data import SPACING, layers, write_comparison, write_dataset_json, write_image
from nnunetv2.evaluation.evaluate_predictions import (
    compute_metrics,
    label_or_region_to_key,
    load_summary_json,
    save_summary_json,
)
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunetv2_dualagg.evaluation.cases import load_labels
from nnunetv2_dualagg.evaluation.discovery import find_cases
from nnunetv2_dualagg.evaluation.metrics.agreement import metrics_of
from nnunetv2_dualagg.evaluation.metrics.scoring import score_cases, scores_table


def nnunet_summary(root, method, labels):
    """nnU-Net's summary.json of a folder of predictions, read back from disk."""
    regions = [values if len(values) > 1 else values[0] for values in labels.tissues.values()]
    files = [(str(root / "labelsTs" / file.name), str(file)) for file in sorted((root / method).glob("*.nii.gz"))]
    rows = [compute_metrics(*pair, SimpleITKIO(), regions, labels.ignore) for pair in files]
    for row in rows:
        row["metrics"] = {key: {"Dice": float(values["Dice"])} for key, values in row["metrics"].items()}
    save_summary_json({"metric_per_case": rows, "mean": {}}, str(root / "summary.json"))
    return load_summary_json(str(root / "summary.json"))["metric_per_case"], regions


@pytest.mark.parametrize(
    "label_dict",
    [
        {"background": 0, "CSF": 1, "GM": 2, "WM": 3},
        {"background": 0, "CSF": 1, "GM": 2, "ignore": 3},
        {"background": 0, "brain": [2, 3], "inner": 3, "all": [1, 2, 3]},
    ],
    ids=["labels", "ignore", "regions"],
)
def test_dice_equals_nnunets_summary(tmp_path, label_dict):
    root = write_comparison(tmp_path)
    write_dataset_json(root, label_dict)
    labels = load_labels(root / "dataset.json")
    cases, _ = find_cases(root / "labelsTs", {"dualagg": [root / "dualagg"]}, labels)
    scores = scores_table(score_cases(cases, labels)).set_index(["case", "tissue"])
    expected, regions = nnunet_summary(root, "dualagg", labels)
    assert len(expected) == 3
    for case, row in zip(cases, expected, strict=True):
        for tissue, region in zip(labels.tissues, regions, strict=True):
            dice = row["metrics"][region]["Dice"]
            assert 0 < dice < 1, label_or_region_to_key(region)
            assert scores.loc[(case.name, tissue), "dice"] == pytest.approx(dice, abs=1e-12, rel=0)


def test_spacing_and_axes_reach_the_metrics(tmp_path):
    root = write_comparison(tmp_path, cases=1)
    labels = load_labels(root / "dataset.json")
    shifted = np.roll(layers(0), 1, axis=0)  # by one voxel of 2 mm along z
    write_image(root / "default" / "iSeg_000.nii.gz", shifted)
    cases, _ = find_cases(root / "labelsTs", {"default": [root / "default"]}, labels)
    row = scores_table(score_cases(cases, labels)).set_index("tissue").loc["WM"]
    assert row["hd"] == 2
    expected = metrics_of(layers(0) == 3, shifted == 3, SPACING[::-1])
    assert row[list(expected)].to_dict() == pytest.approx(expected)
    assert row["volume_ml"] == pytest.approx((shifted == 3).sum() * np.prod(SPACING) / 1000)


def test_a_class_that_is_missing_is_nan_not_left_out(tmp_path):
    root = write_comparison(tmp_path, cases=1)
    labels = load_labels(root / "dataset.json")
    without_wm = np.where(layers(0) == 3, 2, layers(0)).astype(np.uint8)
    write_image(root / "default" / "iSeg_000.nii.gz", without_wm)
    cases, _ = find_cases(root / "labelsTs", {"default": [root / "default"]}, labels)
    row = scores_table(score_cases(cases, labels)).set_index("tissue").loc["WM"]
    assert row["dice"] == 0
    assert np.isnan(row["asd"])


def test_two_dimensional_images_have_no_surface_along_the_third_axis(tmp_path):
    write_dataset_json(tmp_path, {"background": 0, "disc": 1})
    reference, prediction = np.zeros((2, 20, 20), np.uint8)
    reference[5:15, 5:15], prediction[5:15, 7:17] = 1, 1
    for folder, array in (("labelsTs", reference), ("method", prediction)):
        write_image(tmp_path / folder / "case.nii.gz", array, spacing=(2, 1))
    labels = load_labels(tmp_path / "dataset.json")
    cases, _ = find_cases(tmp_path / "labelsTs", {"method": [tmp_path / "method"]}, labels)
    row = scores_table(score_cases(cases, labels)).iloc[0]
    assert row["hd"] == 4
    assert row["asd"] == pytest.approx(metrics_of(reference == 1, prediction == 1, (1, 2))["asd"])


def test_the_slice_where_the_methods_differ_most_is_found(tmp_path):
    root = write_comparison(tmp_path, cases=1)
    labels = load_labels(root / "dataset.json")
    wrong_alike = layers(0)
    wrong_alike[2, 1:-1, 1:-1] = 3  # both methods err here: they do not differ
    different = wrong_alike.copy()
    different[6, 2:6, 2:6] = 1
    write_image(root / "default" / "iSeg_000.nii.gz", wrong_alike)
    write_image(root / "dualagg" / "iSeg_000.nii.gz", different)
    methods = {"default": [root / "default"], "dualagg": [root / "dualagg"]}
    found = score_cases(find_cases(root / "labelsTs", methods, labels)[0], labels)[0]
    assert found.slice_index == 6
    assert found.disagreement == (wrong_alike != different).sum()

    alone = score_cases(find_cases(root / "labelsTs", {"default": [root / "default"]}, labels)[0], labels)[0]
    assert alone.slice_index == 2  # a single method is held against the reference


def test_several_threads_give_the_same_rows_in_the_same_order(tmp_path):
    root = write_comparison(tmp_path)
    labels = load_labels(root / "dataset.json")
    methods = {"default": [root / "default"]}
    cases, _ = find_cases(root / "labelsTs", methods, labels, root / "sites.json")
    one, two = (scores_table(score_cases(cases, labels, num_threads)) for num_threads in (1, 2))
    assert json.dumps(one.to_dict("list")) == json.dumps(two.to_dict("list"))
