"""Known motions are found again, whatever the grids are; flips are told, and only flips."""

from pathlib import Path

import numpy as np
import pytest
from infant_images import affine, images, tissues
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nnunetv2_dualagg.inference.alignment import align
from nnunetv2_dualagg.inference.images import Image, turned

SPACING, SHAPE = 2.0, (72, 84, 68)
AXES = {"x": (1.0, 0.2, -0.1), "y": (0.3, -1.0, 0.2), "z": (-0.2, 0.4, 1.0)}


@pytest.fixture(scope="module")
def infant():
    labels = tissues(3, SHAPE, SPACING)
    t1, t2 = (
        Image(Path(name), image.astype(np.float32), affine("LAS", SPACING, SHAPE))
        for name, image in images(labels, 3).items()
    )
    return t1, t2, labels > 0


def motion(axis, degrees, mm):
    """Rotation about the origin, which is the middle of the brain, and a shift in the direction of the axis."""
    direction = np.array(AXES[axis]) / np.linalg.norm(AXES[axis])
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * direction).as_matrix()
    matrix[:3, 3] = mm * direction
    return matrix


def scanned(image, matrix, factors, codes):
    """T2 as a scan of other voxels and another orientation, of an infant that has moved."""
    step = np.diag([*factors, 1.0])
    step[:3, 3] = (np.array(factors) - 1) / 2
    shape = [int(n // f) for n, f in zip(image.data.shape, factors, strict=True)]
    data = ndimage.affine_transform(image.data, step, output_shape=shape, order=1)
    data, grid = turned(data, image.affine @ step, codes)
    return Image(image.file, np.ascontiguousarray(data), matrix @ grid)


@pytest.mark.parametrize("factors", [(1, 1, 1), (1, 1, 2)])
@pytest.mark.parametrize(
    ("axis", "degrees", "mm", "codes"), [("x", 20, 30, "LAS"), ("y", 20, -30, "PIR"), ("z", -20, 30, "RAS")]
)
def test_large_motions_are_undone(infant, axis, degrees, mm, codes, factors):
    t1, t2, brain = infant
    back, found = align(t1, scanned(t2, motion(axis, degrees, mm), factors, codes), brain)
    assert found.rotation == pytest.approx(20, abs=0.5)
    assert found.translation == pytest.approx(30, abs=0.5)
    assert not found.flipped
    assert np.corrcoef(back.data[brain], t2.data[brain])[0, 1] > (0.97 if max(factors) == 1 else 0.9)


@pytest.mark.parametrize(("axis", "degrees", "mm"), [("x", 0, 0), ("y", 10, 10), ("z", 20, 30)])
def test_flips_are_told(infant, axis, degrees, mm):
    t1, t2, brain = infant
    mirrored = t2.with_data(t2.data[::-1])
    _, found = align(t1, scanned(mirrored, motion(axis, degrees, mm), (1, 1, 1), "LAS"), brain)
    assert found.flipped


def test_what_has_not_moved_is_left_alone(infant):
    t1, t2, brain = infant
    back, found = align(t1, t2, brain)
    assert found.displacement < 0.1
    assert not found.resampled
    assert not found.flipped
    assert back is t2
