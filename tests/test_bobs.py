import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from bobs_files import AFFINE, SPACING, head, name_of, write_bobs, write_session
from iseg_files import files_in, set_nnunet_folders, voxels_of, write_iseg
from scipy import ndimage

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.dataset_conversion.bobs.convert import convert_bobs
from nnunetv2_dualagg.dataset_conversion.bobs.labels import TISSUE_OF
from nnunetv2_dualagg.dataset_conversion.bobs.origin import BOBS
from nnunetv2_dualagg.dataset_conversion.iseg.convert import convert_iseg
from nnunetv2_dualagg.utils.errors import UserError

SESSIONS = (("11", 6), ("11", 3), ("22", 6))
CASES = ["BOBs_11_3mo", "BOBs_11_6mo", "BOBs_22_6mo"]


@pytest.fixture
def raw(tmp_path, monkeypatch):
    return set_nnunet_folders(tmp_path, monkeypatch)


def content(dataset, file="dataset.json"):
    return json.loads((dataset / file).read_text())


def arrays_of(dataset, case):
    images = [voxels_of(dataset / "imagesTr" / f"{case}_{channel:04d}.nii.gz") for channel in (0, 1)]
    return voxels_of(dataset / "labelsTr" / f"{case}.nii.gz"), *images


def test_converts_all_sessions(tmp_path, raw):
    arrays = write_bobs(tmp_path / "in", SESSIONS)
    dataset = convert_bobs([tmp_path / "in"], 221, num_processes=1)
    assert dataset == raw / "Dataset221_BOBs"
    expected = [f"labelsTr/{case}.nii.gz" for case in CASES]
    expected += [f"imagesTr/{case}_{channel:04d}.nii.gz" for case in CASES for channel in (0, 1)]
    found = [name for name in files_in(dataset) if not name.startswith(".")]
    assert found == sorted([*expected, "dataset.json", "sites.json"])
    for (subject, age), (dseg, t1, t2) in arrays.items():
        labels, *images = arrays_of(dataset, f"BOBs_{subject}_{age}mo")
        assert labels.dtype == np.uint8
        for value in np.unique(dseg):
            got = set(np.unique(labels[dseg == value]))
            assert got <= {0: {0, 4}, 8: {0}, 47: {0}, 16: {0}}.get(value, {TISSUE_OF[value]}), value
        unlabelled = dseg == 0
        assert 0.05 < np.count_nonzero(labels == 4) / np.count_nonzero(labels) < 0.3
        assert unlabelled[labels == 4].all()
        for image, before in zip(images, (t1, t2), strict=True):
            np.testing.assert_array_equal(image, np.where(labels != 0, before, 0))
    assert content(dataset)["labels"] == {"background": 0, "CSF": 1, "GM": 2, "WM": 3, "ignore": 4}
    assert content(dataset)["numTraining"] == 3
    assert content(dataset, "sites.json")["BOBs_11_6mo"] == {
        "site": "BCP",
        "split": "training",
        "inferred": False,
        "origin": BOBS.name,
        "subject": "BOBs_11",
        "age": 6,
    }


def test_the_fluid_around_the_brain_is_unknown_and_the_skull_is_gone(tmp_path, raw):
    ((dseg, t1, _),) = write_bobs(tmp_path / "in", [("11", 6)]).values()
    dataset = convert_bobs([tmp_path / "in"], 221, num_processes=1)
    labels, image, _ = arrays_of(dataset, "BOBs_11_6mo")
    gaps = ndimage.binary_closing(dseg > 0) & (dseg == 0)
    gaps[:, :, : dseg.shape[2] // 2] = False  # the cerebellum's
    assert np.count_nonzero(gaps) > 100
    assert (labels[gaps] == 4).all()
    assert image[t1 > 850].max(initial=0) == 0  # the scalp


def test_keep_head(tmp_path, raw):
    arrays = write_bobs(tmp_path / "in", [("11", 6)])[("11", 6)]
    dataset = convert_bobs([tmp_path / "in"], 221, keep_head=True, num_processes=1)
    assert dataset.name == "Dataset221_BOBs_head"
    labels, *images = arrays_of(dataset, "BOBs_11_6mo")
    for image, before in zip(images, arrays[1:], strict=True):
        np.testing.assert_array_equal(image, before)
    assert (labels[np.isin(arrays[0], (8, 16, 47))] == 0).all()
    assert content(dataset)["skull_stripped"] is False


def test_ages_and_one_modality(tmp_path, raw, capsys):
    write_bobs(tmp_path / "in", SESSIONS)
    for file in (tmp_path / "in").rglob("*T1w*"):
        file.unlink()
    line = ["convert_bobs", "-i", str(tmp_path / "in"), "-d", "221", "-ages", "6", "-modalities", "T2", "-np", "1"]
    assert cli.main(line) == 0
    assert sorted(content(raw / "Dataset221_BOBs_T2", "sites.json")) == CASES[1:]
    assert "nnUNetv2_dualagg splits -d 221 --by-subject" in capsys.readouterr().out


@pytest.mark.parametrize("axes", ["RAS", "LAS", "PSR", "RPI"])
def test_every_orientation_ends_as_las_at_its_place(tmp_path, raw, axes):
    arrays = head()
    affine = AFFINE @ np.diag([SPACING] * 3 + [1])
    change = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(axes)
    )
    turned = [nib.orientations.apply_orientation(array, change) for array in arrays]
    turned_affine = affine @ nib.orientations.inv_ornt_aff(change, arrays[0].shape)
    write_session(tmp_path / "in", "11", 6, turned, affine=turned_affine)
    dataset = convert_bobs([tmp_path / "in"], 221, num_processes=1)
    image = nib.load(dataset / "imagesTr/BOBs_11_6mo_0000.nii.gz")
    np.testing.assert_allclose(image.affine, affine)
    labels, t1, _ = arrays_of(dataset, "BOBs_11_6mo")
    np.testing.assert_array_equal(t1, np.where(labels, arrays[1], 0))


