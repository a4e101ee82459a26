import json

import pytest
from nnunetv2.utilities.crossval_split import generate_crossval_split
from planning_data import set_folders, use_threads, write_dataset

from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.planning.splits import (
    by_site,
    by_subject,
    divided_subjects,
    hold_out,
    leave_one_out,
    nnunet_default,
    trained_folds,
    write_splits,
)
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.nnunet_folders import training_cases

CASES = [f"iSeg_{i:03d}" for i in range(1, 11)]
NAME = "Dataset001_Boxes"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    use_threads(monkeypatch)
    folders = set_folders(tmp_path, monkeypatch)
    write_dataset(folders.raw, cases=10, shape=(4, 4, 4), channels=("T1",))
    return folders


@pytest.fixture
def file(folders):
    return folders.preprocessed / NAME / "splits_final.json"


def train(folders, fold, trace):
    folder = folders.results / NAME / "nnUNetTrainer__nnUNetPlans__3d_fullres" / fold
    folder.mkdir(parents=True)
    (folder / trace).touch()
    return folder


def test_leave_one_out():
    folds = leave_one_out(CASES[::-1])
    assert [fold["val"] for fold in folds] == [[case] for case in CASES]
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == CASES


def test_hold_out():
    assert hold_out(CASES, ["iSeg_010"]) == [{"train": CASES[:9], "val": ["iSeg_010"]}]
    assert hold_out(CASES, ["iSeg_010", "iSeg_002"])[0]["val"] == ["iSeg_002", "iSeg_010"]


def test_default_is_nnunets():
    assert nnunet_default(CASES[::-1]) == generate_crossval_split(CASES, seed=12345, n_splits=5)


def test_by_site_trains_and_validates_at_one_site():
    sites = {case: "A" for case in CASES} | {f"other_{i}": "B" for i in range(6)}
    folds = by_site(list(sites)[::-1], sites)
    assert folds[0] == nnunet_default(CASES)[0]
    assert folds[1] == nnunet_default([f"other_{i}" for i in range(6)])[0]


def test_by_site_keeps_subjects_together():
    visits = {f"s{i}_{age}mo": f"s{i}" for i in range(5) for age in (3, 6)}
    (fold,) = by_site(list(visits), dict.fromkeys(visits, "A"), visits)
    assert divided_subjects([fold], visits) == []
    assert len(fold["val"]) == 2


def test_by_site_needs_sites_of_five_subjects():
    with pytest.raises(UserError, match="iSeg_010 has no site"):
        by_site(CASES, dict.fromkeys(CASES[:9], "A"))
    with pytest.raises(UserError, match="B: there are 4 subjects; expected at least 5"):
        by_site(CASES, {case: "AB"[i > 5] for i, case in enumerate(CASES)})


VISITS = {f"BOBs_{infant}_{age}mo": f"BOBs_{infant}" for infant in "ABCDEFG" for age in (3, 6)}


@pytest.mark.parametrize("make", [by_subject, leave_one_out])
def test_sessions_of_an_infant_are_on_the_same_side(make):
    folds = make([*CASES, *VISITS], VISITS)  # iSeg's cases are a subject each
    assert len(folds) == (5 if make is by_subject else 17)
    assert divided_subjects(folds, VISITS) == []
    assert sorted(case for fold in folds for case in fold["val"]) == sorted([*CASES, *VISITS])
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == sorted([*CASES, *VISITS])


def test_nnunets_folds_would_divide_infants():
    assert divided_subjects(nnunet_default(list(VISITS)), VISITS)


def test_by_subject_is_nnunets_default_where_each_has_one_case():
    assert by_subject(CASES, {}) == nnunet_default(CASES)


