import json

import numpy as np
import pytest
from evaluation_data import layers, write_comparison, write_dataset_json, write_image

from nnunetv2_dualagg.evaluation.cases import find_dataset_json, load_labels, load_sites
from nnunetv2_dualagg.evaluation.discovery import find_cases
from nnunetv2_dualagg.evaluation.orientation import ras_spacing
from nnunetv2_dualagg.evaluation.reading import read_image, read_segmentation
from nnunetv2_dualagg.utils.errors import UserError


@pytest.fixture
def root(tmp_path):
    return write_comparison(tmp_path)


@pytest.fixture
def labels(root):
    return load_labels(root / "dataset.json")


def predictions(root, *methods):
    return {method: [root / method] for method in methods}


def test_labels_regions_and_ignore_come_from_dataset_json(tmp_path):
    regions = {"background": 0, "brain": [2, 3], "WM": 3, "ignore": 4}
    write_dataset_json(tmp_path, regions, regions_class_order=[2, 3])
    labels = load_labels(tmp_path / "dataset.json")
    assert labels.tissues == {"brain": (2, 3), "WM": (3,)}
    assert labels.ignore == 4
    assert labels.known_values == {0, 2, 3, 4}
    assert labels.channels == ("T1", "T2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ('{"labels": {"background": 0, "a": 1}}', "lacks file_ending"),
        ('{"labels": {"background": 0}, "file_ending": ".nii.gz"}', "no foreground label"),
    ],
)
def test_a_bad_dataset_json_is_named(tmp_path, text, message):
    file = tmp_path / "dataset.json"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_labels(file)
    assert str(file) in str(error.value)


def test_dataset_json_is_found_beside_predictions_too(root):
    (root / "dataset.json").rename(root / "dualagg" / "dataset.json")
    found = find_dataset_json(root / "labelsTs", predictions(root, "default", "dualagg"))
    assert found == root / "dualagg" / "dataset.json"
    found.unlink()
    with pytest.raises(UserError, match="-djfile"):
        find_dataset_json(root / "labelsTs", predictions(root, "default", "dualagg"))


def test_cases_have_site_predictions_and_images(root, labels):
    cases, left_out = find_cases(
        root / "labelsTs", predictions(root, "default", "dualagg"), labels, root / "sites.json", root / "imagesTs"
    )
    assert left_out == []
    assert [(case.name, case.site) for case in cases] == [
        ("iSeg_000", "BCP"),
        ("iSeg_001", "Stanford"),
        ("iSeg_002", "Emory"),
    ]
    assert cases[0].predictions["dualagg"] == {str(root / "dualagg"): root / "dualagg" / "iSeg_000.nii.gz"}
    assert [file.name for file in cases[0].images] == ["iSeg_000_0000.nii.gz", "iSeg_000_0001.nii.gz"]


def test_site_names_may_stand_alone(tmp_path):
    (tmp_path / "sites.json").write_text(json.dumps({"a": "BCP", "b": {"site": "Emory"}}))
    assert load_sites(tmp_path / "sites.json") == {"a": "BCP", "b": "Emory"}
    (tmp_path / "sites.json").write_text(json.dumps({"a": {"split": "testing"}}))
    with pytest.raises(UserError, match=r"sites\.json: a lacks site"):
        load_sites(tmp_path / "sites.json")


def missing_prediction(root):
    (root / "dualagg" / "iSeg_001.nii.gz").unlink()
    return "case iSeg_001 of method dualagg"


def extra_prediction(root):
    (root / "default" / "iSeg_001.nii.gz").rename(root / "default" / "other.nii.gz")
    return "case iSeg_001 of method default"


def missing_reference(root):
    (root / "labelsTs" / "iSeg_001.nii.gz").unlink()
    return "no reference of the same name"


def missing_site(root):
    sites = json.loads((root / "sites.json").read_text())
    del sites["iSeg_001"]
    (root / "sites.json").write_text(json.dumps(sites))
    return "no site for case iSeg_001"


def missing_image(root):
    (root / "imagesTs" / "iSeg_001_0001.nii.gz").unlink()
    return "no image of case iSeg_001"


