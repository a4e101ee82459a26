"""Voxels that nobody has labelled: what counts there, and tissues that are not looked at."""

import json

import numpy as np
import pytest
from evaluation_data import read_rows, write_image

from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.evaluation.cases import load_labels
from nnunetv2_dualagg.evaluation.metrics.scoring import disagreement
from nnunetv2_dualagg.utils.errors import UserError

LABELS = {"background": 0, "CSF": 1, "GM": 2, "WM": 3, "ignore": 4}
BOBS = {"ignored_may_be": ["background", "CSF"]}


def labels_of(folder, labels=LABELS, **more):
    file = folder / "dataset.json"
    file.write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz", **more}))
    return load_labels(file)


REFERENCE = np.array([0, 1, 2, 3, 4, 4, 4, 4], np.int16)
PREDICTION = np.array([0, 2, 2, 3, 0, 1, 2, 3], np.int16)


def test_without_further_words_nothing_counts_where_nothing_is_known(tmp_path):
    labels = labels_of(tmp_path)
    assert labels.wrong(PREDICTION, REFERENCE).tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    for tissue in labels.tissues:
        assert labels.to_measure(tissue, REFERENCE).tolist() == [1] * 4 + [0] * 4


def test_a_tissue_that_cannot_be_there_is_wrong_there(tmp_path):
    labels = labels_of(tmp_path, **BOBS)
    assert labels.wrong(PREDICTION, REFERENCE).tolist() == [0, 1, 0, 0, 0, 0, 1, 1]
    assert labels.to_measure("CSF", REFERENCE).tolist() == [1] * 4 + [0] * 4
    for tissue in ("GM", "WM"):
        assert labels.to_measure(tissue, REFERENCE).all()


def test_regions_too(tmp_path):
    regions = {"background": 0, "all": [1, 2, 3], "brain": [2, 3], "ignore": 4}
    labels = labels_of(tmp_path, regions, ignored_may_be=["background"])
    assert labels.to_measure("brain", REFERENCE).all()
    labels = labels_of(tmp_path, regions, ignored_may_be=["background", "all"])
    assert labels.to_measure("brain", REFERENCE).tolist() == [1] * 4 + [0] * 4


def test_methods_do_not_disagree_where_nothing_is_known(tmp_path):
    other = np.array([0, 1, 2, 3, 3, 3, 3, 0], np.int16)
    assert disagreement(REFERENCE, [PREDICTION, other], labels_of(tmp_path)).tolist() == [0, 1] + [0] * 6
    no_ignore = labels_of(tmp_path, {key: value for key, value in LABELS.items() if key != "ignore"})
    assert disagreement(REFERENCE, [PREDICTION, other], no_ignore).sum() == 5


def test_only_some_tissues(tmp_path):
    labels = labels_of(tmp_path, **BOBS).only(["WM", "GM"])
    assert list(labels.tissues) == ["GM", "WM"]
    assert labels.known_values == {0, 1, 2, 3, 4}
    assert labels.wrong(np.array([1, 0, 2]), np.array([0, 1, 1])).tolist() == [0, 0, 1]
    with pytest.raises(UserError, match="there is no tissue white; expected some of GM, WM"):
        labels.only(["white"])


def test_what_may_be_ignored_has_to_be_a_label(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.json says ignored_may_be: fluid; expected some of its labels"):
        labels_of(tmp_path, ignored_may_be=["fluid"])


@pytest.mark.parametrize(("more", "dice"), [({}, 1.0), (BOBS, 2 * 200 / (200 + 300))])
def test_compare_counts_grey_matter_in_a_sulcus_as_wrong(tmp_path, more, dice):
    """200 voxels of GM, 100 of them doubled into the unknown gap beside; CSF found there is no fault."""
    reference = np.zeros((10, 10, 10), np.uint8)
    reference[:, :, :2], reference[:, :, 2:4], reference[:, :, 4], reference[:, :, 5] = 2, 4, 3, 1
    prediction = reference.copy()
    prediction[:, :, 2], prediction[:, :, 3] = 2, 1
    for folder, array in (("ref", reference), ("model", prediction)):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "a.nii.gz", array)
    labels_of(tmp_path / "ref", channel_names={"0": "T1"}, **more)
    line = ["compare", "-ref", str(tmp_path / "ref"), "-pred", f"model={tmp_path / 'model'}", "-np", "1"]
    assert main([*line, "-o", str(tmp_path / "all")]) == 0
    found = {row["tissue"]: float(row["dice"]) for row in read_rows(tmp_path / "all" / "metrics.csv")}
    assert found == pytest.approx({"CSF": 1, "GM": dice, "WM": 1})
    assert main([*line, "-o", str(tmp_path / "some"), "-tissues", "GM", "WM"]) == 0
    assert {row["tissue"] for row in read_rows(tmp_path / "some" / "metrics.csv")} == {"GM", "WM"}
