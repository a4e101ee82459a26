"""The figures of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunetv2_dualagg.evaluation.cases import Labels
from nnunetv2_dualagg.evaluation.metrics.agreement import ASD, DICE, HD95
from nnunetv2_dualagg.evaluation.metrics.scoring import ScoredCase
from nnunetv2_dualagg.evaluation.report.images import Images
from nnunetv2_dualagg.evaluation.report.pictures import segmentation_figure
from nnunetv2_dualagg.evaluation.report.plots import box_plots, volume_plot

SEGMENTATIONS = "segmentations.png"


@dataclass(frozen=True)
class Figure:
    """A picture: its PNG file, a title, and what it shows in words."""

    file: Path
    title: str
    alt: str


def draw_figures(
    picked: Sequence[ScoredCase], images: Images, cases: pd.DataFrame, labels: Labels, folder: Path
) -> list[Figure]:
    """Draw all figures.

    Args:
        picked: the cases whose segmentations to show, from :func:`pictures.pick_cases`.
        images: their channels.
        cases: the scores, a row per case, method and tissue.
        labels: what ``dataset.json`` says.
        folder: where to write the PNG files.
    """
    title = "Segmentations of the case, and in the slice, in which the methods disagree most, for each site"
    alt = f"{title}: image, reference and each method, voxels that differ from the reference outlined"
    figures = [Figure(folder / SEGMENTATIONS, title, alt)]
    segmentation_figure(picked, images, labels, figures[0].file)
    for quantity in (DICE, ASD, HD95):
        title = f"{quantity.title} per site and tissue"
        alt = f"{title}: a box per method with a point per case; the table of all metrics has the numbers"
        figures.append(Figure(folder / f"boxplots_{quantity.key}.png", title, alt))
        box_plots(cases, quantity, figures[-1].file)
    title = "Dice against the reference's volume"
    figures.append(Figure(folder / "volumes.png", title, f"{title}: a point per case and method, for each tissue"))
    volume_plot(cases, figures[-1].file)
    return figures
