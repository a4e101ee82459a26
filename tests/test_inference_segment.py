import json
import threading

import nibabel as nib
import numpy as np
import pytest
import torch
from infant_images import affine, images, save, tissues, with_head, write_infant
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from packed_model import PLAIN_UNET, write_complete_model
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.inference import case, load_model, segment, segmenting
from nnunetv2_dualagg.inference.alignment import resample
from nnunetv2_dualagg.inference.case import align_images
from nnunetv2_dualagg.inference.images import Image
from nnunetv2_dualagg.inference.packing import pack_model
from nnunetv2_dualagg.inference.windows import WindowPredictor, are_empty
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER

PATCH = (24, 24, 24)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("trained") / "model"
    write_complete_model(folder, folds=(0, 1), patch_size=PATCH)
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["spacing"] = [4.0, 4.0, 4.0]
    (folder / "plans.json").write_text(json.dumps(plans))
    return folder


@pytest.fixture(scope="module")
def model_file(model_folder):
    return pack_model(model_folder, model_folder.parent / "model.safetensors", [0, 1])


@pytest.fixture(scope="module")
def model(model_file):
    return load_model(model_file, mirroring=False, progress=False)


def labels_of(file):
    return np.asarray(nib.load(file).dataobj)


def agreement(one, other, brain):
    return (one == other)[brain].mean()


@pytest.mark.slow
def test_same_labels_as_nnunetv2_predict(tmp_path, model_folder, model_file, monkeypatch):
    t1, t2 = write_infant(tmp_path / "infant")
    case = tmp_path / "case"
    case.mkdir()
    for channel, file in enumerate((t1, t2)):
        (case / f"case_{channel:04d}.nii.gz").write_bytes(file.read_bytes())
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    monkeypatch.setenv("nnUNet_extTrainer", str(EXT_TRAINER_FOLDER))
    predictor.initialize_from_trained_model_folder(str(model_folder), (0, 1))
    (tmp_path / "nnunet").mkdir()
    predictor.predict_from_files_sequential(str(case), str(tmp_path / "nnunet"))
    expected = labels_of(tmp_path / "nnunet" / "case.nii.gz")
    brain = tissues() > 0
    assert len(np.unique(expected[brain])) > 2  # otherwise anything would agree
    for number, chosen in enumerate((model_file, model_folder)):
        (result,) = segment([t1, t2], tmp_path / f"out{number}", chosen, progress=False)
        found = nib.load(result.file)
        assert np.allclose(found.affine, nib.load(t1).affine)
        assert agreement(np.asarray(found.dataobj), expected, brain) >= 0.999
        assert not np.asarray(found.dataobj)[~brain].any()


def test_windows_without_brain_are_skipped_where_the_background_is_known(tmp_path, monkeypatch):
    (network,) = write_complete_model(
        tmp_path / "model", trainer="nnUNetTrainerForeground", network_class=PLAIN_UNET, patch_size=(16, 16, 16)
    )
    network.known_background.set_rule(outside=True, inside=False)
    file = tmp_path / "model" / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(file, weights_only=False)
    torch.save({**checkpoint, "network_weights": network.state_dict()}, file)
    model = load_model(tmp_path / "model", mirroring=False, progress=False)
    corner = torch.zeros(2, 40, 40, 40)
    corner[:, :12, :12, :12] = torch.randn(2, 12, 12, 12)
    windows = []
    forward = model.predictor.network.forward
    monkeypatch.setattr(model.predictor.network, "forward", lambda x: windows.extend(x) or forward(x))
    found = model.predictor.predict_logits_from_preprocessed_data(corner)
    assert len(windows) == 8  # of 64; the others hold nothing
    monkeypatch.setattr(WindowPredictor, "_known_background", lambda *args: None)
    expected = model.predictor.predict_logits_from_preprocessed_data(corner)
    assert len(windows) == 8 + 64
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dimension", [2, 3])
def test_empty_windows_are_found_at_once(dimension):
    torch.manual_seed(0)
    image = torch.randn(2, 14, 15, 16) * (torch.rand(1, 14, 15, 16) < 0.003)
    image[0, 3, 4, 5] = float("nan")
    if dimension == 3:
        starts = [(x, y, z) for x in range(0, 11, 2) for y in range(0, 12) for z in range(0, 13, 3)]
        slicers = [(slice(None), *(slice(start, start + 4) for start in corner)) for corner in starts]
    else:
        slicers = [(slice(None), x, slice(y, y + 4), slice(y, y + 5)) for x in range(14) for y in range(0, 12)]
    expected = [not bool(image[where].any()) for where in slicers]
    assert 0.1 < np.mean(expected) < 0.9
    assert are_empty(image, slicers) == expected


