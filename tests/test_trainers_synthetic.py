import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from infant_images import tissues

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.simulation.random_contrast import random_images
from nnunetv2_dualagg.trainers.augmentation.from_labels import ImagesFromLabelsTransform, fluids_of

PATCH = (16, 16, 16)


T1_T2 = ("dark", "bright")


def drawn(labels, seed, fluids=T1_T2):
    return random_images(labels, fluids, np.random.default_rng(seed))


def brain():
    """A ball of CSF, GM and WM in shares of an infant's brain, with a border of nothing."""
    x, y, z = np.meshgrid(*[np.linspace(-1.05, 1.05, 48)] * 3, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    return (radius < 1).astype(int) + (radius < 0.9) + (radius < 0.7)


def test_a_brain_is_standardised_and_zero_outside():
    labels = brain()
    found = np.stack([drawn(labels, seed) for seed in range(20)])
    assert found.shape == (20, 2, *labels.shape)
    assert found.dtype == np.float32
    assert (found[:, :, labels == 0] == 0).all()
    inside = found[:, :, labels > 0]
    assert abs(inside.mean()) < 0.2
    assert inside.mean(-1).std() < 0.5  # the shares of the tissues in the brain are random
    assert (abs(inside.std(-1) - 1) < 0.4).all()
    np.testing.assert_array_equal(found[3], drawn(labels, 3))


def test_a_patch_keeps_the_values_of_the_brain():
    """Fluid fills the patch, and shows nevertheless that it is fluid: nnU-Net standardises whole images."""
    for seed in range(10):
        t1, t2 = drawn(np.ones((12, 12, 12), int), seed).mean((1, 2, 3))
        assert t1 < -0.5
        assert t2 > 0.5


def test_odd_patches():
    labels = brain()
    assert np.isfinite(drawn(labels[:, :, 24], 0)).all()
    assert not drawn(np.zeros((8, 8, 8), int), 0).any()
    assert np.isfinite(drawn(np.full((8, 8, 8), 7), 0)).all()


def test_contrasts_are_wide():
    labels = brain()
    means = []
    for seed in range(40):
        images = drawn(labels, seed, fluids=(*T1_T2, "either"))
        means.append([[image[labels == tissue].mean() for tissue in (1, 2, 3)] for image in images])
    csf, gm, wm = np.moveaxis(means, -1, 0)  # each (seeds, images)
    assert (csf[:, 0] < gm[:, 0]).all()
    assert (csf[:, 1] > gm[:, 1]).all()
    assert 5 < (csf > gm)[:, 2].sum() < 35
    white = wm - gm
    for image in range(3):  # from the newborn's contrast to the toddler's
        assert (white[:, image] > 0.15).any()
        assert (white[:, image] < -0.15).any()
        assert (abs(white[:, image]) < 0.1).any()
    assert np.corrcoef(white[:, 0], white[:, 1])[0, 1] < -0.3  # T1 and T2 show the same age


def test_channels_are_known_by_their_names():
    assert fluids_of(["T1", "T2", "T1w", "t2W", "FLAIR"]) == ["dark", "bright", "dark", "bright", "either"]


@pytest.mark.parametrize("name", ["nnUNetTrainerDualAggSynthetic", "nnUNetTrainerSynthetic_20epochs"])
def test_images_come_from_the_labels_alone(name):
    trainer = object.__new__(getattr(trainers, name))  # all that it needs is the names of the channels
    trainer.dataset_json = {"channel_names": {"0": "T1", "1": "T2"}}
    transforms = trainer.get_training_transforms(
        PATCH, (-0.5, 0.5), None, (0, 1, 2), False, use_mask_for_norm=[True, True]
    )
    assert sum(isinstance(t, ImagesFromLabelsTransform) for t in transforms.transforms) == 1
    assert not any(isinstance(t, RandomTransform) for t in transforms.transforms)
    labels = tissues()[8:28, 10:30, 8:28].astype(np.int16)
    labels[:, :, :3] = -1  # nnU-Net's mark of what lies outside the brain
    outputs = []
    for image in (torch.zeros(2, *labels.shape), torch.randn(2, *labels.shape)):
        np.random.seed(0)
        torch.manual_seed(0)
        outputs.append(transforms(image=image, segmentation=torch.from_numpy(labels[np.newaxis].copy())))
    assert torch.equal(outputs[0]["image"], outputs[1]["image"])
    image, segmentation = outputs[0]["image"], outputs[0]["segmentation"]
    assert image.shape == (2, *PATCH)
    assert set(segmentation.unique().tolist()) <= {0, 1, 2, 3}
    outside = segmentation[0] == 0
    assert outside.any()
    assert not image[:, outside].any()
    assert image[:, ~outside].std() > 0.5
