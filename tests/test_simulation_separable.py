import numpy as np
import pytest
from scipy import ndimage

from nnunetv2_dualagg.simulation.separable import apply_along_axes, blurring_matrix, resampling_matrix

SHAPE = (9, 12, 16)


@pytest.fixture
def image():
    return np.random.default_rng(0).standard_normal(SHAPE, np.float32)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("shape", [(20, 33, 17), (5, 12, 8)])
def test_resampling_is_that_of_scipy(image, order, shape):
    matrices = [resampling_matrix(n, m, order) for n, m in zip(SHAPE, shape, strict=True)]
    zoom = np.divide(shape, SHAPE)
    expected = ndimage.zoom(image, zoom, order=order, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(apply_along_axes(image, matrices), expected, atol=1e-4)


def test_blurring_is_that_of_scipy(image):
    sigmas = (0, 0.7, 2.5)
    matrices = [blurring_matrix(n, sigma) for n, sigma in zip(SHAPE, sigmas, strict=True)]
    np.testing.assert_allclose(apply_along_axes(image, matrices), ndimage.gaussian_filter(image, sigmas), atol=1e-5)


def test_two_dimensions(image):
    matrices = [blurring_matrix(12, 1), resampling_matrix(16, 40, 3)]
    assert apply_along_axes(image[0], matrices).shape == (12, 40)