@pytest.mark.parametrize("codes", ["RAS", "PIR"])
def test_orientation_of_the_files_does_not_matter(tmp_path, model, codes):
    straight = write_infant(tmp_path / "LAS")
    (expected,) = segment(straight, tmp_path / "straight", model, progress=False)
    tilt = np.eye(4)
    tilt[:3, :3] = Rotation.from_euler("xyz", (4, -6, 8), degrees=True).as_matrix()
    turned = []
    for file in straight:
        image = nib.load(file).as_reoriented(
            nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("LAS"), nib.orientations.axcodes2ornt(codes))
        )
        turned.append(save(np.asarray(image.dataobj), tilt @ image.affine, tmp_path / codes / file.name))
    (result,) = segment(turned, tmp_path / "turned", model, progress=False)
    found = nib.load(result.file)
    assert np.allclose(found.affine, nib.load(turned[0]).affine, atol=1e-4)
    back = nib.orientations.apply_orientation(
        np.asarray(found.dataobj),
        nib.orientations.ornt_transform(nib.orientations.axcodes2ornt(codes), nib.orientations.axcodes2ornt("LAS")),
    )
    assert agreement(back, labels_of(expected.file), tissues() > 0) >= 0.999  # sums of other order
    assert result.volumes == pytest.approx(expected.volumes, rel=0.01)


