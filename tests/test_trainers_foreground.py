"""What the trainers know of the background: measured on raw data, true in training and in prediction."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunet_commands import run_command
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from planning_data import set_folders
from short_trainer import prepare
from trained_model import DATASET_JSON, plans

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.architectures.foreground import ForegroundUNet, foreground_channel
from nnunetv2_dualagg.architectures.network_options import foreground_options
from nnunetv2_dualagg.trainers.background_of_data import measure_background

ROTATION = (-0.5, 0.5)
PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


def make_brain(shape=(24, 28, 26), channels=2, spacing=(1.0, 1.0, 1.0)):
    """A ball of three tissues with 0 around it, as iSeg has it: every voxel that is not 0 has a label."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    radius = np.sqrt((grid**2).sum(axis=0))
    labels = np.select([radius < 0.4, radius < 0.6, radius < 0.8], [3, 2, 1], 0).astype(np.uint8)
    images = np.where(labels > 0, 300.0 + 100.0 * labels + rng.normal(0, 20, (channels, *shape)), 0)
    return images.astype(np.float32), labels


def write_raw(folder, images, labels, cases=3, spacing=(1.0, 1.0, 1.0), description=DATASET_JSON):
    """A dataset of equal cases."""
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    affine = np.diag([*spacing, 1.0])
    for case in (f"iSeg_{i:03d}" for i in range(1, cases + 1)):
        nib.save(nib.Nifti1Image(labels, affine), folder / "labelsTr" / f"{case}.nii.gz")
        for c, image in enumerate(images):
            nib.save(nib.Nifti1Image(image, affine), folder / "imagesTr" / f"{case}_{c:04d}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps({**description, "numTraining": cases}))


def measure(folder, description=DATASET_JSON):
    return measure_background(folder, description, PlansManager(plans((16,) * 3)), ["iSeg_001", "iSeg_002"])


def test_both_halves_hold_where_labels_and_mask_agree(tmp_path):
    images, labels = make_brain()
    images[:, 12, 14, 13] = 0  # a hole, which nnU-Net counts as inside
    write_raw(tmp_path, images, labels)
    measured = measure(tmp_path)
    assert (measured.outside_is_known, measured.inside_is_known) == (True, True)
    assert measured.cases == 2
    assert measured.tissue == measured.inside == 2 * np.count_nonzero(labels)


def test_labels_on_zero_voxels_switch_the_outer_half_off(tmp_path):
    images, labels = make_brain()
    images[:, :9] = 0
    write_raw(tmp_path, images, labels)
    measured = measure(tmp_path)
    assert (measured.outside_is_known, measured.inside_is_known) == (False, True)
    assert measured.tissue_outside == 2 * np.count_nonzero(labels[:9])
    assert "(background outside: off)" in str(measured)


def test_background_inside_switches_the_inner_half_off(tmp_path):
    images, labels = make_brain()
    labels[:9] = 0
    write_raw(tmp_path, images, labels)
    measured = measure(tmp_path)
    assert (measured.outside_is_known, measured.inside_is_known) == (True, False)


def test_ignored_voxels_say_nothing(tmp_path):
    images, labels = make_brain()
    images[:, :9] = 0
    labels[:9] = 4
    description = DATASET_JSON | {"labels": {**DATASET_JSON["labels"], "ignore": 4}}
    write_raw(tmp_path, images, labels, description=description)
    measured = measure(tmp_path, description)
    assert (measured.outside_is_known, measured.inside_is_known) == (True, True)


def samples(trainer, dummy_2d):
    """Augmented patches, many of them padded at the border of the image as nnU-Net's data loader does it."""
    images, labels = make_brain((20, 22, 24))
    segmentation = np.where(labels > 0, labels.astype(np.int16), np.int16(-1))[None]
    images = (images - images[:, labels > 0].mean()) / images[:, labels > 0].std() * (labels > 0)
    size = (24 if dummy_2d else 30, 30, 30)
    images = pad_nd_image(images, size, "constant", {"constant_values": 0})
    segmentation = pad_nd_image(segmentation, size, "constant", {"constant_values": -1})
    transforms = trainer.get_training_transforms(
        (24, 24, 24), ROTATION, None, (0, 1, 2), dummy_2d, use_mask_for_norm=[True, True]
    )
    for number in range(40):
        np.random.seed(number)
        torch.manual_seed(number)
        image = torch.from_numpy(images).float().clone()
        yield transforms(image=image, segmentation=torch.from_numpy(segmentation).clone())


@pytest.mark.parametrize("dummy_2d", [False, True])
@pytest.mark.parametrize(
    "trainer", [nnUNetTrainer, trainers.nnUNetTrainerSite, trainers.nnUNetTrainerDualAggDA5], ids=lambda t: t.__name__
)
def test_augmentation_leaves_the_rule_true(trainer, dummy_2d):
    tissue = disagreeing = 0
    for sample in samples(trainer, dummy_2d):
        channel = foreground_channel(sample["image"][None].float(), 2)[0].bool()
        label = torch.as_tensor(sample["segmentation"])
        assert not sample["image"][:, label[0] == 0].any(), "background that is not 0"
        tissue += int((label > 0).sum())
        disagreeing += int(((label > 0) & ~channel).sum())
    assert tissue > 10_000
    assert disagreeing <= 1e-4 * tissue, "tissue that is 0: low resolution or interpolation has met 0 by chance only"


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 0.8), (3.0, 1.0, 1.0)])
def test_prediction_sees_the_mask(tmp_path, spacing):
    """As nnU-Net preprocesses an image for prediction: on the grid of the plans exactly, else but for a thin halo."""
    images, labels = make_brain((40, 60, 60))
    write_raw(tmp_path, images, labels, cases=1, spacing=spacing[::-1])
    made = plans((16,) * 3) | {"foreground_intensity_properties_per_channel": {"0": {}, "1": {}}}
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    for name in ("data", "seg"):
        key = f"resampling_fn_{name}"
        made["configurations"]["3d_fullres"] |= {
            key: "resample_data_or_seg_to_shape",
            f"{key}_kwargs": {**resampling, "is_seg": name == "seg", "order": 3 if name == "data" else 1},
        }
    manager = PlansManager(made)
    files = [str(tmp_path / "imagesTr" / f"iSeg_001_{c:04d}.nii.gz") for c in range(2)]
    configuration = manager.get_configuration("3d_fullres")
    label = str(tmp_path / "labelsTr" / "iSeg_001.nii.gz")
    seen, _, _ = DefaultPreprocessor(verbose=False).run_case(files, None, manager, configuration, DATASET_JSON)
    _, truth, _ = DefaultPreprocessor(verbose=False).run_case(files, label, manager, configuration, DATASET_JSON)
    channel = foreground_channel(torch.from_numpy(np.asarray(seen))[None].float(), 2)[0].bool().numpy()
    inside = truth > 0
    assert np.mean(channel[inside]) > 0.999
    if spacing == (1.0, 1.0, 1.0):
        assert np.array_equal(channel, inside)
    else:
        assert channel[~inside].mean() < 0.5  # without the tolerance it would be everywhere


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([True, True], {"foreground_channel": True, "image_channels": 2}),
        ([False], {"foreground_channel": False}),  # CT, or images with the skull
        ([True, False], {"foreground_channel": False}),  # an image that is not 0 outside hides the others' mask
    ],
)
def test_the_channel_is_on_where_all_images_are_normalised_inside_the_mask(masks, expected):
    assert foreground_options(masks) == expected


