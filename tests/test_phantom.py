import csv
import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.dataset_conversion.phantom import _subjects, make_subject, write_phantom
from nnunetv2_dualagg.dataset_conversion.tissue_maps import load_tissue_map
from nnunetv2_dualagg.simulation.anatomy import Anatomy, load_icbm152
from nnunetv2_dualagg.simulation.contrast import SITES, TESTING_SITES, TRAINING_SITE, shifted
from nnunetv2_dualagg.simulation.deformation import random_tissue_fractions, smooth_field
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import MARK

SPACING = (4.0, 4.0, 4.0)
SIZE = (40, 48, 40)


@pytest.fixture(scope="module")
def icbm():
    return load_icbm152()


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Two nested ellipsoids as tissue maps, 2 mm: background, a shell of CSF, a shell of GM, WM."""
    folder = tmp_path_factory.mktemp("maps")
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (70, 86, 64)], indexing="ij")
    for i, shell in enumerate((0.8, 0.9)):
        radius = np.sqrt(x**2 + y**2 + z**2)
        labels = (radius < 0.98).astype(np.uint8) + (radius < shell) + (radius < shell - 0.3)
        nib.save(nib.Nifti1Image(labels, np.diag([2, 2, 2, 1])), folder / f"brain-{i}.nii.gz")
    return folder


def phantom(folder, **options):
    defaults = {"num_training": 2, "num_testing": 1, "size": SIZE, "spacing": SPACING}
    write_phantom(folder, **(defaults | options))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory, maps):
    return phantom(tmp_path_factory.mktemp("phantom") / "data", maps=maps)


def voxels(file):
    return np.squeeze(np.asanyarray(nib.load(file).dataobj))


def subject(anatomy, site=TRAINING_SITE, seed=0, **options):
    options = {"size": SIZE, "spacing": SPACING} | options
    return make_subject(anatomy, site, np.random.default_rng(seed), **options)


def digests(folder):
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*") if f.is_file()
    }


def overlap(a, b):
    """Area common to the histograms of two samples, each of area 1."""
    bins = np.histogram_bin_edges(np.concatenate([a, b]), 60)
    return np.minimum(np.histogram(a, bins)[0] / a.size, np.histogram(b, bins)[0] / b.size).sum()


def test_layout_is_the_challenges(data):
    places = ("iSeg-2019-Training", "iSeg-2019-Testing", "iSeg-2019-Testing-labels")
    expected = {MARK, "sites.csv", *(f"{place}/origin.json" for place in places)}
    for part in (".hdr", ".img"):
        for n in (1, 2):
            expected |= {f"iSeg-2019-Training/subject-{n}-{m}{part}" for m in ("T1", "T2", "label")}
        for n in (24, 25, 26):
            expected |= {f"iSeg-2019-Testing/subject-{n}-{m}{part}" for m in ("T1", "T2")}
            expected |= {f"iSeg-2019-Testing-labels/subject-{n}-label{part}"}
    assert set(digests(data)) == expected
    with open(data / "sites.csv", newline="") as file:
        sites = {int(row["subject"]): row["site"] for row in csv.DictReader(file)}
    assert sites == {1: "MAP", 2: "MAP", 24: "BCP", 25: "Stanford", 26: "Emory"}


@pytest.mark.parametrize("n", [1, 25])
def test_images_of_a_subject_belong_together(data, n):
    label_file = next(data.rglob(f"subject-{n}-label.img"))
    label = voxels(label_file)
    assert label.dtype == np.uint8
    assert set(np.unique(label)) == {0, 1, 2, 3}
    for modality in ("T1", "T2"):
        file = next(data.rglob(f"subject-{n}-{modality}.img"))
        assert nib.load(file).shape == (*SIZE, 1)
        assert nib.load(file).header.get_zooms()[:3] == SPACING
        assert np.array_equal(nib.load(file).affine, nib.load(label_file).affine)
        image = voxels(file)
        assert image.dtype == np.int16
        assert np.array_equal(image > 0, label > 0)


def test_same_seed_same_bytes_whatever_the_number_of_processes(data, maps, tmp_path):
    assert digests(phantom(tmp_path / "again", maps=maps, processes=2)) == digests(data)
    other = digests(phantom(tmp_path / "other", maps=maps, seed=1))
    images = [f for f in other if f.endswith(".img")]
    assert all(other[f] != digests(data)[f] for f in images)


def test_more_subjects_leave_the_others_alone(data, maps, tmp_path):
    few, more = digests(data), digests(phantom(tmp_path / "more", maps=maps, num_training=4, num_testing=2))
    training = [f for f in few if "Training/" in f]
    assert all(few[f] == more[f] for f in training)
    assert more["iSeg-2019-Training/subject-3-T1.img"] != more["iSeg-2019-Training/subject-1-T1.img"]
    # The first subject of the second site is number 25 of three and 26 of six; its map is the same, too.
    assert few["iSeg-2019-Testing/subject-24-T1.img"] == more["iSeg-2019-Testing/subject-24-T1.img"]
    assert few["iSeg-2019-Testing/subject-25-T1.img"] != more["iSeg-2019-Testing/subject-25-T1.img"]


@pytest.mark.parametrize(
    ("num_training", "num_testing", "expected", "said"),
    [
        (1, 1, ["0", "1", "1", "1"], "2 tissue maps for 4 subjects: some subjects share an anatomy.\n"),
        (2, 1, ["0", "1", "0", "1", "0"], "share an anatomy, testing subjects with training subjects.\n"),
        (2, 0, ["0", "1"], ""),
    ],
)
def test_testing_subjects_have_maps_that_no_training_subject_has(
    maps, capsys, num_training, num_testing, expected, said
):
    subjects = _subjects(maps, [TRAINING_SITE], num_training, num_testing, seed=0)
    assert [subject.anatomy.name[-len("0.nii.gz")] for subject in subjects] == expected
    out = capsys.readouterr().out
    assert out.endswith(said)
    assert bool(out) == bool(said)


def test_nifti_is_an_option(data, maps, tmp_path):
    folder = phantom(tmp_path / "nifti", maps=maps, file_ending=".nii.gz", num_testing=0)
    assert sorted(f.name for f in (folder / "iSeg-2019-Training").iterdir())[1] == "subject-1-T1.nii.gz"
    for modality in ("T1", "T2", "label"):
        file = folder / f"iSeg-2019-Training/subject-2-{modality}.nii.gz"
        assert nib.load(file).shape == SIZE
        assert np.array_equal(voxels(file), voxels(data / f"iSeg-2019-Training/subject-2-{modality}.img"))
    again = phantom(tmp_path / "again", maps=maps, file_ending=".nii.gz", num_testing=0)
    assert digests(again) == digests(folder)


def test_training_subjects_at_several_sites_are_the_same_brains(data, maps, tmp_path):
    folder = phantom(tmp_path / "sites", maps=maps, training_sites=["MAP", "Emory"]) / "iSeg-2019-Training"
    for modality in ("T1", "T2", "label"):  # the first site's subjects are what they are without the others
        first = [voxels(f / f"subject-2-{modality}.img") for f in (folder, data / "iSeg-2019-Training")]
        assert np.array_equal(*first)
    scans = [voxels(folder / f"subject-{n}-T1.img") for n in (2, 4)]
    labels = [voxels(folder / f"subject-{n}-label.img") for n in (2, 4)]
    assert np.array_equal(*labels)
    gm = labels[0] == 2
    assert scans[1][gm].mean() == pytest.approx(8 / 5 * scans[0][gm].mean(), rel=0.1)  # the gains of the scanners
    rows = (tmp_path / "sites" / "sites.csv").read_text().split()
    assert rows[1:5] == ["1,MAP", "2,MAP", "3,Emory", "4,Emory"]
    assert rows[5:] == ["24,BCP", "25,Stanford", "26,Emory"]


def test_shift_moves_the_other_sites_away_from_the_training_site(data, maps, tmp_path):
    far = phantom(tmp_path / "far", maps=maps, shift=2)
    origin = json.loads((far / "iSeg-2019-Testing" / "origin.json").read_text())
    assert "other sites shifted by 2)" in origin["description"]
    for modality in ("T1", "T2", "label"):  # the training site stays
        name = f"iSeg-2019-Training/subject-2-{modality}.img"
        assert np.array_equal(voxels(far / name), voxels(data / name))

    def noise(folder):
        t1 = voxels(folder / "iSeg-2019-Testing/subject-26-T1.img").astype(float)
        gm = voxels(folder / "iSeg-2019-Testing-labels/subject-26-label.img") == 2
        return t1[gm].std() / t1[gm].mean()

    assert noise(far) > 1.1 * noise(data)


def test_shifted_site_by_hand():
    emory = SITES["Emory"]
    assert shifted(emory, 1) == emory
    assert shifted(SITES["MAP"], 1.7) == SITES["MAP"]
    far = shifted(emory, 2).t1  # MAP has csf 0.55, wm 1.035, noise 0.045; Emory 0.62, 1.08, 0.06
    assert [far.csf, far.wm, far.noise] == pytest.approx([0.69, 1.125, 0.075])
    assert far.gain == emory.t1.gain


@pytest.mark.parametrize("shift", [0, -1, 2.1, float("nan")])
def test_shift_out_of_range(tmp_path, shift):
    with pytest.raises(UserError, match="expected a number above 0 and up to 2"):
        phantom(tmp_path / "no", shift=shift)


@pytest.mark.parametrize("sites", [[], ["MAP", "MAP"], ["Utopia"]])
def test_training_sites_that_are_none(tmp_path, sites):
    with pytest.raises(UserError, match="expected some of MAP, BCP, Stanford, Emory"):
        phantom(tmp_path / "no", training_sites=sites)
    assert not (tmp_path / "no").exists()


def test_more_than_23_training_subjects_push_the_testing_subjects_up(maps, tmp_path):
    folder = phantom(tmp_path / "many", maps=maps, num_training=24, spacing=(12, 12, 12), size=(16, 16, 16))
    assert sorted(f.name for f in (folder / "iSeg-2019-Testing").glob("*-T1.img")) == [
        f"subject-{n}-T1.img" for n in (25, 26, 27)
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_site_is_isointense(icbm, seed):
    made = subject(icbm, seed=seed)
    csf, gm, wm = (made["label"] == value for value in (1, 2, 3))
    assert overlap(made["T1"][gm], made["T1"][wm]) >= 0.5
    assert overlap(made["T2"][gm], made["T2"][wm]) >= 0.3
    # Away from partial volume CSF is far brighter than the rest on T2 and darker on T1.
    inner = ndimage.binary_erosion(csf)
    assert np.percentile(made["T2"][inner], 5) > np.percentile(made["T2"][gm & ~ndimage.binary_dilation(csf)], 95)
    assert made["T1"][csf].mean() < 0.8 * made["T1"][gm].mean()


def test_deep_white_matter_differs_from_subcortical(icbm):
    made = subject(icbm, spacing=(2.0,) * 3, size=(80, 96, 80))
    wm = made["label"] == 3
    depth = ndimage.distance_transform_edt(wm, 2.0)
    deep, subcortical = depth > 8, wm & (depth > 2) & (depth < 4.5)
    ratios = [made[m][deep].mean() / made[m][subcortical].mean() for m in ("T1", "T2")]
    assert 1.02 < ratios[0] < 1.12
    assert 0.88 < ratios[1] < 0.98


def test_sites_scan_the_same_brain_differently(icbm):
    made = [subject(icbm, site) for site in (TRAINING_SITE, *TESTING_SITES)]
    assert all(np.array_equal(made[0]["label"], other["label"]) for other in made)
    for modality in ("T1", "T2"):
        gm, wm, csf = ([m[modality][m["label"] == value].mean() for m in made] for value in (2, 3, 1))
        assert np.min(np.abs(np.subtract.outer(gm, gm))[~np.eye(4, dtype=bool)]) > 20
        # Not a mere gain: the contrasts differ, too.
        assert np.ptp(np.divide(wm, gm)) > 0.02
        assert np.ptp(np.divide(csf, gm)) > 0.05


def test_brain_keeps_its_size_in_mm(icbm):
    volumes = []
    for spacing, size in (((4.0, 4.0, 4.0), SIZE), ((2.0, 3.0, 4.0), (80, 64, 40))):
        label = subject(icbm, spacing=spacing, size=size)["label"]
        assert label.shape == size
        volumes.append(np.count_nonzero(label) * np.prod(spacing) / 1000)
    adult = np.count_nonzero(icbm.labels) * np.prod(icbm.spacing) / 1000
    assert volumes[0] == pytest.approx(volumes[1], rel=0.02)
    assert volumes[0] == pytest.approx(0.85**3 * adult, rel=0.25)


def test_larger_image_holds_the_same_brain(icbm):
    small, large = subject(icbm), subject(icbm, size=tuple(n + 10 for n in SIZE))
    for name, image in small.items():
        assert np.array_equal(large[name][5:-5, 5:-5, 5:-5], image)


def test_fractions_are_shares_and_label_is_the_largest(icbm):
    fractions = random_tissue_fractions(icbm, np.random.default_rng(0).spawn(2)[0], SPACING)
    assert fractions.min() >= 0
    assert fractions.sum(0).max() <= 1 + 1e-4
    assert np.all(np.concatenate([fractions[:, 0], fractions[:, -1]]) == 0)
    label = subject(icbm)["label"]
    for value, fraction in enumerate(fractions, 1):
        assert np.count_nonzero(label == value) == pytest.approx(fraction.sum(), rel=0.4)


def test_icbm_has_no_infratentorial(icbm):
    volumes = np.bincount(icbm.labels.ravel())[1:] * np.prod(icbm.spacing) / 1000
    assert icbm.labels.shape[2] < 145  # the atlas with brain stem is 152 voxels high, with the rim 154
    assert 1200 < volumes.sum() < 1500
    assert np.all(volumes / volumes.sum() > 0.12)


def test_smooth_field_is_standardised_and_independent_of_the_grid():
    fields = [smooth_field(np.random.default_rng(s), (20, 20, 20), (8.0, 8.0, 8.0), 12.0) for s in range(20)]
    assert np.mean(fields) == pytest.approx(0, abs=0.05)
    assert np.var(fields) == pytest.approx(1, rel=0.1)
    coarse = smooth_field(np.random.default_rng(0), (9, 9, 9), (8.0, 8.0, 8.0), 30.0)
    fine = smooth_field(np.random.default_rng(0), (17, 17, 17), (4.0, 4.0, 4.0), 30.0)
    assert np.allclose(coarse, fine[::2, ::2, ::2], atol=1e-5)


def test_maps_are_turned_to_ras_and_bathed_in_csf(tmp_path):
    labels = np.zeros((30, 20, 16), np.uint8)  # axes left, anterior, superior of 1, 2 and 1.5 mm
    labels[4:26, 4:16, 4:12] = 3
    labels[4:8, 4:16, 4:12] = 2
    labels[25, 10, 8] = 1
    labels[15, 10, 8] = 0  # a hole
    labels[20, 10, 8:12] = 0  # a gap that is open above
    file = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(labels, np.diag([-1.0, 2.0, 1.5, 1])), file)
    anatomy = load_tissue_map(file)
    assert anatomy.spacing == (1.0, 2.0, 1.5)
    assert anatomy.labels.shape == (24, 14, 10)
    assert np.array_equal(np.bincount(anatomy.labels.ravel())[2:], np.bincount(labels.ravel())[2:])
    inner = anatomy.labels[1:-1, 1:-1, 1:-1]
    assert np.all(inner[-4:] == 2)  # the left side comes first in RAS
    assert inner[0, 6, 4] == inner[10, 6, 4] == inner[5, 6, 7] == 1
    rim = anatomy.labels.copy()
    rim[1:-1, 1:-1, 1:-1] = 0
    assert set(np.unique(rim)) == {0, 1}


def test_command_line(maps, tmp_path, capsys):
    arguments = ["phantom", "-o", str(tmp_path / "out"), "-maps", str(maps), "--num_training", "1", "--num_testing"]
    arguments += ["1", "--spacing", "4", "--size", *map(str, SIZE), "-seed", "3", "-np", "1"]
    assert main(arguments) == 0
    assert (tmp_path / "out" / "iSeg-2019-Testing" / "subject-26-T2.img").is_file()
    assert main(arguments) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == ["out"]


def test_unwritable_output_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["phantom", "-o", str(tmp_path / "file" / "out"), "-np", "1"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("Error: ")
    assert str(tmp_path / "file") in message
    assert message.count("\n") == 1


def test_converter_takes_it(data, tmp_path, monkeypatch):
    """The layout as another module reads it: splits by folder, sites by the table, label values unchanged."""
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    folders = [str(data / name) for name in ("iSeg-2019-Training", "iSeg-2019-Testing")]
    assert main(["convert_iseg", "-i", *folders, "-d", "7", "-sites", str(data / "sites.csv"), "-np", "1"]) == 0
    (raw,) = tmp_path.glob("Dataset007_*")
    assert [len(list((raw / name).iterdir())) for name in ("imagesTr", "labelsTr", "imagesTs")] == [4, 2, 6]
    sites = json.loads((raw / "sites.json").read_text())
    assert sorted(entry["site"] for entry in sites.values()) == ["BCP", "Emory", "MAP", "MAP", "Stanford"]
    description = json.loads((raw / "dataset.json").read_text())
    assert description["description"].startswith("phantom: adult anatomy from tissue maps")
    assert [origin["name"] for origin in description["origins"]] == ["phantom"]
    for words in (description["description"], description["licence"], description["reference"]):
        assert "iSeg" not in words
        assert "must not be passed on" not in words
    converted = sorted((raw / "labelsTr").iterdir())[0]
    assert np.array_equal(voxels(converted), voxels(data / "iSeg-2019-Training/subject-1-label.img"))


def bad_values(folder):
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), 10, np.uint8), np.eye(4)), folder / "bad.nii.gz")


def bad_bytes(folder):
    (folder / "bad.nii.gz").write_bytes(b"not a NIfTI file")


def truncated(folder):
    bad_values(folder)
    content = (folder / "bad.nii.gz").read_bytes()
    (folder / "bad.nii.gz").write_bytes(content[: len(content) // 2])


def four_dimensional(folder):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.uint8), np.eye(4)), folder / "bad.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: None, "holds no tissue maps"),
        (lambda folder: folder.rmdir(), "not a folder"),
        (bad_values, "bad.nii.gz has the values 10;"),
        (bad_bytes, "bad.nii.gz is truncated or damaged"),
        (truncated, "bad.nii.gz is truncated or damaged"),
        (four_dimensional, r"bad.nii.gz has shape \(4, 4, 4, 2\)"),
    ],
)
def test_bad_maps_are_named_and_nothing_is_written(tmp_path, spoil, message):
    folder = tmp_path / "maps"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(UserError, match=message):
        phantom(tmp_path / "out", maps=folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_brain_that_does_not_fit(maps, tmp_path, processes):
    with pytest.raises(UserError, match=r"made from brain-0.nii.gz has .* does not fit into the size 20 x 20 x 20"):
        phantom(tmp_path / "out", maps=maps, size=(20, 20, 20), processes=processes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option", [{"spacing": (1, 0, 1)}, {"num_training": 0}, {"seed": -1}, {"file_ending": ".mha"}, {"processes": 0}]
)
def test_options_out_of_range(maps, tmp_path, option):
    with pytest.raises(UserError):
        phantom(tmp_path / "out", maps=maps, **option)
    assert list(tmp_path.iterdir()) == []


def test_without_nilearn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nilearn", None)
    with pytest.raises(UserError, match=r"nnunetv2-dualagg\[demo\]"):
        load_icbm152()


def test_anatomy_is_not_changed(icbm):
    before = icbm.labels.copy()
    subject(Anatomy("copy", icbm.labels, icbm.spacing))
    assert np.array_equal(before, icbm.labels)