@pytest.mark.parametrize(
    "fault", [missing_prediction, extra_prediction, missing_reference, missing_site, missing_image]
)
def test_incomplete_cases_are_refused_or_left_out_and_told(root, labels, fault):
    message = fault(root)
    arguments = (root / "labelsTs", predictions(root, "default", "dualagg"), labels)
    options = {"sites": root / "sites.json", "images": root / "imagesTs"}
    with pytest.raises(UserError, match=message):
        find_cases(*arguments, **options)
    cases, left_out = find_cases(*arguments, **options, skip_missing=True)
    assert [case.name for case in cases] == ["iSeg_000", "iSeg_002"]
    assert message in " ".join(left_out)


def test_folds_share_no_case_and_seeds_share_all(root, labels):
    (root / "fold_1").mkdir()
    (root / "default" / "iSeg_002.nii.gz").rename(root / "fold_1" / "iSeg_002.nii.gz")
    folds = {"default": [root / "default", root / "fold_1"]}
    cases, _ = find_cases(root / "labelsTs", folds, labels)
    assert [len(case.predictions["default"]) for case in cases] == [1, 1, 1]

    seeds = {"method": [root / "default", root / "dualagg"]}
    with pytest.raises(UserError, match="case iSeg_002 of method method is in 1 of"):
        find_cases(root / "labelsTs", seeds, labels)


def test_folders_are_checked(root, labels):
    (root / "empty").mkdir()
    for folder, message in (("empty", "holds no segmentation"), ("nowhere", "is not a folder")):
        with pytest.raises(UserError, match=message):
            find_cases(root / "labelsTs", predictions(root, folder), labels)
    with pytest.raises(UserError, match="same folder twice"):
        find_cases(root / "labelsTs", {"a": [root / "default"] * 2}, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"array": np.full((10, 12, 14), 7, np.uint8)}, r"label values 7, .*\(0, 1, 2, 3\)"),
        ({"array": np.where(layers(0) == 1, np.nan, 0).astype(np.float32)}, "NaN"),
        ({"array": np.zeros((10, 12, 13), np.uint8)}, r"shape \(13, 12, 10\), expected \(14, 12, 10\)"),
        ({"spacing": (1, 1.5, 2.5)}, "spacing"),
        ({"origin": (0, 3, 0)}, "origin"),
        ({"direction": (-1, 0, 0, 0, 1, 0, 0, 0, 1)}, "direction"),
    ],
)
def test_segmentations_that_do_not_fit_are_named(tmp_path, labels, change, message):
    reference, other = tmp_path / "reference.nii.gz", tmp_path / "other.nii.gz"
    write_image(reference, layers(0))
    write_image(other, **{"array": layers(0), **change})
    with pytest.raises(UserError, match=message) as error:
        read_segmentation(other, labels, like=read_segmentation(reference, labels).grid)
    assert str(other) in str(error.value)


def test_an_unreadable_file_is_named(tmp_path, labels):
    file = tmp_path / "broken.nii.gz"
    file.write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"broken\.nii\.gz is truncated or damaged"):
        read_image(file, labels)


def test_the_first_row_of_a_two_dimensional_image_is_on_top(tmp_path, labels):
    array = np.zeros((5, 6), np.uint8)
    array[0, 5] = 1  # upper right
    write_image(tmp_path / "flat.nii.gz", array)
    assert np.argwhere(read_segmentation(tmp_path / "flat.nii.gz", labels).ras).tolist() == [[5, 4, 0]]


def test_pictures_are_turned_to_anatomical_axes(tmp_path, labels):
    array = np.zeros((4, 5, 6), np.uint8)
    array[3, 0, 0] = 1  # the uppermost slice; first row and column
    write_image(tmp_path / "lps.nii.gz", array)  # ITK's identity: x runs to the left, y to the back
    write_image(tmp_path / "ras.nii.gz", array, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    lps, ras = (read_segmentation(tmp_path / f"{name}.nii.gz", labels) for name in ("lps", "ras"))
    assert np.argwhere(lps.ras).tolist() == [[5, 4, 3]]
    assert np.argwhere(ras.ras).tolist() == [[0, 0, 3]]
    assert ras_spacing(lps.properties) == pytest.approx((1, 1.5, 2))
