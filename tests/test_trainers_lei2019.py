import numpy as np
import pytest
import torch

from nnunetv2_dualagg.trainers.augmentation.lei2019 import (
    CrossSiteTransform,
    cross_site_t1,
    cross_site_t2,
    z_score,
)


@pytest.fixture
def scan():
    rng = np.random.default_rng(0)
    voxels = rng.normal(500, 40, (6, 7, 8)).astype(np.float32)
    voxels[:2] = 0
    voxels[5, 6, 7] = 1000
    return voxels


def test_t1_contrast_about_the_mean_of_the_brain(scan):
    brain = scan > 0
    scaled = scan.astype(float) / 1000
    mean = scaled[brain].mean()
    expected = np.clip(mean + 4.7 * (scaled - mean), 0, 1) * brain
    np.testing.assert_allclose(cross_site_t1(scan), expected, atol=1e-5)
    assert cross_site_t1(scan)[brain].std() > 3 * scaled[brain].std()


def test_t2_gamma_then_brightness_then_contrast(scan):
    brain = scan > 0
    changed = np.clip((scan.astype(float) / 1000) ** 1.8 - 0.1, 0, 1) * brain
    mean = changed[brain].mean()
    expected = np.clip(mean + 1.35 * (changed - mean), 0, 1) * brain
    np.testing.assert_allclose(cross_site_t2(scan), expected, atol=1e-5)


@pytest.mark.parametrize("function", [cross_site_t1, cross_site_t2])
def test_the_scanners_gain_does_not_matter_and_the_background_stays_zero(scan, function):
    result = function(scan)
    np.testing.assert_allclose(function(scan * 3), result, atol=1e-5)
    assert (result[scan == 0] == 0).all()
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("function", [cross_site_t1, cross_site_t2, z_score])
def test_torch_and_numpy_agree(scan, function):
    result = function(torch.from_numpy(scan))
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), function(scan), atol=1e-5)


@pytest.mark.parametrize("function", [cross_site_t1, cross_site_t2])
def test_an_empty_patch_stays_empty_and_nan_is_refused(function):
    assert not function(np.zeros((2, 2, 2), np.float32)).any()
    with pytest.raises(ValueError, match="finite"):
        function(np.array([np.nan, 1], np.float32))


def test_z_score(scan):
    result = z_score(scan)
    assert abs(result.mean()) < 1e-5
    assert abs(result.std() - 1) < 1e-5
    assert not z_score(np.full((3, 3), 7.0)).any()


def test_the_transform_changes_t1_and_t2_of_a_normalised_patch_and_nothing_else(scan):
    torch.manual_seed(0)
    np.random.seed(0)
    brain = torch.from_numpy(scan > 0)
    patch = torch.zeros(3, *scan.shape)
    for channel in patch:
        channel[brain] = z_score(torch.from_numpy(scan)[brain])
    before = patch.clone()
    changed = CrossSiteTransform()(image=patch)["image"]
    assert torch.equal(patch, before)
    assert torch.equal(changed[2], before[2])
    for channel in (0, 1):
        assert not changed[channel][~brain].any()
        assert not torch.allclose(changed[channel], before[channel], atol=0.1)
        assert abs(changed[channel][brain].mean()) < 1e-4
        assert abs(changed[channel][brain].std(correction=0) - 1) < 1e-4


def test_the_transform_draws_other_contrasts_each_time_from_the_authors_ranges():
    drawn = [CrossSiteTransform().get_parameters() for _ in range(20)]
    for key, (low, high) in (("t1", (4.5, 5.0)), ("t2", (1.2, 1.5))):
        values = [parameters[key] for parameters in drawn]
        assert len(set(values)) == 20
        assert low <= min(values) < max(values) <= high
