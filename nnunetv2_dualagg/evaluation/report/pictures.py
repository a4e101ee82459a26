"""Pictures of the segmentations."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from nnunetv2_dualagg.evaluation.cases import Labels
from nnunetv2_dualagg.evaluation.metrics.measure import Measured
from nnunetv2_dualagg.evaluation.orientation import ras_spacing
from nnunetv2_dualagg.evaluation.reading import read_image, read_segmentation
from nnunetv2_dualagg.utils.colours import ERROR, TISSUES, colour_map

MARGIN = 4  # voxels shown around the brain


def pick_cases(measured: Sequence[Measured]) -> list[Measured]:
    """The case of each site in which the methods disagree most, in the order of the sites."""
    best: dict[str, Measured] = {}
    for result in measured:
        site = result.case.site
        if site not in best or result.disagreement > best[site].disagreement:
            best[site] = result
    return list(best.values())


@matplotlib.rc_context({"text.parse_math": False})  # names are the user's
def segmentation_figure(measured: Sequence[Measured], labels: Labels, file: Path) -> None:
    """Draw image, reference and each method's segmentation, a row per case, like figure 3 of the paper.

    The axial slice of each row is the one in which the methods disagree most; voxels that differ from the reference
    are outlined. Of several runs of a method the first is shown.

    Args:
        measured: the cases to show.
        labels: what ``dataset.json`` says.
        file: the picture to write; its ending says in which format.
    """
    methods = list(measured[0].case.predictions)
    image = bool(measured[0].case.images)
    titles = [*labels.channels[:1], "image"][:1] * image + ["reference", *methods]
    size = 2.4
    figure = Figure(figsize=(size * len(titles), size * 1.15 * len(measured) + 0.5), layout="compressed")
    rows = figure.subplots(len(measured), len(titles), squeeze=False)
    for axes, result in zip(rows, measured, strict=True):
        _draw_case(axes, result, labels)
        axes[0].set_ylabel(f"{result.case.site}\n{result.case.name}, slice {result.slice_index}")
    for axis, title in zip(rows[0], titles, strict=True):
        axis.set_title(title)
    colours = colour_map(labels.tissues, TISSUES)
    handles = [matplotlib.patches.Patch(color=colour, label=tissue) for tissue, colour in colours.items()]
    handles.append(matplotlib.lines.Line2D([], [], color=ERROR, label="differs from the reference"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(file, dpi=200, bbox_inches="tight")


def _draw_case(axes: Sequence[Axes], result: Measured, labels: Labels) -> None:
    case = result.case
    reference = read_segmentation(case.reference, labels)
    volumes = [reference, *(read_segmentation(next(iter(runs.values())), labels) for runs in case.predictions.values())]
    segmentations = [volume.ras[:, :, result.slice_index].T for volume in volumes]
    pictures = [read_image(file, labels, like=reference).ras[:, :, result.slice_index].T for file in case.images[:1]]
    window = _window(np.any(segmentations, axis=0))
    right, front, _ = ras_spacing(reference.properties)

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
    style = {"cmap": colours, "vmin": -0.5, "vmax": colours.N - 0.5, "interpolation": "nearest"}
    axis.imshow(labels.paint(values), origin="lower", aspect=aspect, **style)
    if wrong.any():
        axis.contour(wrong, levels=[0.5], colors=ERROR, linewidths=0.6)


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The part of a slice that a mask covers, with a margin; all of it if the mask is empty."""
    if not mask.any():
        return slice(None), slice(None)
    bounds = [np.flatnonzero(mask.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    first, second = (slice(max(0, low - MARGIN), high + MARGIN + 1) for low, high in bounds)
    return first, second