def test_nesting_and_letter_case_do_not_matter(tmp_path, raw):
    write_bobs(tmp_path / "plain", SESSIONS)
    for number, file in enumerate((tmp_path / "plain").rglob("*.nii.gz")):
        folder = tmp_path / "odd" / f"V1.0/{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        name = file.name.upper().replace(".NII.GZ", ".nii.gz") if number % 2 else file.name.replace("_T", "_desc-T")
        shutil.copy(file, folder / name)
    (tmp_path / "odd/__MACOSX").mkdir()
    shutil.copy(file, tmp_path / "odd/__MACOSX" / file.name)
    one, other = (convert_bobs([tmp_path / name], n, num_processes=1) for n, name in ((221, "plain"), (222, "odd")))
    for name in files_in(one):
        if name.endswith(".gz"):
            np.testing.assert_array_equal(voxels_of(one / name), voxels_of(other / name))


def change(kind, function, subject="11", age=6):
    """Write an image again, changed."""

    def again(root):
        (file,) = root.rglob(name_of(subject, age, kind))
        image = nib.load(file)
        voxels, affine = function(np.asarray(image.dataobj).copy(), image.affine.copy())
        nib.save(nib.Nifti1Image(voxels, affine), file)

    return again


def with_value(value, number=5):
    def put(voxels, affine):
        voxels = voxels.astype(np.float32) if value != value else voxels
        voxels[:number, 0, 0] = value
        return voxels, affine

    return put


def moved(voxels, affine):
    affine[0, 3] += 1
    return voxels, affine


def remove(kind):
    return lambda root: next(root.rglob(name_of("11", 6, kind))).unlink()


def copy_label(root):
    file = next(root.rglob(name_of("11", 6, "T1w")))
    (root / "more").mkdir()
    shutil.copy(file, root / "more")


