import re
import zipfile

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from iseg_files import CODING_2017, SMALL, brain, set_nnunet_folders, write_image, write_iseg, write_subject
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.dataset_conversion.iseg.convert import convert_iseg
from nnunetv2_dualagg.dataset_conversion.iseg.submit import submit_iseg
from nnunetv2_dualagg.dataset_conversion.volumes import save_nifti
from nnunetv2_dualagg.utils.errors import UserError


@pytest.fixture
def raw(tmp_path, monkeypatch):
    return set_nnunet_folders(tmp_path, monkeypatch)


@pytest.fixture
def testing(tmp_path):
    """A testing folder of two subjects, their predictions, and the labels that these hold."""
    folders, arrays = write_iseg(tmp_path / "in", numbers=(24, 35), fourth=True, order=">", spacing=(1, 1, 1.5))
    (tmp_path / "pred").mkdir()
    for number, (label, _, _) in arrays.items():
        save_nifti(label, (1, 1, 1.5), tmp_path / f"pred/iSeg_{number:03d}.nii.gz")
    (tmp_path / "pred/dataset.json").write_text("{}")
    (tmp_path / "pred/iSeg_024.npz").touch()
    return tmp_path / "pred", folders[0], {number: label for number, (label, _, _) in arrays.items()}


def test_writes_a_flat_zip_of_pairs_with_the_t1s_own_header(tmp_path, testing):
    predictions, folder, labels = testing
    assert submit_iseg(predictions, folder, tmp_path / "out.zip") == [24, 35]
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        names = [f"subject-{n}-label.{ending}" for n in (24, 35) for ending in ("hdr", "img")]
        assert archive.namelist() == names
        archive.extractall(tmp_path / "out")
    for number, label in labels.items():
        assert (tmp_path / f"out/subject-{number}-label.img").read_bytes() == label.tobytes(order="F")
        written = (tmp_path / f"out/subject-{number}-label.hdr").read_bytes()
        own = (folder / f"subject-{number}-T1.hdr").read_bytes()
        differing = {n for n in range(348) if written[n] != own[n]}
        assert differing <= set(range(70, 74))  # data type and bits a voxel
        header = nib.AnalyzeHeader(written)
        assert header.get_data_dtype() == np.uint8
        assert header.get_data_shape() == (*SMALL, 1)
        assert header.endianness == ">"


def test_a_mirrored_file_would_be_seen(tmp_path, testing):
    """The object has no symmetry, and each of two libraries reads the submission as it reads the original label."""
    predictions, folder, labels = testing
    submit_iseg(predictions, folder, tmp_path / "out.zip")
    zipfile.ZipFile(tmp_path / "out.zip").extractall(tmp_path / "out")
    for number, label in labels.items():
        assert not any(np.array_equal(label, np.flip(label, axis)) for axis in range(3))
        write_subject(tmp_path / "original", number, fourth=True, order=">", spacing=(1, 1, 1.5))
        ours, theirs = (tmp_path / f"{place}/subject-{number}-label.hdr" for place in ("out", "original"))
        first, second = nib.load(ours), nib.load(theirs)
        np.testing.assert_array_equal(first.get_fdata(), second.get_fdata())
        np.testing.assert_array_equal(first.affine, second.affine)
        first, second = sitk.ReadImage(str(ours)), sitk.ReadImage(str(theirs))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(first), label.transpose(2, 1, 0))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))
        assert (first.GetDirection(), first.GetOrigin()) == (second.GetDirection(), second.GetOrigin())


@pytest.mark.parametrize("reader_writer", [SimpleITKIO, NibabelIO])
def test_takes_what_nnunet_writes(tmp_path, raw, reader_writer):
    folders, arrays = write_iseg(tmp_path / "in", numbers=(24,), ending=".nii.gz", spacing=(0.9, 1, 1.1))
    dataset = convert_iseg(folders, 219, num_processes=1)
    files = [str(dataset / f"imagesTs/iSeg_024_000{n}.nii.gz") for n in (0, 1)]
    images, properties = reader_writer().read_images(files)
    (tmp_path / "pred").mkdir()
    tissues = np.digitize(images[0], [1, 300, 600])  # of T1, a network that is easy to understand
    reader_writer().write_seg(tissues, str(tmp_path / "pred/iSeg_024.nii.gz"), properties)
    submit_iseg(tmp_path / "pred", folders[0], tmp_path / "out.zip")
    expected = np.digitize(arrays[24][1], [1, 300, 600]).astype(np.uint8)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.read("subject-24-label.img") == expected.tobytes(order="F")
        header = nib.AnalyzeHeader(archive.read("subject-24-label.hdr"))
    assert header.get_data_shape() == SMALL
    np.testing.assert_allclose(header.get_zooms(), (0.9, 1, 1.1), rtol=1e-6)


