"""Pictures of the segmentations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from nnunetv2_dualagg.evaluation.cases import Labels
from nnunetv2_dualagg.evaluation.metrics.scoring import ScoredCase
from nnunetv2_dualagg.evaluation.orientation import ras_spacing
from nnunetv2_dualagg.evaluation.report.images import Images
from nnunetv2_dualagg.utils.boxes import bounding_box
from nnunetv2_dualagg.utils.colours import ERROR, TISSUES, colour_map

MARGIN = 4  # voxels shown around the brain


def pick_cases(scored: Sequence[ScoredCase]) -> list[ScoredCase]:
    """The case of each site in which the methods disagree most, in the order of the sites."""
    best: dict[str, ScoredCase] = {}
    for result in scored:
        site = result.case.site
        if site not in best or result.disagreement > best[site].disagreement:
            best[site] = result
    return list(best.values())


@matplotlib.rc_context({"text.parse_math": False})  # names are the user's
def segmentation_figure(shown: Sequence[ScoredCase], images: Images, labels: Labels, file: Path) -> None:
    """Draw image, reference and each method's segmentation, a row per case, like figure 3 of the paper.

    The axial slice of each row is the one in which the methods disagree most; voxels that differ from the reference
    are outlined. Of several runs of a method the first is shown.

    Args:
        shown: the cases to show.
        images: their channels, if there are images.
        labels: what ``dataset.json`` says.
        file: the picture to write; its ending says in which format.
    """
    methods = list(shown[0].case.predictions)
    with_image = bool(shown[0].case.images)
    titles = [*labels.channels[:1], "image"][:1] * with_image + ["reference", *methods]
    size = 2.4
    figure = Figure(figsize=(size * len(titles), size * 1.15 * len(shown) + 0.5), layout="compressed")
    rows = figure.subplots(len(shown), len(titles), squeeze=False)
    for axes, result in zip(rows, shown, strict=True):
        _draw_case(axes, result, images[result.case.name], labels)
        axes[0].set_ylabel(f"{result.case.site}\n{result.case.name}, slice {result.slice_index}")
    for axis, title in zip(rows[0], titles, strict=True):
        axis.set_title(title)
    colours = colour_map(labels.tissues, TISSUES)
    handles: list[matplotlib.artist.Artist] = [
        matplotlib.patches.Patch(color=colour, label=tissue) for tissue, colour in colours.items()
    ]
    handles.append(matplotlib.lines.Line2D([], [], color=ERROR, label="differs from the reference"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(file, dpi=200, bbox_inches="tight")


def _draw_case(axes: Sequence[Axes], result: ScoredCase, images: Sequence[np.ndarray], labels: Labels) -> None:
    snapshot = result.snapshot
    index = result.slice_index - snapshot.box[2].start
    segmentations = [array[:, :, index].T for array in (snapshot.reference, *snapshot.predictions.values())]
    pictures = [image[:, :, index].T for image in images[:1]]
    window = bounding_box(np.any(segmentations, axis=0), MARGIN)
    right, front, _ = ras_spacing(snapshot.grid.properties)

    for axis, picture in zip(axes, pictures, strict=False):
        axis.imshow(picture[window], cmap="gray", origin="lower", aspect=front / right)
    truth = segmentations[0]
    for axis, values in zip(axes[len(pictures) :], segmentations, strict=True):
        wrong = labels.wrong(values, truth) & (values is not truth)
        _draw_segmentation(axis, values[window], wrong[window], labels, front / right)
    for axis in axes:
        axis.set(xticks=[], yticks=[])


def _draw_segmentation(axis: Axes, values: np.ndarray, wrong: np.ndarray, labels: Labels, aspect: float) -> None:
    colours = ListedColormap(["black", *colour_map(labels.tissues, TISSUES).values()])
    style: dict[str, Any] = {"cmap": colours, "vmin": -0.5, "vmax": colours.N - 0.5, "interpolation": "nearest"}
    axis.imshow(labels.paint(values), origin="lower", aspect=aspect, **style)
    if wrong.any():
        axis.contour(wrong, levels=[0.5], colors=ERROR, linewidths=0.6)