LABEL = "desc-aseg_dseg"
FAULTS = {
    "no T1": (remove("T1w"), r"BOBs_11_6mo has no T1 \(found .*expected sub-11_ses-6mo_\.\.\._T1w\.nii\.gz"),
    "no T2": (remove("T2w"), "BOBs_11_6mo has no T2"),
    "no label": (remove(LABEL), r"BOBs_11_6mo has no label .*_desc-aseg_dseg\.nii\.gz"),
    "twice": (copy_label, "T1w.nii.gz is a second T1 of BOBs_11_6mo, after .*expected one"),
    "shape": (
        change("T2w", lambda v, a: (v[1:], a)),
        r"T2w\.nii\.gz has shape \(45, 55, 46\); expected \(46, 55, 46\)",
    ),
    "place": (change("T1w", moved), r"T1w\.nii\.gz has the affine .*91.*; expected .*90.* as .*dseg"),
    "unknown label": (
        change(LABEL, with_value(72)),
        r"dseg\.nii\.gz holds the labels 72 \(5th-Ventricle, 5 voxels\); expected .*-labels 72=CSF",
    ),
    "nameless label": (
        change(LABEL, with_value(999)),
        r"999 \(no label of FreeSurfer's that is known here, 5 voxels\)",
    ),
    "no white matter": (
        change(LABEL, lambda v, a: (np.where(np.isin(v, (2, 41)), 3, v), a)),
        r"dseg\.nii\.gz holds no white matter; expected some of its labels 2, 41, 77, 28, 60",
    ),
    "NaN": (change("T1w", with_value(np.nan)), r"T1w\.nii\.gz holds NaN"),
    "only zeros": (change("T2w", lambda v, a: (v * 0, a)), r"T2w\.nii\.gz holds nothing but zeros"),
    "T2 is T1": (
        lambda root: shutil.copy(next(root.rglob(name_of("11", 6, "T1w"))), next(root.rglob(name_of("11", 6, "T2w")))),
        r"T2w\.nii\.gz holds the same voxels as .*T1w\.nii\.gz; expected another modality",
    ),
    "cut off": (
        lambda root: [f.write_bytes(f.read_bytes()[:-900]) for f in root.rglob(name_of("11", 6, "T1w"))],
        r"T1w\.nii\.gz is truncated or damaged",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_told_in_one_sentence_and_leaves_nothing(tmp_path, raw, capsys, fault):
    spoil, sentence = FAULTS[fault]
    write_bobs(tmp_path / "in", SESSIONS[:1])
    spoil(tmp_path / "in")
    with pytest.raises(UserError, match=sentence):
        convert_bobs([tmp_path / "in"], 221, num_processes=1)
    assert not raw.exists() or [path for path in raw.iterdir() if not path.name.startswith(".")] == []
    assert cli.main(["convert_bobs", "--check", "-np", "1", "-i", str(tmp_path / "in")]) == 1
    report = capsys.readouterr().out
    assert report.startswith("1 problems")
    with pytest.raises(UserError, match=sentence):
        raise UserError(report.splitlines()[1])


def test_a_label_that_is_not_known_can_be_told(tmp_path, raw, capsys):
    write_bobs(tmp_path / "in", SESSIONS[:1])
    change(LABEL, with_value(72))(tmp_path / "in")
    line = ["convert_bobs", "-np", "1", "-i", str(tmp_path / "in"), "-d", "221", "-labels"]
    assert cli.main([*line, "72=CSF"]) == 0
    assert (arrays_of(raw / "Dataset221_BOBs", "BOBs_11_6mo")[0][:5, 0, 0] == 1).all()
    for item, words in (
        ("72=brain", "expected VALUE=WORD"),
        ("3=WM", "3 is Left-Cerebral-Cortex; expected a label that"),
    ):
        assert cli.main([*line, item]) == 1
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-d", "221", "-ages", "7"], "found sessions of 6 months only; expected some of 7 months"),
        ([], "there is no dataset number"),
        (["-d", "221", "-n", "a/b"], "the dataset's name is 'a/b'; expected letters"),
        (["-d", "221", "--add"], "Dataset221_BOBs holds no sites.json"),
    ],
)
def test_bad_options(tmp_path, raw, capsys, arguments, words):
    write_bobs(tmp_path / "in", SESSIONS[:1])
    assert cli.main(["convert_bobs", "-np", "1", "-i", str(tmp_path / "in"), *arguments]) == 1
    assert words in capsys.readouterr().err


def test_a_folder_of_something_else(tmp_path, raw):
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="found no files of Baby Open Brains; expected sub-X_ses-Nmo"):
        convert_bobs([tmp_path / "in"], 221)
    with pytest.raises(UserError, match=r"missing: found nothing there; expected a folder of Baby Open Brains"):
        convert_bobs([tmp_path / "missing"], 221)


def test_check_reports_what_is_odd(tmp_path, raw, capsys):
    write_bobs(tmp_path / "in", SESSIONS)
    file = next((tmp_path / "in").rglob(name_of("22", 6, "T2w")))
    # A name that the released data set has, with another content.
    write_session(tmp_path / "in", "116056", 3, head())
    change("T1w", lambda v, a: (np.where(np.arange(len(v))[:, None, None] < 20, 0, v), a))(tmp_path / "in")
    assert cli.main(["convert_bobs", "--check", "-np", "1", "-i", str(tmp_path / "in")]) == 0
    report = capsys.readouterr().out
    for words in (
        "0 problems",
        "4 sessions of 3 infants",
        "by age: 2 of 3 months, 2 of 6 months",
        "sub-116056_ses-3mo_space-INFANTMNIacpc_T1w.nii.gz is not the file that was released: its SHA-256 is",
        "has shape (46, 55, 46); those released have (182, 218, 182)",
        "% of what is labelled; does it fit the labels?",
    ):
        assert words in report
    assert file.name not in report
    assert not raw.exists()


def test_add_and_overwrite(tmp_path, raw):
    write_bobs(tmp_path / "in", SESSIONS)
    whole = convert_bobs([tmp_path / "in"], 220, num_processes=1)
    dataset = convert_bobs([tmp_path / "in"], 221, ages=[3], num_processes=1)
    with pytest.raises(UserError, match="exists already; give --overwrite to replace it or --add"):
        convert_bobs([tmp_path / "in"], 221, num_processes=1)
    with pytest.raises(UserError, match="BOBs_11_3mo is in the dataset already"):
        convert_bobs([tmp_path / "in"], 221, add=True, num_processes=1)
    convert_bobs([tmp_path / "in"], 221, ages=[6], add=True, num_processes=1)
    assert files_in(dataset) == files_in(whole)
    assert content(dataset) == content(whole)
    convert_bobs([tmp_path / "in"], 221, ages=[3], overwrite=True, num_processes=1)
    assert sorted(content(dataset, "sites.json")) == CASES[:1]