def build(trainer, masks=(True, True), **arch_kwargs):
    made = plans((16,) * 3, network_class=PLAIN)
    configuration = made["configurations"]["3d_fullres"]
    configuration["use_mask_for_norm"] = list(masks)
    configuration["architecture"]["arch_kwargs"] |= arch_kwargs
    manager = PlansManager(made)
    return trainer.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 2, 4, False)


def test_trainers_build_the_channel_by_the_plans():
    assert build(trainers.nnUNetTrainerDualAgg).known_background is not None
    assert build(trainers.nnUNetTrainerDualAgg, masks=(False, False)).known_background is None
    assert build(trainers.nnUNetTrainerDualAgg, foreground_channel=False).known_background is None
    assert build(trainers.nnUNetTrainerDualAggNoForeground).known_background is None
    assert isinstance(build(trainers.nnUNetTrainerForeground), ForegroundUNet)
    assert type(build(trainers.nnUNetTrainerForeground, masks=(False, False))).__name__ == "PlainConvUNet"


def test_attention_and_pyramids_come_on_top_of_the_channel():
    """An ablation differs from the full network in what it leaves out alone."""
    for trainer in (trainers.nnUNetTrainerDualAggNoAttention, trainers.nnUNetTrainerDualAggNoDCP):
        network = build(trainer)
        assert isinstance(network, DualAggUNet)
        assert network.known_background is not None


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    folders = set_folders(tmp_path, monkeypatch)
    images, labels = make_brain((32, 32, 32))
    monkeypatch.setattr("short_trainer.write_dataset", lambda raw, cases: _write(raw, images, labels, cases))
    name = prepare(folders, monkeypatch)
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    return folders, name


