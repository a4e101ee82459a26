"""A picture of an infant's images and of its segmentation."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from nnunetv2_dualagg.inference.case import Prepared
from nnunetv2_dualagg.inference.images import turned
from nnunetv2_dualagg.utils.boxes import bounding_box
from nnunetv2_dualagg.utils.colours import TISSUES

MARGIN = 4.0
"""mm around the brain in the preview."""

PLANES = (("sagittal", 0), ("coronal", 1), ("axial", 2))


@style.context("default")  # nnU-Net enlarges the fonts of all figures of a process that trains
def draw_preview(file: Path, prepared: Prepared, labels: NDArray, tissues: dict[str, int], title: str) -> None:
    """A picture of each image and of the segmentation over the first one, in three planes through the brain's middle.

    The left of the infant is on the left.
    """
    affine = prepared.reference.affine
    brain, ras = turned(prepared.brain, affine, "RAS")
    spacing = np.linalg.norm(ras[:3, :3], axis=0)
    box = bounding_box(brain, [round(MARGIN / s) for s in spacing])
    brain = brain[box]
    images = {name: turned(image, affine, "RAS")[0][box] for name, image in prepared.images.items()}
    segmented = turned(labels, affine, "RAS")[0][box]
    middle = [round(float(np.mean(np.flatnonzero(brain.any(axis=other))))) for other in ((1, 2), (0, 2), (0, 1))]
    colours = {name: TISSUES[i % len(TISSUES)] for i, name in enumerate(tissues)}
    names = [*images, "segmentation"]
    figure = Figure(figsize=(9, 2.4 * len(names) + 0.8), layout="compressed")
    axes = figure.subplots(len(names), 3, squeeze=False)
    for row, name in enumerate(names):
        image = images.get(name, next(iter(images.values())))
        low, high = np.percentile(image[brain], (0.5, 99.5))
        for axis, (plane, across) in zip(axes[row], PLANES, strict=True):
            aspect = np.delete(spacing, across)
            look = {"origin": "lower", "aspect": aspect[1] / aspect[0]}
            axis.imshow(np.take(image, middle[across], across).T, cmap="gray", vmin=low, vmax=high, **look)
            if name == "segmentation":
                _overlay(axis, np.take(segmented, middle[across], across).T, tissues, list(colours.values()), look)
            axis.set(xticks=[], yticks=[], title="" if row else plane)
        axes[row][0].set_ylabel(name)
    figure.suptitle(title)
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(file, dpi=100, facecolor="white", bbox_inches="tight")


def _overlay(axis: Any, labels: NDArray, tissues: dict[str, int], colours: list[str], look: dict[str, Any]) -> None:
    index = np.zeros(labels.shape, int)
    for number, value in enumerate(tissues.values(), 1):
        index[labels == value] = number
    shown = np.ma.masked_equal(index, 0)
    axis.imshow(shown, cmap=ListedColormap(colours), vmin=1, vmax=max(2, len(colours)), alpha=0.5, **look)