def test_by_subject_command(folders, file, capsys):
    (folders.raw / NAME / "sites.json").write_text(
        json.dumps({case: {"site": "BCP", "subject": f"infant_{i // 2}"} for i, case in enumerate(CASES)})
    )
    assert main(["splits", "-d", "1", "--by-subject"]) == 0
    folds = json.loads(file.read_text())
    assert [len(fold["val"]) for fold in folds] == [2] * 5
    assert "both trained on" not in capsys.readouterr().out
    assert main(["splits", "-d", "1", "--default", "--overwrite"]) == 0
    assert "subjects are both trained on and validated with; --by-subject keeps" in capsys.readouterr().out
    assert main(["splits", "-d", "1", "--holdout", "iSeg_001", "--overwrite"]) == 1
    assert "iSeg_002 would be trained on, of the same subject; hold out all of infant_0" in capsys.readouterr().err
    (folders.raw / NAME / "sites.json").unlink()
    assert main(["splits", "-d", "1", "--by-subject", "--overwrite"]) == 1
    assert f"{NAME} has no sites.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: leave_one_out(CASES[:1]), "expected at least 2"),
        (lambda: hold_out(CASES, ["iSeg_10"]), "no training case iSeg_10; expected some of iSeg_001"),
        (lambda: hold_out(CASES[:2], CASES[:2]), "all training cases are held out"),
        (lambda: nnunet_default(CASES[:4]), "expected at least 5"),
        (lambda: by_subject(list(VISITS)[:8], VISITS), "there are 4 subjects; expected at least 5"),
        (lambda: leave_one_out(list(VISITS)[:2], VISITS), "2 training cases of one subject; expected at least 2"),
    ],
)
def test_impossible_splits(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()


def test_commands(folders, file, capsys):
    assert main(["splits", "-d", "1", "--loso"]) == 0
    assert len(json.loads(file.read_text())) == 10
    assert "fold 9: 9 training cases, validated on iSeg_010" in capsys.readouterr().out
    assert main(["splits", "-d", NAME, "--holdout", "iSeg_010"]) == 1
    assert "give --overwrite" in capsys.readouterr().err
    assert main(["splits", "-d", NAME, "--holdout", "iSeg_010", "--overwrite"]) == 0
    assert json.loads(file.read_text()) == [{"train": CASES[:9], "val": ["iSeg_010"]}]
    assert main(["splits", "-d", "1", "--default", "--overwrite"]) == 0
    assert json.loads(file.read_text()) == generate_crossval_split(CASES, seed=12345, n_splits=5)
    assert [f.name for f in file.parent.iterdir()] == ["splits_final.json"]


@pytest.mark.parametrize("trace", ["checkpoint_latest.pth", "progress.png", "training_log_2024_1_1_00_00_00.txt"])
def test_a_split_in_use_is_never_replaced(folders, file, trace):
    write_splits(NAME, nnunet_default(CASES))
    before = file.read_text()
    fold = train(folders, "fold_0", trace)
    with pytest.raises(UserError, match=str(fold)):
        write_splits(NAME, leave_one_out(CASES), overwrite=True)
    assert file.read_text() == before
    write_splits(NAME, nnunet_default(CASES))  # the same folds again do no harm


def test_a_lost_split_that_models_were_trained_with_is_only_protected_from_others(folders, file):
    train(folders, "fold_3", "checkpoint_final.pth")
    with pytest.raises(UserError, match="1 folds have been trained"):
        write_splits(NAME, leave_one_out(CASES))
    assert not file.exists()


def test_training_on_all_cases_or_not_at_all_needs_no_split(folders):
    train(folders, "fold_all", "checkpoint_final.pth")
    train(folders, "fold_0", "debug.json")
    assert trained_folds(NAME) == []


def test_results_folder_has_to_be_known(folders, monkeypatch):
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(UserError, match="nnUNet_results is not set"):
        write_splits(NAME, leave_one_out(CASES))


def test_split_of_the_raw_dataset_goes_before(folders, file):
    (folders.raw / NAME / "splits_final.json").write_text(json.dumps(nnunet_default(CASES)))
    with pytest.raises(UserError, match="prescribes other folds"):
        write_splits(NAME, leave_one_out(CASES))
    write_splits(NAME, nnunet_default(CASES))
    assert file.exists()


def test_a_file_that_is_no_split(folders, file):
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        write_splits(NAME, leave_one_out(CASES), overwrite=True)


def test_training_cases_without_the_raw_dataset(folders, monkeypatch):
    labels = folders.preprocessed / NAME / "gt_segmentations"
    labels.mkdir(parents=True)
    for case in CASES[:3]:
        (labels / f"{case}.nii.gz").touch()
    (labels.parent / "dataset.json").write_text('{"file_ending": ".nii.gz"}')
    assert training_cases(NAME) == CASES
    monkeypatch.delenv("nnUNet_raw")
    assert training_cases(NAME) == CASES[:3]
    (labels.parent / "dataset.json").unlink()
    with pytest.raises(UserError, match="training cases of Dataset001_Boxes are unknown"):
        training_cases(NAME)


@pytest.mark.parametrize("dataset", ["2", "Dataset002_Boxes", "Boxes", "Dataset001_Other"])
def test_unknown_dataset(folders, capsys, dataset):
    assert main(["splits", "-d", dataset, "--loso"]) == 1
    assert f"there is no dataset {dataset}" in capsys.readouterr().err


def test_by_site_command(folders, file, capsys):
    main(["splits", "-d", "1", "--default"])
    default = json.loads(file.read_text())
    assert main(["splits", "-d", "1", "--by-site", "--overwrite"]) == 1
    assert "has no sites.json in nnUNet_raw" in capsys.readouterr().err
    cases = training_cases(NAME)
    (folders.raw / NAME / "sites.json").write_text(
        json.dumps({case: {"site": "A"} if i < 5 else "B" for i, case in enumerate(cases)})
    )
    main(["splits", "-d", "1", "--by-site", "--overwrite"])
    folds = json.loads(file.read_text())
    assert [len(fold["train"] + fold["val"]) for fold in folds] == [5, 5]
    assert folds != default
