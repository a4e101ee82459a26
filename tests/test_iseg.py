import json
import tracemalloc

import numpy as np
import pytest
from iseg_files import CODING_2017, files_in, set_nnunet_folders, voxels_of, write_iseg, write_subject
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

from nnunetv2_dualagg.dataset_conversion.iseg.convert import convert_iseg
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import MARK


@pytest.fixture
def raw(tmp_path, monkeypatch):
    return set_nnunet_folders(tmp_path, monkeypatch)


def table_of(dataset):
    return json.loads((dataset / "sites.json").read_text())


def test_converts_iseg_2019_in_one_call(tmp_path, raw):
    folders, arrays = write_iseg(tmp_path / "in", numbers=(1, 10, 11, 24, 30, 35))
    dataset = convert_iseg(folders, 219, num_processes=1)
    assert dataset == raw / "Dataset219_iSeg2019"
    cases = {"Tr": ("iSeg_001", "iSeg_010"), "Ts": ("iSeg_011", "iSeg_024", "iSeg_030", "iSeg_035")}
    images = [f"images{part}/{case}_000{n}.nii.gz" for part in cases for case in cases[part] for n in (0, 1)]
    labels = [f"labelsTr/{case}.nii.gz" for case in cases["Tr"]]
    assert files_in(dataset) == sorted([*images, *labels, "dataset.json", "sites.json", MARK])
    for number, (label, t1, t2) in arrays.items():
        part = "Tr" if number <= 10 else "Ts"
        for channel, voxels in (("0000", t1), ("0001", t2)):
            read = voxels_of(dataset / f"images{part}" / f"iSeg_{number:03d}_{channel}.nii.gz")
            np.testing.assert_array_equal(read, voxels)
            assert read.dtype == np.int16
        if part == "Tr":
            np.testing.assert_array_equal(voxels_of(dataset / "labelsTr" / f"iSeg_{number:03d}.nii.gz"), label)
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "T1", "1": "T2"}
    assert description["labels"] == {"background": 0, "CSF": 1, "GM": 2, "WM": 3}
    assert (description["numTraining"], description["file_ending"]) == (2, ".nii.gz")
    assert table_of(dataset) == {
        "iSeg_001": {"site": "MAP", "split": "training", "inferred": False, "origin": "iSeg-2019"},
        "iSeg_010": {"site": "MAP", "split": "training", "inferred": False, "origin": "iSeg-2019"},
        "iSeg_011": {"site": "MAP", "split": "validation", "inferred": False, "origin": "iSeg-2019"},
        "iSeg_024": {"site": "BCP", "split": "testing", "inferred": True, "origin": "iSeg-2019"},
        "iSeg_030": {"site": "Stanford", "split": "testing", "inferred": True, "origin": "iSeg-2019"},
        "iSeg_035": {"site": "Emory", "split": "testing", "inferred": True, "origin": "iSeg-2019"},
    }


def test_nnunet_accepts_the_dataset(tmp_path, raw, capsys):
    folders, _ = write_iseg(tmp_path / "in", ending=".nii", fourth=True, coding=CODING_2017, dtype="f4")
    verify_dataset_integrity(str(convert_iseg(folders, 219, num_processes=1)), 1)
    printed = capsys.readouterr().out
    assert "SimpleITKIO" in printed
    assert "Done" in printed
    assert not any(word in printed for word in ("WARNING", "Warning", "ERROR", "mismatch"))


def test_2017_numbers_and_label_values(tmp_path, raw):
    folders, arrays = write_iseg(tmp_path / "in", 2017, numbers=(1, 11, 23), coding=CODING_2017)
    dataset = convert_iseg(folders, 5, num_processes=1)
    assert dataset.name == "Dataset005_iSeg2017"
    np.testing.assert_array_equal(voxels_of(dataset / "labelsTr/iSeg_001.nii.gz"), arrays[1][0])
    assert [entry["split"] for entry in table_of(dataset).values()] == ["training", "testing", "testing"]


@pytest.mark.parametrize(("coding", "year"), [(CODING_2017, 2017), (None, 2019)])
def test_without_names_the_labels_tell_the_year(tmp_path, raw, coding, year):
    write_subject(tmp_path / "data", 1, coding=coding)
    assert convert_iseg([tmp_path / "data"], 7, num_processes=1).name == f"Dataset007_iSeg{year}"


def test_year_and_split_as_given_go_first(tmp_path, raw):
    folders, _ = write_iseg(tmp_path / "in", numbers=(1,))
    dataset = convert_iseg(folders, 7, year=2017, split="testing", num_processes=1)
    assert dataset.name == "Dataset007_iSeg2017"
    assert table_of(dataset)["iSeg_001"]["split"] == "testing"


def test_training_subjects_in_a_folder_called_test_are_not_left_out_of_training_unasked(tmp_path, raw):
    write_subject(tmp_path / "test", 1)
    with pytest.raises(UserError, match=r"subject-1-label\.hdr is in a testing folder; expected .*training.*-split"):
        convert_iseg([tmp_path / "test"], 7, num_processes=1)
    dataset = convert_iseg([tmp_path / "test"], 7, split="training", num_processes=1)
    assert files_in(dataset / "labelsTr") == ["iSeg_001.nii.gz"]


