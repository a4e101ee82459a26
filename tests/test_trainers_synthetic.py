import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from infant_images import tissues

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.simulation.random_contrast import random_images
from nnunetv2_dualagg.trainers.augmentation.from_labels import ImagesFromLabelsTransform

PATCH = (16, 16, 16)


def drawn(labels, seed, channels=2):
    return random_images(labels, channels, np.random.default_rng(seed))


def test_images_are_standardised_in_the_brain_and_zero_outside():
    labels = tissues()
    found = drawn(labels, 0, channels=3)
    assert found.shape == (3, *labels.shape)
    assert found.dtype == np.float32
    assert (found[:, labels == 0] == 0).all()
    inside = found[:, labels > 0]
    np.testing.assert_allclose(inside.mean(1), 0, atol=1e-3)
    np.testing.assert_allclose(inside.std(1), 1, atol=1e-3)
    np.testing.assert_array_equal(found, drawn(labels, 0, channels=3))
    assert abs(np.corrcoef(inside)[0, 1]) < 0.999
    assert np.isfinite(drawn(labels[:, :, 17], 0)).all()
    assert not drawn(np.zeros((8, 8, 8), int), 0).any()
    assert np.isfinite(drawn(np.full((8, 8, 8), 2), 0)).all()


def test_contrasts_are_wide():
    labels = tissues()
    means = []
    for seed in range(30):
        (image,) = drawn(labels, seed, channels=1)
        means.append([image[labels == tissue].mean() for tissue in (1, 2, 3)])
    csf, gm, wm = np.transpose(means)
    assert (csf > 1).any()  # fluid bright as in T2
    assert (csf < -1).any()  # and dark as in T1
    assert (wm > gm + 0.2).any()
    assert (wm < gm - 0.2).any()
    assert (np.abs(wm - gm) < 0.1).any()  # isointense


@pytest.mark.parametrize("name", ["nnUNetTrainerDualAggSynthetic", "nnUNetTrainerSynthetic_20epochs"])
def test_images_come_from_the_labels_alone(name):
    trainer = getattr(trainers, name)
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