def test_the_t1s_scale_and_display_range_do_not_change_the_labels(tmp_path, testing):
    predictions, folder, labels = testing
    write_image(folder / "subject-24-T1", brain(seed=24)[1], slope=0.25, display=(1, 0, 1000, 0))
    submit_iseg(predictions, folder, tmp_path / "out.zip")
    zipfile.ZipFile(tmp_path / "out.zip").extractall(tmp_path / "out")
    np.testing.assert_array_equal(nib.load(tmp_path / "out/subject-24-label.hdr").get_fdata(), labels[24])


@pytest.mark.parametrize(
    ("year", "options", "values"),
    [(2017, {}, (0, 10, 150, 250)), (2019, {}, (0, 1, 2, 3)), (2019, {"year": 2019}, (0, 1, 2, 3)),
     (2017, {"values": (9, 8, 7, 6)}, (9, 8, 7, 6))],
)  # fmt: skip
def test_label_values_by_year_or_as_given(tmp_path, year, options, values):
    (folder,), arrays = write_iseg(tmp_path / "in", year, numbers=(11,), ending=".nii")
    (tmp_path / "pred").mkdir()
    save_nifti(arrays[11][0], (1, 1, 1), tmp_path / "pred/iSeg_011.nii.gz")
    submit_iseg(tmp_path / "pred", folder, tmp_path / "out.zip", **options)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        voxels = np.frombuffer(archive.read("subject-11-label.img"), np.uint8)
    np.testing.assert_array_equal(voxels, np.array(values, np.uint8)[arrays[11][0]].ravel(order="F"))


def test_a_year_that_the_names_contradict_is_refused(tmp_path):
    (folder,), arrays = write_iseg(tmp_path / "in", 2019, numbers=(11,), ending=".nii")
    (tmp_path / "pred").mkdir()
    save_nifti(arrays[11][0], (1, 1, 1), tmp_path / "pred/iSeg_011.nii.gz")
    with pytest.raises(UserError, match="is iSeg-2019 by names or numbers, but -year says 2017"):
        submit_iseg(tmp_path / "pred", folder, tmp_path / "out.zip", year=2017)