def test_labels_of_other_splits_are_kept_apart_from_training(tmp_path, raw):
    folders, _ = write_iseg(tmp_path / "in", numbers=(1, 24))
    secret = tmp_path / "in" / "iSeg-2019-Testing-labels"
    secret.mkdir()
    write_subject(tmp_path / "x", 24)
    for path in (tmp_path / "x").glob("subject-24-label.*"):
        path.rename(secret / path.name)
    dataset = convert_iseg([*folders, secret], 219, num_processes=1)
    assert files_in(dataset / "labelsTr") == ["iSeg_001.nii.gz"]
    assert files_in(dataset / "labelsTs") == ["iSeg_024.nii.gz"]


@pytest.mark.parametrize(("modality", "index"), [("T1", 1), ("T2", 2)])
def test_one_channel_needs_only_its_own_files(tmp_path, raw, modality, index):
    folders, arrays = write_iseg(tmp_path / "in", numbers=(1, 24))
    for path in (tmp_path / "in").rglob(f"*-{'T2' if modality == 'T1' else 'T1'}.*"):
        path.unlink()
    dataset = convert_iseg(folders, 9, modalities=[modality], num_processes=1)
    assert dataset.name == f"Dataset009_iSeg2019_{modality}"
    assert files_in(dataset / "imagesTs") == ["iSeg_024_0000.nii.gz"]
    np.testing.assert_array_equal(voxels_of(dataset / "imagesTr/iSeg_001_0000.nii.gz"), arrays[1][index])
    assert json.loads((dataset / "dataset.json").read_text())["channel_names"] == {"0": modality}


def test_channels_have_one_order_whatever_the_callers(tmp_path, raw):
    folders, arrays = write_iseg(tmp_path / "in", numbers=(1,))
    dataset = convert_iseg(folders, 9, modalities=["T2", "T1"], num_processes=1)
    np.testing.assert_array_equal(voxels_of(dataset / "imagesTr/iSeg_001_0000.nii.gz"), arrays[1][1])


def test_the_users_sites_go_before_the_inferred_ones(tmp_path, raw):
    folders, _ = write_iseg(tmp_path / "in", numbers=(1, 24, 30))
    (tmp_path / "sites.csv").write_text("subject,site\n24,Oslo\n")
    table = table_of(convert_iseg(folders, 219, sites=tmp_path / "sites.csv", num_processes=1))
    assert table["iSeg_024"] == {"site": "Oslo", "split": "testing", "inferred": False, "origin": "iSeg-2019"}
    assert table["iSeg_030"] == {"site": "Stanford", "split": "testing", "inferred": True, "origin": "iSeg-2019"}


def test_several_calls_with_add_equal_one(tmp_path, raw):
    folders, _ = write_iseg(tmp_path / "in")
    once = convert_iseg(folders, 219, num_processes=1)
    for n, folder in enumerate(folders):
        parts = convert_iseg([folder], 220, add=n > 0, num_processes=1)
    assert files_in(once) == files_in(parts)
    for name in files_in(once):
        assert (once / name).read_bytes() == (parts / name).read_bytes(), name
    with pytest.raises(UserError, match="iSeg_011 is in the dataset already"):
        convert_iseg([folders[1]], 220, add=True, num_processes=1)
    assert files_in(once) == files_in(parts)


def test_overwrite_replaces_and_only_when_complete(tmp_path, raw):
    folders, _ = write_iseg(tmp_path / "in", numbers=(1, 24))
    dataset = convert_iseg(folders, 219, num_processes=1)
    before = files_in(dataset)
    with pytest.raises(UserError, match=r"exists already.*--overwrite.*--add"):
        convert_iseg(folders[:1], 219, num_processes=1)
    (tmp_path / "in/iSeg-2019-Training/subject-1-T2.img").write_bytes(b"short")
    with pytest.raises(UserError, match=r"subject-1-T2\.img"):
        convert_iseg(folders[:1], 219, overwrite=True, num_processes=1)
    assert files_in(dataset) == before
    convert_iseg(folders[1:], 219, overwrite=True, num_processes=1)
    assert files_in(dataset / "imagesTr") == []


def test_workers_give_the_same_files_as_one_process(tmp_path, raw):
    folders, _ = write_iseg(tmp_path / "in")
    one, two = convert_iseg(folders, 1, num_processes=1), convert_iseg(folders, 2, num_processes=2)
    assert files_in(one) == files_in(two)
    for name in files_in(one):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


@pytest.mark.parametrize("ending", [".hdr", ".nii.gz"])
@pytest.mark.parametrize(("dtype", "order"), [("i2", "<"), ("i2", ">"), ("f4", "<")])
def test_a_worker_takes_less_than_three_volumes(tmp_path, raw, dtype, order, ending):
    shape = (64, 64, 64)
    write_subject(tmp_path / "iSeg-2019-Training", 1, shape=shape, dtype=dtype, order=order, ending=ending)
    convert_iseg([tmp_path], 1, num_processes=1)  # imports, caches
    tracemalloc.start()
    convert_iseg([tmp_path], 1, overwrite=True, num_processes=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 64**3 * np.dtype(dtype).itemsize