def test_one_dataset_of_both(tmp_path, raw):
    folders, _ = write_iseg(tmp_path / "iseg", numbers=(1, 2, 24))
    write_bobs(tmp_path / "bobs", SESSIONS)
    dataset = convert_iseg(folders, 230, name="Infants", num_processes=1)
    convert_bobs([tmp_path / "bobs"], 230, name="Infants", add=True, num_processes=1)
    both = content(dataset)
    assert both["labels"] == {"background": 0, "CSF": 1, "GM": 2, "WM": 3, "ignore": 4}
    assert both["numTraining"] == 5
    assert both["converted_by"] == "nnunetv2_dualagg convert_iseg, convert_bobs"
    assert [origin["name"] for origin in both["origins"]] == ["iSeg-2019", BOBS.name]
    assert "iSeg-2019: by the challenge's own terms; must not be passed on" in both["licence"]
    assert f"{BOBS.name}: CC-BY-4.0" in both["licence"]
    origins = {case: entry["origin"] for case, entry in content(dataset, "sites.json").items()}
    assert origins == {case: BOBS.name for case in CASES} | dict.fromkeys(
        ("iSeg_001", "iSeg_002", "iSeg_024"), "iSeg-2019"
    )
    other = convert_bobs([tmp_path / "bobs"], 231, name="Infants", num_processes=1)
    convert_iseg(folders, 231, name="Infants", add=True, num_processes=1)
    assert files_in(other) == files_in(dataset)
    assert content(other)["labels"] == both["labels"]
    convert_bobs([tmp_path / "bobs"], 231, name="Infants", overwrite=True, num_processes=1)


def test_terms_of_a_dataset_of_version_0_1_0_stay(tmp_path, raw):
    folders, _ = write_iseg(tmp_path / "iseg", numbers=(1, 24))
    write_bobs(tmp_path / "bobs", SESSIONS[:1])
    dataset = convert_iseg(folders, 230, name="Infants", num_processes=1)
    old = content(dataset)
    for key in ("origins", "skull_stripped"):
        del old[key]
    (dataset / "dataset.json").write_text(json.dumps(old))
    convert_bobs([tmp_path / "bobs"], 230, name="Infants", add=True, num_processes=1)
    assert "must not be passed on" in content(dataset)["licence"]
    assert [origin["name"] for origin in content(dataset)["origins"]] == ["Infants", BOBS.name]


def test_what_does_not_fit_together_is_not_mixed(tmp_path, raw):
    folders, _ = write_iseg(tmp_path / "iseg", numbers=(1, 24))
    write_bobs(tmp_path / "bobs", SESSIONS[:1])
    dataset = convert_iseg(folders, 230, name="Infants", num_processes=1)
    before = content(dataset)
    with pytest.raises(UserError, match="says skull_stripped: True; expected the same"):
        convert_bobs([tmp_path / "bobs"], 230, name="Infants", add=True, keep_head=True, num_processes=1)
    with pytest.raises(UserError, match=r"has the channels \['T1', 'T2'\]; expected \['T2'\] to add to"):
        convert_bobs([tmp_path / "bobs"], 230, name="Infants", add=True, modalities=["T2"], num_processes=1)
    assert content(dataset) == before


def test_the_origin_beside_the_data_goes_before_the_usual_one(tmp_path, raw):
    write_bobs(tmp_path / "in", SESSIONS[:1])
    stand_in = {key: f"my {key}" for key in ("name", "description", "licence", "citation", "reference")}
    (tmp_path / "in/origin.json").write_text(json.dumps(stand_in))
    dataset = convert_bobs([tmp_path / "in"], 221, num_processes=1)
    assert content(dataset)["licence"] == "my licence"
    assert content(dataset)["origins"] == [stand_in]
    (tmp_path / "in/origin.json").write_text('{"name": "x"}')
    with pytest.raises(UserError, match=r"origin\.json does not say where the data come from"):
        convert_bobs([tmp_path / "in"], 222, num_processes=1)


@pytest.mark.parametrize("number", ["0", "-2", "many"])
def test_an_impossible_number_of_processes_is_one_sentence(tmp_path, capsys, number):
    with pytest.raises(SystemExit):
        cli.main(["convert_bobs", "-i", str(tmp_path), "-d", "14", f"-np={number}"])
    assert f"found '{number}'; expected a whole number from 1 to 1024" in capsys.readouterr().err
