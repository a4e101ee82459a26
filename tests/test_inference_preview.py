"""What people see first: which side, which way up, in which proportions."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from nnunetv2_dualagg.inference.case import Prepared
from nnunetv2_dualagg.inference.images import Image, turned
from nnunetv2_dualagg.inference.preview import draw_preview
from nnunetv2_dualagg.utils.colours import TISSUES

LABELS = {"left": 1, "right": 2, "top": 3}


def cube(orientation):
    """A brain of 40 mm in voxels of 1 x 1 x 2 mm: tissues on its left, on its right and above, as stored."""
    ras = np.zeros((60, 60, 30), np.uint8)
    ras[10:30, 10:50, 5:25] = LABELS["left"]
    ras[30:50, 10:50, 5:25] = LABELS["right"]
    ras[10:50, 10:50, 19:25] = LABELS["top"]
    stored, affine = turned(ras, np.diag([1.0, 1, 2, 1]), orientation)
    return np.ascontiguousarray(stored), affine


def tissues_in(pixels):
    """The label of each coloured pixel, 0 elsewhere, by its hue: the picture below dilutes the colours."""
    rgb = pixels[..., :3] - pixels[..., :3].mean(-1, keepdims=True)
    hues = np.array([to_rgb(colour) for colour in TISSUES[: len(LABELS)]])
    hues -= hues.mean(-1, keepdims=True)
    hues /= np.linalg.norm(hues, axis=-1, keepdims=True)
    return np.where(np.linalg.norm(rgb, axis=-1) > 0.1, 1 + (rgb @ hues.T).argmax(-1), 0)


@pytest.fixture
def large_fonts():
    """What nnU-Net's logger leaves behind in a process that has trained."""
    with rc_context({"font.size": 30, "legend.fontsize": 30}):
        yield


@pytest.mark.usefixtures("large_fonts")
@pytest.mark.parametrize("orientation", ["RAS", "LAS", "PIR"])
def test_left_is_left_and_the_head_is_up(tmp_path, orientation):
    labels, affine = cube(orientation)
    brain = labels > 0
    rng = np.random.default_rng(0)
    images = {name: np.where(brain, rng.uniform(1, 2, labels.shape), 0).astype(np.float32) for name in ("T1", "T2")}
    prepared = Prepared(Image(Path("t1.nii.gz"), images["T1"], affine), images, brain, {}, [])
    draw_preview(tmp_path / "preview.png", prepared, labels, LABELS, "sub-01")

    shown = tissues_in(imread(tmp_path / "preview.png"))
    height, width = shown.shape
    assert not shown[: height // 2].any()  # the images themselves are grey
    coloured = np.flatnonzero(shown.any(axis=1))
    gaps = np.flatnonzero(np.diff(coloured) > 1)
    in_brain = shown[: coloured[gaps[0]] + 1]  # below is the legend
    panels = np.split(in_brain[:, : width // 3 * 3], 3, axis=1)
    for plane, panel in zip(("sagittal", "coronal", "axial"), panels, strict=True):
        rows, columns = np.nonzero(panel)
        box = panel[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box.shape[0] == pytest.approx(box.shape[1], rel=0.05), plane  # 40 mm by 40 mm
        quarters = box[len(box) // 8, :], box[-len(box) // 8, :]
        if plane != "axial":
            assert np.median(quarters[0]) == LABELS["top"], plane
        if plane != "sagittal":
            below = quarters[1]
            assert np.median(below[: len(below) // 2 - 2]) == LABELS["left"], plane
            assert np.median(below[len(below) // 2 + 2 :]) == LABELS["right"], plane