def moved(image, matrix, degrees, shift, spacing):
    """The image scanned again by an infant that has moved, on a coarser grid; and the grid's affine."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    motion[:3, 3] = shift
    shape = (48, 48, 30)
    grid = np.diag([*spacing, 1.0])
    grid[:3, 3] = -np.array(spacing) * (np.array(shape) - 1) / 2
    voxels = np.linalg.inv(matrix) @ np.linalg.inv(motion) @ grid
    return ndimage.affine_transform(image.astype(np.float32), voxels, output_shape=shape, order=1), grid


def test_motion_between_t1_and_t2_is_found_and_undone(tmp_path, model, capsys):
    t1, t2 = write_infant(tmp_path / "still")
    (still,) = segment([t1, t2], tmp_path / "a", model, progress=False)
    assert still.alignments["T2"]["resampled"] is False
    assert still.alignments["T2"]["displacement"] < 0.5
    image = nib.load(t2)
    data, grid = moved(np.asarray(image.dataobj), image.affine, 8, (4, 3, 0), (3.5, 3.5, 5.0))
    t2 = save(data, grid, tmp_path / "moved" / t2.name)
    (found,) = segment([t1, t2], tmp_path / "b", model)
    alignment = found.alignments["T2"]
    assert alignment["rotation"] == pytest.approx(8, abs=1.5)
    assert alignment["translation"] == pytest.approx(5, abs=1.5)
    assert alignment["resampled"]
    assert not alignment["flipped"]
    assert "rotated by" in capsys.readouterr().out
    record = json.loads((tmp_path / "b" / "sub-01_dseg.json").read_text())
    assert record["Alignment"]["T2"] == alignment


def test_what_was_zero_is_zero_after_resampling(model, monkeypatch):
    labels = tissues()
    t1, t2 = (Image(None, image.astype(np.float32), affine()) for image in images(labels).values())
    finer = Image(None, np.zeros((60, 70, 56), np.float32), affine("LAS", 2.4, (60, 70, 56)))
    everywhere = np.ones(finer.data.shape, bool)
    on_finer = resample(t2, finer, everywhere).data
    assert (on_finer == 0).mean() == pytest.approx((t2.data == 0).mean(), abs=0.02)
    given = {}

    def predict(data):
        given["data"] = data.numpy()
        return torch.zeros(4, *data.shape[1:])

    monkeypatch.setattr(model.predictor, "predict_logits_from_preprocessed_data", predict)
    both = np.stack([resample(image, finer, everywhere).data for image in (t1, t2)])
    model.predict(both, [2.4] * 3)  # the model's are 4 mm
    waves = (given["data"] != 0) & (np.abs(given["data"]) < 1e-3)
    assert waves.mean() < 1e-3
    assert (given["data"] == 0).all(0).mean() > 0.3


def test_accidents_are_told(tmp_path, model):
    t1, t2 = write_infant(tmp_path)

    def warnings(files, out, **kwargs):
        (result,) = segment(files, tmp_path / out, model, progress=False, **kwargs)
        return " | ".join(result.warnings)

    plain = warnings([t1, t2], "plain")
    assert "exchanged" not in plain
    assert "same image" not in plain
    assert "distributed unlike" not in plain
    assert "T1 and T2 seem to be exchanged" in warnings([t2, t1], "exchanged", registration=False)
    assert "T1 and T2 are the same image" in warnings([t1, t1], "same", registration=False)
    image = nib.load(t2)
    flipped = save(np.asarray(image.dataobj)[::-1], image.affine, tmp_path / "flipped_T2w.nii.gz")
    assert "left and right exchanged" in warnings([t1, flipped], "flipped")
    data = np.asarray(nib.load(t1).dataobj)
    spots = np.where((data > 0) & (np.random.default_rng(0).random(data.shape) < 0.02), 20 * data.astype(float), data)
    strange = save(spots.astype(np.float32), image.affine, tmp_path / "strange_T1w.nii.gz")
    assert "T1 are distributed unlike" in warnings([strange, t2], "strange", registration=False)
    small = [save(np.asarray(nib.load(f).dataobj), np.diag([2.0, 2, 2, 1]), tmp_path / "s" / f.name) for f in (t1, t2)]
    assert "implausible for an infant's brain" in warnings(small, "small", registration=False)


def test_a_skull_needs_a_mask(tmp_path, model, model_file, capsys):
    labels = tissues()
    heads = {kind: with_head(image) for kind, image in images(labels).items()}
    files = [save(head, affine(), tmp_path / f"a_{kind}.nii.gz") for kind, head in heads.items()]
    line = ["segment", "-i", *map(str, files), "-o", str(tmp_path / "out"), "-m", str(model_file)]
    assert main(line) == 1
    error = capsys.readouterr().err
    assert "give a mask of the brain with -mask FILE" in error
    assert "SynthStrip" in error
    assert not (tmp_path / "out").exists()
    far_away = affine()
    far_away[:3, 3] += 500
    elsewhere = save((labels > 0).astype(np.uint8), far_away, tmp_path / "m.nii.gz")
    with pytest.raises(UserError, match="covers no voxel"):
        segment(files, tmp_path / "out", model, mask=elsewhere, progress=False)
    beside = save(
        ((labels == 0) & (ndimage.distance_transform_edt(labels == 0) > 1)).astype(np.uint8),
        affine(),
        tmp_path / "b.nii.gz",
    )
    stripped = write_infant(tmp_path / "stripped")
    with pytest.raises(UserError, match="covers no brain"):
        segment(stripped, tmp_path / "out", model, mask=beside, progress=False)
    mask = save((labels > 0).astype(np.uint8), affine(), tmp_path / "mask.nii.gz")
    (masked,) = segment(files, tmp_path / "out", model, mask=mask, registration=False, progress=False)
    (expected,) = segment(stripped, tmp_path / "expected", model, registration=False, progress=False)
    assert np.array_equal(labels_of(masked.file), labels_of(expected.file))


def test_files_resuming_and_overwriting(tmp_path, model, model_file, capsys):
    t1, t2 = write_infant(tmp_path)
    out = tmp_path / "out"
    line = ["segment", "-i", str(t1), str(t2), "-o", str(out), "-m", str(model_file), "--disable_tta"]
    assert main([*line, "--bias-correction"]) == 0
    names = {"sub-01_dseg.nii.gz", "sub-01_dseg.json", "sub-01_volumes.tsv", "sub-01_preview.png"}
    assert {file.name for file in out.iterdir()} == names
    assert (out / "sub-01_preview.png").read_bytes().startswith(b"\x89PNG")
    rows = [row.split("\t") for row in (out / "sub-01_volumes.tsv").read_text().splitlines()]
    assert rows[0] == ["tissue", "label", "voxels", "volume_ml"]
    found = labels_of(out / "sub-01_dseg.nii.gz")
    for name, label, voxels, volume in rows[1:]:
        assert name in ("CSF", "GM", "WM")
        assert int(voxels) == (found == int(label)).sum()
        assert float(volume) == pytest.approx(int(voxels) * 0.064)
    record = json.loads((out / "sub-01_dseg.json").read_text())
    assert record["Model"]["file"] == "model.safetensors"
    assert record["Options"]["bias_correction"] is True
    assert record["Sources"] == [str(t1), str(t2)]
    capsys.readouterr()
    before = (out / "sub-01_dseg.json").stat().st_mtime_ns
    assert main([*line, "--bias-correction"]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert main(line) == 1
    assert "other options" in capsys.readouterr().err
    assert (out / "sub-01_dseg.json").stat().st_mtime_ns == before
    assert main([*line, "--overwrite"]) == 0
    assert json.loads((out / "sub-01_dseg.json").read_text())["Options"]["bias_correction"] is False


def test_what_is_missing_is_told(tmp_path, model, model_folder, capsys):
    t1, t2 = write_infant(tmp_path)

    def sentence(*files, m=model):
        with pytest.raises(UserError) as caught:
            segment(files, tmp_path / "out", m, progress=False)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    assert "has 1 image(s), but the model needs 2, in this order: T1, T2" in sentence(t1)
    assert "does not exist; -m expects" in sentence(t1, t2, m=tmp_path / "none.safetensors")
    assert "is a checkpoint" in sentence(t1, t2, m=model_folder / "fold_0" / "checkpoint_final.pth")
    assert "plans.json is missing" in sentence(t1, t2, m=tmp_path)
    assert "does not exist" in sentence(t1, tmp_path / "none.nii.gz")
    four = save(np.ones((4, 4, 4, 2), np.int16), np.eye(4), tmp_path / "four.nii.gz")
    assert "four.nii.gz has shape" in sentence(four, t2)
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(t1.read_bytes()[:-500])
    assert "cut.nii.gz is truncated" in sentence(cut, t2)
    metres = save(np.asarray(nib.load(t1).dataobj), np.diag([0.004] * 3 + [1]), tmp_path / "metres.nii.gz")
    assert "expected 0.2 to 6" in sentence(metres, t2)


def test_images_are_aligned_once_and_beside_the_loading_of_the_model(tmp_path, model_file, monkeypatch):
    threads = []

    def align(*args):
        threads.append(threading.current_thread())
        return align_images(*args)

    for module in (segmenting, case):  # that starts it, that would do it if nobody had
        monkeypatch.setattr(module, "align_images", align)
    segment(write_infant(tmp_path / "infant"), tmp_path / "out", model_file, mirroring=False, progress=False)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
