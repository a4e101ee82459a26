"""Plots of the scores: distributions with paired lines, and accuracy against volume."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunetv2_dualagg.evaluation.metrics.agreement import DICE, Metric
from nnunetv2_dualagg.utils.colours import METHODS, colour_map

MARKERS = "osD^vP*X"


@matplotlib.rc_context({"text.parse_math": False})  # names are the user's
def box_plots(cases: pd.DataFrame, metric: Metric, file: Path) -> None:
    """A plot per tissue: a box per site and method, a point per case, and lines between the points of the same case.

    Args:
        cases: a row per case, method and tissue.
        metric: what to plot.
        file: the picture to write.
    """
    sites, tissues, methods = (list(cases[column].unique()) for column in ("site", "tissue", "method"))
    colours = colour_map(methods, METHODS)
    width = 1.0 + 0.45 * len(sites) * (len(methods) + 1)
    figure = Figure(figsize=(width * len(tissues), 3.4), layout="constrained")
    for axis, tissue in zip(figure.subplots(1, len(tissues), squeeze=False)[0], tissues, strict=True):
        for place, site in enumerate(sites):
            part = cases[(cases["site"] == site) & (cases["tissue"] == tissue)]
            values = part.pivot(index="case", columns="method", values=metric.key)[methods]
            _paired_boxes(axis, values, place * (len(methods) + 1), colours)
        middles = [place * (len(methods) + 1) + (len(methods) - 1) / 2 for place in range(len(sites))]
        axis.set_xticks(middles, sites)
        axis.set(title=tissue, ylabel=metric.title)
    handles = [matplotlib.patches.Patch(color=colour, label=method) for method, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(file, dpi=150)


@matplotlib.rc_context({"text.parse_math": False})  # names are the user's
def volume_plot(cases: pd.DataFrame, file: Path) -> None:
    """Dice against the reference's volume, a plot per tissue, a colour per method and a marker per site.

    Args:
        cases: a row per case, method and tissue.
        file: the picture to write.
    """
    colours = colour_map(cases["method"].unique(), METHODS)
    markers = {site: MARKERS[index % len(MARKERS)] for index, site in enumerate(cases["site"].unique())}
    tissues = list(cases["tissue"].unique())
    figure = Figure(figsize=(0.8 + 2.9 * len(tissues), 3.4), layout="constrained")
    for axis, tissue in zip(np.ravel(figure.subplots(1, len(tissues), squeeze=False)), tissues, strict=True):
        for (site, method), part in cases[cases["tissue"] == tissue].groupby(["site", "method"], sort=False):
            label = method if len(markers) == 1 else f"{method}, {site}"
            style = {"color": colours[method], "marker": markers[site], "alpha": 0.75, "label": label}
            axis.scatter(part["reference_ml"], part[DICE.key], **style)
        axis.set(title=tissue, xlabel="reference volume [ml]", ylabel=DICE.title)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(markers), frameon=False)
    figure.savefig(file, dpi=150)


def _paired_boxes(axis: Axes, values: pd.DataFrame, start: int, colours: dict[str, str]) -> None:
    """Boxes of the columns of a table with a row per case, from the place ``start`` to the right."""
    places = np.arange(start, start + len(values.columns))
    axis.plot(places, values.to_numpy().T, color="0.75", linewidth=0.7, zorder=1)
    for place, (method, column) in zip(places, values.items(), strict=True):
        style = {"color": colours[method], "linewidth": 1.3}
        parts: dict[str, Any] = dict.fromkeys(("boxprops", "whiskerprops", "capprops", "medianprops"), style)
        axis.boxplot(column.dropna(), positions=[place], widths=0.6, showfliers=False, **parts)
        axis.scatter(np.full(len(column), place), column, s=9, color=colours[method], zorder=2)
