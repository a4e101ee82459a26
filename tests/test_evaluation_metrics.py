import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from nnunetv2_dualagg.evaluation.metrics.agreement import dice, metrics_of

DISTANCES = ("asd", "hd95", "hd", "mhd")


def surface(mask, spacing):
    """Centres (mm) of the voxels that have a face neighbour outside the mask or the image."""
    padded = np.pad(mask, 1)
    inner = padded.copy()
    for axis in range(mask.ndim):
        inner &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return (np.argwhere(padded & ~inner) - 1) * np.array(spacing)


def brute_force(reference, prediction, spacing):
    table = cdist(surface(prediction, spacing), surface(reference, spacing))
    there, back = table.min(axis=1), table.min(axis=0)
    return {
        "asd": (there.sum() + back.sum()) / (there.size + back.size),
        "hd95": max(np.quantile(there, 0.95), np.quantile(back, 0.95)),
        "hd": max(there.max(), back.max()),
        "mhd": max(there.mean(), back.mean()),
    }


def sphere(radius, shape, spacing):
    axes = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing, strict=True)]
    return sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")) <= radius**2


def box(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_identical_masks_agree_perfectly():
    mask = sphere(6, (16, 16, 16), (1, 1, 1))
    found = metrics_of(mask, mask, (1, 2, 0.5))
    assert found["dice"] == 1
    assert found["rvd"] == 0
    assert all(found[key] == 0 for key in DISTANCES)
    assert found["volume_ml"] == found["reference_ml"] == mask.sum() / 1000


@pytest.mark.parametrize(
    ("shape", "spacing"), [((50, 50, 50), (1, 1, 1)), ((100, 50, 34), (0.5, 1, 1.5)), ((26, 100, 50), (2, 0.5, 1))]
)
def test_concentric_spheres_are_the_difference_of_their_radii_apart(shape, spacing):
    small, large = sphere(18, shape, spacing), sphere(20, shape, spacing)
    found = metrics_of(small, large, spacing)
    half_voxel = max(spacing) / 2  # a surface voxel's centre lies up to that far inside
    assert found["asd"] == pytest.approx(2, abs=half_voxel)
    assert found["mhd"] == pytest.approx(2, abs=half_voxel)
    assert found["hd"] == pytest.approx(2, abs=2 * half_voxel)
    assert found["asd"] <= found["mhd"] <= found["hd95"] <= found["hd"]
    assert found["volume_ml"] == pytest.approx(4 / 3 * np.pi * 20**3 / 1000, rel=0.02)
    assert found["rvd"] == pytest.approx(100 * ((20 / 18) ** 3 - 1), rel=0.05)


def test_two_voxels_are_their_distance_apart():
    one, other = box((9, 9, 9), (3, 3, 3), (4, 4, 4)), box((9, 9, 9), (4, 5, 6), (5, 6, 7))
    found = metrics_of(one, other, (2.5, 1, 0.5))
    assert [found[key] for key in DISTANCES] == pytest.approx([np.sqrt(2.5**2 + 2**2 + 1.5**2)] * 4)
    assert found["dice"] == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_plane_is_its_shift_apart(axis):
    spacing = (3, 1, 0.5)
    low = [0, 0, 0]
    high = [12, 12, 12]
    low[axis], high[axis] = 2, 3
    plane = box((12, 12, 12), low, high)
    found = metrics_of(plane, np.roll(plane, 4, axis), spacing)
    assert [found[key] for key in DISTANCES] == pytest.approx([4 * spacing[axis]] * 4)


def test_a_box_that_grows_by_one_side_has_known_distances():
    # 2-D: the columns 0-9 against 0-14 of one row, 2 mm wide voxels: every voxel is surface
    reference, prediction = box((1, 20), (0, 0), (1, 10)), box((1, 20), (0, 0), (1, 15))
    found = metrics_of(reference, prediction, (1, 2))
    distances = np.array([0.0] * 10 + [2, 4, 6, 8, 10])
    assert found["asd"] == pytest.approx(distances.sum() / 25)
    assert found["mhd"] == pytest.approx(distances.mean())
    assert found["hd"] == 10
    assert found["hd95"] == pytest.approx(np.quantile(distances, 0.95))
    assert found["dice"] == pytest.approx(20 / 25)
    assert found["rvd"] == pytest.approx(50)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 8)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    density=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**16),
)
def test_distances_equal_a_brute_force_search(shape, spacing, density, seed):
    rng = np.random.default_rng(seed)
    reference, prediction = rng.random((2, *shape)) < density
    reference.flat[rng.integers(reference.size)] = prediction.flat[rng.integers(prediction.size)] = True
    found = metrics_of(reference, prediction, spacing)
    for key, expected in brute_force(reference, prediction, spacing).items():
        assert found[key] == pytest.approx(expected, rel=1e-5), key


def test_metrics_are_symmetric_but_for_the_volume_difference():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 9, 8, 7)) < 0.2
    there, back = metrics_of(one, other, (1, 2, 3)), metrics_of(other, one, (1, 2, 3))
    assert [there[key] for key in ("dice", *DISTANCES)] == [back[key] for key in ("dice", *DISTANCES)]
    assert (1 + there["rvd"] / 100) * (1 + back["rvd"] / 100) == pytest.approx(1)


def test_empty_masks_give_nan():
    empty, full = np.zeros((4, 4, 4), bool), box((4, 4, 4), (1, 1, 1), (3, 3, 3))
    missed, invented, both = (metrics_of(*masks, (1, 1, 1)) for masks in ((full, empty), (empty, full), (empty, empty)))
    assert all(np.isnan(found[key]) for found in (missed, invented, both) for key in DISTANCES)
    assert (missed["dice"], invented["dice"]) == (0, 0)
    assert np.isnan(both["dice"])
    assert missed["rvd"] == -100
    assert np.isnan(invented["rvd"])
    assert np.isnan(both["rvd"])


def test_dice_counts_voxels():
    assert dice(np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 1], bool)) == pytest.approx(2 / 5)
