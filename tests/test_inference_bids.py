import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from infant_images import affine, images, save, tissues, with_head, write_bids
from packed_model import write_complete_model

from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.inference import load_model, segment
from nnunetv2_dualagg.inference.bids import find_cases
from nnunetv2_dualagg.inference.packing import pack_model
from nnunetv2_dualagg.utils.errors import UserError

pytest.importorskip("bids", reason="pybids is not installed")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("trained")
    write_complete_model(folder / "model", patch_size=(24, 24, 24))
    plans = json.loads((folder / "model" / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["spacing"] = [4.0, 4.0, 4.0]
    (folder / "model" / "plans.json").write_text(json.dumps(plans))
    return pack_model(folder / "model", folder / "model.safetensors", [0])


def files(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_a_data_set_becomes_a_valid_derivative(tmp_path, model_file, capsys):
    raw = write_bids(tmp_path / "raw", ("01", "02"), session="6mo")
    (raw / "sub-02/ses-6mo/anat/sub-02_ses-6mo_T2w.nii.gz").unlink()
    out = tmp_path / "derivative"
    line = ["segment", "-i", str(raw), "-o", str(out), "-m", str(model_file), "--disable_tta", "--no-registration"]
    assert main(line) == 1
    assert "1 of 2 could not be segmented (the others are done): sub-02_ses-6mo: sub-02_ses-6mo has 1 image(s)" in (
        capsys.readouterr().err
    )
    prefix = "sub-01/ses-6mo/anat/sub-01_ses-6mo_desc-dualagg"
    assert files(out) == {
        *("dataset_description.json", "dseg.tsv", "README", ".bidsignore"),
        *(f"{prefix}_{ending}" for ending in ("dseg.nii.gz", "dseg.json", "volumes.tsv", "preview.png")),
    }
    assert (out / "dseg.tsv").read_text().splitlines()[1] == "1\tCSF\tCSF\t3"
    record = json.loads((out / f"{prefix}_dseg.json").read_text())
    assert record["Sources"][1] == "bids:raw:sub-01/ses-6mo/anat/sub-01_ses-6mo_T2w.nii.gz"
    validate(out)


def validate(folder: Path):
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent)) or shutil.which(
        "bids-validator-deno"
    )
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([validator, "--format", "json", str(folder)], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    errors = [issue for issue in report["issues"]["issues"] if issue.get("severity") == "error"]
    assert not errors


def test_subjects_are_chosen_and_not_segmented_twice(tmp_path, model_file):
    raw = write_bids(tmp_path / "raw", ("01", "02"))
    out = tmp_path / "out"
    model = load_model(model_file, mirroring=False, progress=False)
    options = {"progress": False, "registration": False}
    t1 = raw / "sub-02/anat/sub-02_T1w.nii.gz"
    t1.symlink_to(t1.rename(tmp_path / "annexed"))  # as DataLad keeps files
    (first,) = segment(raw, out, model, participants=["sub-02"], **options)
    assert first.name == "sub-02"
    assert [result.name for result in segment(raw, out, model, **options)] == ["sub-01"]
    assert segment(raw, out, model, **options) == []
    with pytest.raises(UserError, match="has no sub-03; it has sub-01, sub-02"):
        segment(raw, out, model, participants=["03"], **options)
    with pytest.raises(UserError, match=r"dataset_description\.json is missing"):
        segment(tmp_path, out, model, **options)
    with pytest.raises(UserError, match="is a BIDS data set of something else"):
        segment(raw, raw, model, **options)


def test_masks_of_a_derivative(tmp_path, model_file):
    raw = write_bids(tmp_path / "raw", ("01",))
    labels = tissues()
    for kind, image in images(labels).items():
        save(with_head(image), affine(), raw / "sub-01/anat" / f"sub-01_{kind}w.nii.gz")
    model = load_model(model_file, mirroring=False, progress=False)
    with pytest.raises(UserError, match="-mask"):
        segment(raw, tmp_path / "out", model, progress=False)
    masks = tmp_path / "masks"
    save((labels > 0).astype(np.uint8), affine(), masks / "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    description = {"Name": "Masks", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}
    (masks / "dataset_description.json").write_text(json.dumps(description))
    (result,) = segment(raw, tmp_path / "out", model, mask=masks, registration=False, progress=False)
    assert sum(result.volumes.values()) <= (labels > 0).sum() * 0.064 + 0.01


def test_images_that_are_left_out_are_named(tmp_path):
    raw = write_bids(tmp_path / "raw", ("01",))
    anat = raw / "sub-01/anat"
    (anat / "sub-01_T1w.nii.gz").rename(anat / "sub-01_run-2_T1w.nii.gz")
    shutil.copy(anat / "sub-01_run-2_T1w.nii.gz", anat / "sub-01_run-1_T1w.nii.gz")
    (case,) = find_cases(raw, tmp_path / "out", ["T1", "T2"])
    assert [file.name for file in case.files] == ["sub-01_run-1_T1w.nii.gz", "sub-01_T2w.nii.gz"]
    assert case.remarks == ("sub-01_run-1_T1w.nii.gz is used, not sub-01_run-2_T1w.nii.gz",)
