"""The model that comes with the package."""

import json

import nibabel as nib
import numpy as np
import pytest
from infant_images import affine, save

from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.dataset_conversion.phantom import make_subject
from nnunetv2_dualagg.inference.bundle import INSTALLED, read_bundle
from nnunetv2_dualagg.simulation.anatomy import load_icbm152
from nnunetv2_dualagg.simulation.contrast import SITES


@pytest.fixture(scope="module")
def subject():
    """An anatomy and a scanner that it has not seen, 2 mm."""
    rng = np.random.default_rng(5)
    return make_subject(load_icbm152(), SITES["BCP"], rng, (72, 88, 72), (2.0, 2.0, 2.0))


def test_it_says_what_it_is():
    assert INSTALLED.stat().st_size < 1.2e6
    bundle = read_bundle(INSTALLED)
    assert "never validated on infants" in bundle.content["description"]
    assert bundle.content["trainer"].startswith("nnUNetTrainerDualAggSynthetic")
    assert bundle.content["dataset"]["channel_names"] == {"0": "T1", "1": "T2"}
    assert bundle.content["licence"] == "Apache-2.0"


def test_segment_uses_it_and_finds_the_tissues(tmp_path, subject, capsys):
    t1, t2 = (
        save(subject[name], affine("LAS", 2.0, subject[name].shape), tmp_path / f"sub-01_{name}w.nii.gz")
        for name in ("T1", "T2")
    )
    options = ["-step_size", "1", "--no-registration"]  # for speed
    assert main(["segment", "-i", str(t1), str(t2), "-o", str(tmp_path / "out"), *options]) == 0
    assert "never validated on infants" in capsys.readouterr().out
    found = np.asarray(nib.load(tmp_path / "out" / "sub-01_dseg.nii.gz").dataobj)
    pairs = [(found == tissue, subject["label"] == tissue) for tissue in (1, 2, 3)]
    dice = [2 * (mine & truth).sum() / (mine.sum() + truth.sum()) for mine, truth in pairs]
    assert min(dice) > 0.65  # half the resolution that it was trained for, and windows that do not overlap
    assert np.mean(dice) > 0.75
    assert not found[subject["T1"] == 0].any()
    record = json.loads((tmp_path / "out" / "sub-01_dseg.json").read_text())
    assert record["Model"]["file"] == INSTALLED.name


def test_unpack_model_takes_it(tmp_path, capsys):
    assert main(["unpack_model", "-o", str(tmp_path / "model")]) == 0
    assert (tmp_path / "model" / "fold_0" / "checkpoint_final.pth").is_file()