def test_a_partial_set_only_if_asked_for_and_others_are_left_out(tmp_path, testing):
    predictions, folder, labels = testing
    (predictions / "iSeg_035.nii.gz").unlink()
    save_nifti(labels[35], (1, 1, 1), predictions / "iSeg_011.nii.gz")  # of another folder
    with pytest.raises(UserError, match=r"no prediction for the subjects 35 of .*--partial"):
        submit_iseg(predictions, folder, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    assert submit_iseg(predictions, folder, tmp_path / "out.zip", partial=True) == [24]


def test_one_split_of_a_folder_with_all(tmp_path, testing):
    predictions, folder, _ = testing
    write_iseg(folder.parent, numbers=(1, 11))
    with pytest.raises(UserError, match="no prediction for the subjects 1, 11 of"):
        submit_iseg(predictions, folder.parent, tmp_path / "out.zip")
    assert submit_iseg(predictions, folder.parent, tmp_path / "out.zip", split="testing") == [24, 35]


def _prediction(change, **options):
    def spoil(predictions, folder):
        voxels = np.asanyarray(nib.load(predictions / "iSeg_024.nii.gz").dataobj)
        save_nifti(change(voxels), (1, 1, 1.5), predictions / "iSeg_024.nii.gz")

    return spoil


def _reoriented(predictions, folder):
    image = nib.load(predictions / "iSeg_024.nii.gz")
    nib.save(nib.as_closest_canonical(image), predictions / "iSeg_024.nii.gz")


FAULTS = {
    "shape": (_prediction(lambda v: v[1:]), r"iSeg_024\.nii\.gz has shape \(11, 14, 10\); expected \(12, 14, 10\)"),
    "labels": (_prediction(lambda v: CODING_2017[v]), r"iSeg_024\.nii\.gz holds the labels 0, 10, 150, 250; expected"),
    "fractions": (_prediction(lambda v: v * np.float32(0.5)), r"iSeg_024\.nii\.gz holds the labels 0, 0\.5"),
    "orientation": (_reoriented, r"iSeg_024\.nii\.gz has orientation RAS; expected LAS"),
    "cut off": (
        lambda p, f: (p / "iSeg_035.nii.gz").write_bytes((p / "iSeg_035.nii.gz").read_bytes()[:99]),
        r"iSeg_035\.nii\.gz is truncated",
    ),
    "two of one": (lambda p, f: (p / "iSeg_24.nii").touch(), r"second prediction for subject 24"),
    "no T1": (lambda p, f: [path.unlink() for path in f.glob("subject-35-T1.*")], "no T1 of the subjects 35; expected"),
    "T1's img": (lambda p, f: (f / "subject-24-T1.img").unlink(), r"subject-24-T1\.hdr has no voxels; expected"),
    "no predictions": (lambda p, f: [path.unlink() for path in p.iterdir()], "holds no predictions; expected"),
    "names": (lambda p, f: (p / "iSeg_035.nii.gz").rename(p / "case_035.nii.gz"), "no prediction for the subjects 35"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_refuses_in_one_sentence_and_leaves_nothing(tmp_path, testing, capsys, fault):
    predictions, folder, _ = testing
    spoil, sentence = FAULTS[fault]
    spoil(predictions, folder)
    target = tmp_path / "sub/out.zip"
    assert cli.main(["submit_iseg", "-i", str(predictions), "-r", str(folder), "-o", str(target)]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error")]
    assert len(errors) == 1
    assert re.search(sentence, errors[0]), errors
    assert not target.parent.exists() or list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "out.tar"], r"out\.tar does not end with \.zip"),
        (["-values", "0", "1", "1", "2"], "values are 0, 1, 1, 2; expected four different"),
        (["-values", "0", "1", "2", "256"], "expected four different ones, 0 to 255"),
        (["-split", "training"], "holds no training subject"),
        (["-i", "missing"], "missing is not a folder"),
        (["-r", "missing"], "missing: found nothing there"),
    ],
)
def test_bad_options(tmp_path, testing, capsys, monkeypatch, arguments, sentence):
    predictions, folder, _ = testing
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    command = ["submit_iseg", "-i", str(predictions), "-r", str(folder), "-o", "out.zip", *arguments]
    assert cli.main(command) == 1
    assert re.search(sentence, capsys.readouterr().err)
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_tells_the_year(tmp_path):
    write_subject(tmp_path / "data", 11, label=False)
    with pytest.raises(UserError, match="-year 2017 or 2019"):
        submit_iseg(tmp_path, tmp_path / "data", tmp_path / "out.zip")


def test_an_existing_zip_is_kept_unless_asked(tmp_path, testing, capsys):
    predictions, folder, _ = testing
    (tmp_path / "out.zip").write_text("mine")
    command = ["submit_iseg", "-i", str(predictions), "-r", str(folder), "-o", str(tmp_path / "out.zip")]
    assert cli.main(command) == 1
    assert (tmp_path / "out.zip").read_text() == "mine"
    assert cli.main([*command, "--overwrite"]) == 0
    assert "2 subjects (24, 35)" in capsys.readouterr().out
    assert zipfile.is_zipfile(tmp_path / "out.zip")


def test_a_full_disk_leaves_nothing(tmp_path, testing, capsys, monkeypatch):
    predictions, folder, _ = testing
    written = []

    def full_after_one(self, name, data):
        if written:
            raise OSError(28, "No space left on device")
        written.append(name)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full_after_one)
    target = tmp_path / "sub/out.zip"
    assert cli.main(["submit_iseg", "-i", str(predictions), "-r", str(folder), "-o", str(target)]) == 1
    assert f"Error: {target}: No space left on device" in capsys.readouterr().err
    assert list(target.parent.iterdir()) == []
