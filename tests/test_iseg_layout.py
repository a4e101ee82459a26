import pytest
from iseg_files import write_image, write_iseg, write_subject

from nnunetv2_dualagg.dataset_conversion.iseg.layout import find_subjects, number_ranges
from nnunetv2_dualagg.dataset_conversion.volumes import data_file
from nnunetv2_dualagg.utils.errors import UserError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(*folders):
    subjects, problems = find_subjects(folders)
    return {subject.number: {kind: path.name for kind, path in subject.files.items()} for subject in subjects}, problems


@pytest.mark.parametrize(
    "names",
    [
        ["subject-7-T1.hdr", "subject-7-T1.img", "subject-7-label.hdr", "subject-7-label.img"],
        ["iSeg-2019-Training/subject-7-T1.nii", "iSeg-2019-Training/subject-7-label.nii"],
        ["a/b/c/subject-7-t1.nii.gz", "a/b/c/subject-7-Label.nii.gz"],
        ["subject-7/subject-7-T1.nii", "subject-7/subject-7-label.nii"],
        ["subject-7/T1.nii.gz", "subject-7/label.nii.gz"],
        ["07/t1.hdr", "07/t1.img", "07/LABEL.hdr", "07/LABEL.img"],
        ["SUBJECT-07-T1.HDR", "SUBJECT-07-T1.IMG", "SUBJECT-07-LABEL.NII.GZ"],
        ["Subject_7_T1.nii", "subject 7 label.nii"],
    ],
)
def test_finds_a_subject_in_every_layout(tmp_path, names):
    touch(tmp_path, *names)
    files, problems = found(tmp_path)
    assert problems == []
    assert list(files) == [7]
    assert set(files[7]) == {"T1", "label"}


def test_subjects_come_by_number_and_not_by_name(tmp_path):
    touch(tmp_path, "subject-10-T1.nii", "subject-9-T1.nii", "subject-1-T1.nii")
    assert list(found(tmp_path)[0]) == [1, 9, 10]


def test_passes_over_what_is_not_isegs(tmp_path):
    touch(tmp_path, "subject-1-T1.nii", "README.txt", "atlas.nii.gz", "2019/T1.nii", "subject-1-T1.txt")
    touch(tmp_path, "._subject-1-T1.nii", "__MACOSX/subject-1-T1.nii", ".cache/subject-2-T1.nii")
    assert found(tmp_path) == ({1: {"T1": "subject-1-T1.nii"}}, [])


def test_a_folder_given_twice_counts_once(tmp_path):
    touch(tmp_path, "in/subject-1-T1.nii")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert found(tmp_path, tmp_path / "in", tmp_path / "link") == ({1: {"T1": "subject-1-T1.nii"}}, [])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["subject-1-T1.nii", "subject-1-t1.nii.gz"], ["second T1", "subject 1", "expected one"]),
        (["a/subject-1-T1.nii", "b/subject-1-T1.nii"], ["second T1", "a/subject-1-T1.nii", "b/subject-1-T1.nii"]),
        (["subject-1-FLAIR.nii"], ["subject-1-FLAIR.nii", "neither T1, T2 nor label"]),
        (["subject-1-T1.nii", "subject-1-T2.img"], ["subject-1-T2.img", "no header", "subject-1-T2.hdr"]),
        (["Training/subject-1-T1.nii", "Testing/subject-1-T2.nii"], ["is in a training folder", "in testing"]),
    ],
)
def test_tells_files_that_do_not_fit_in(tmp_path, names, words):
    touch(tmp_path / "in", *names)
    _, problems = found(tmp_path / "in")
    assert len(problems) == 1
    assert all(word.lower() in problems[0].lower() for word in words), problems


def test_the_split_is_the_innermost_telling_folder_and_not_further_out_than_the_given_one(tmp_path):
    touch(tmp_path, "Testing/data/iSeg-2019-Training/x/subject-1-T1.nii", "Testing/data/subject-2-T1.nii")
    subjects, _ = find_subjects([tmp_path / "Testing" / "data"])
    assert [subject.folder_split for subject in subjects] == ["training", None]
    subjects, _ = find_subjects([tmp_path / "Testing"])
    assert [subject.folder_split for subject in subjects] == ["training", "testing"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("iSeg-2019-Training", "training"),
        ("train", "training"),
        ("iseg_2019_VALIDATION", "validation"),
        ("val", "validation"),
        ("iSeg-2019-Testing-labels", "testing"),
        ("test2", "testing"),
        ("latest", None),
        ("constraint", None),
        ("values", None),
        ("iSeg-2019", None),
    ],
)
def test_words_for_splits(tmp_path, name, split):
    touch(tmp_path / name, "subject-1-T1.nii")
    assert find_subjects([tmp_path / name])[0][0].folder_split == split


@pytest.mark.parametrize("make", ["missing", "zip", "empty"])
def test_refuses_a_place_without_iseg_files(tmp_path, make):
    place = tmp_path / "iSeg-2019-Training.zip"
    if make == "zip":
        place.write_bytes(b"PK")
    elif make == "empty":
        place.mkdir()
    with pytest.raises(UserError, match=r"iSeg-2019-Training\.zip.*expected"):
        find_subjects([place])


def test_case_identifiers_keep_the_number(tmp_path):
    write_iseg(tmp_path, numbers=(1, 10, 24))
    assert [subject.case for subject in find_subjects([tmp_path])[0]] == ["iSeg_001", "iSeg_010", "iSeg_024"]


def test_the_files_of_a_pair_may_differ_in_letter_case(tmp_path):
    label, _, _ = write_subject(tmp_path, 1)
    header = (tmp_path / "subject-1-T1.hdr").rename(tmp_path / "Subject-1-t1.HDR")
    assert data_file(header) == tmp_path / "subject-1-T1.img"
    assert found(tmp_path)[1] == []
    (tmp_path / "subject-1-T1.img").unlink()
    assert data_file(header) is None
    write_image(tmp_path / "subject-2-T1", label)
    assert data_file(tmp_path / "subject-2-T1.hdr") == tmp_path / "subject-2-T1.img"


@pytest.mark.parametrize(("numbers", "text"), [([], ""), ([4], "4"), ([1, 2, 3, 5, 9, 10], "1-3, 5, 9-10")])
def test_ranges(numbers, text):
    assert number_ranges(numbers) == text