def _write(raw, images, labels, cases):
    write_raw(raw / "Dataset001_Boxes", images, labels, cases)
    return "Dataset001_Boxes"


def make_trainer(folders, name, trainer="nnUNetTrainerDualAgg"):
    folder = folders.preprocessed / name
    made = json.loads((folder / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    dataset_json = json.loads((folder / "dataset.json").read_text())
    return getattr(trainers, trainer)(made, "3d_tiny", 0, dataset_json, torch.device("cpu"))


def rule_of(trainer):
    (rule,) = (value for key, value in trainer.network.state_dict().items() if key.endswith("known_background.rule"))
    return rule.tolist()


def log_of(trainer):
    return "".join(file.read_text() for file in sorted(trainer.folder_of_logs.glob("training_log*")))


def start(trainer):
    trainer.folder_of_logs = Path(trainer.output_folder)
    trainer.on_train_start()
    return trainer


@pytest.mark.parametrize("name", ["nnUNetTrainerDualAgg", "nnUNetTrainerForeground"])
def test_training_measures_and_records_the_rule(prepared, name):
    folders, dataset = prepared
    trainer = start(make_trainer(folders, dataset, name))
    assert rule_of(trainer) == [1, 1, 0]
    assert "Known background: in 4 training cases, 0 of" in log_of(trainer)
    trainer.save_checkpoint(str(folders.results / "checkpoint.pth"))
    # A resumed training, on a machine without the raw data, keeps the rule.
    (folders.raw / dataset / "imagesTr").rename(folders.raw / "away")
    resumed = make_trainer(folders, dataset, name)
    resumed.load_checkpoint(str(folders.results / "checkpoint.pth"))
    assert rule_of(resumed) == [1, 1, 0]
    # A training that starts there cannot measure it.
    trainer = start(make_trainer(folders, dataset, name))
    assert rule_of(trainer) == [0, 0, 0]
    assert "Known background: off, since it is measured on the raw data" in log_of(trainer)


def test_raw_labels_that_are_gone_switch_the_rule_off(prepared):
    folders, dataset = prepared
    for case in ("iSeg_001", "iSeg_002"):  # one of them at least is not the fold's validation case
        (folders.raw / dataset / "labelsTr" / f"{case}.nii.gz").unlink()
    trainer = start(make_trainer(folders, dataset))
    assert rule_of(trainer) == [0, 0, 0]
    assert "has no images or no label of iSeg_00" in log_of(trainer)


def test_a_rule_that_is_off_leaves_tissue_where_the_image_is_0(prepared):
    """The whole way: labels on zero voxels, training, prediction."""
    folders, dataset = prepared
    for file in (folders.raw / dataset / "imagesTr").glob("*.nii.gz"):
        image = nib.load(file)
        values = np.array(image.dataobj)
        values[:10] = 0
        nib.save(nib.Nifti1Image(values, image.affine), file)
    trainer = start(make_trainer(folders, dataset))
    assert rule_of(trainer) == [0, 1, 0]
    with torch.no_grad():
        trainer.network.decoder.seg_layers[-1].bias[2] = 100
        trainer.network.decoder.deep_supervision = False
        logits = trainer.network.eval()(torch.zeros(1, 2, 16, 16, 16))
    assert (logits.argmax(dim=1) == 2).all()


def test_the_planner_switches_the_channel_on(prepared, monkeypatch):
    folders, dataset = prepared
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    run_command("nnUNetv2_dualagg plan -d 1")
    made = json.loads((folders.preprocessed / dataset / "nnUNetDualAggPlans.json").read_text())
    fullres = made["configurations"]["3d_fullres"]
    assert fullres["use_mask_for_norm"] == [True, True]
    arch_kwargs = fullres["architecture"]["arch_kwargs"]
    assert {key: arch_kwargs[key] for key in ("foreground_channel", "image_channels", "residual")} == {
        "foreground_channel": True,
        "image_channels": 2,
        "residual": False,
    }
    assert made["configurations"]["3d_paper"]["architecture"]["arch_kwargs"]["foreground_channel"] is False
