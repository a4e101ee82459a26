"""What the report's viewer shows: a few cases, cropped and quantised so that the file stays small."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pandas as pd
from tqdm import tqdm

from nnunetv2_dualagg.evaluation.cases import Labels
from nnunetv2_dualagg.evaluation.metrics.aggregate import MEAN, per_case, with_tissue_mean
from nnunetv2_dualagg.evaluation.metrics.measure import Measured, disagreement
from nnunetv2_dualagg.evaluation.orientation import ras_spacing
from nnunetv2_dualagg.evaluation.reading import read_image, read_segmentation

LIMIT = 30 * 2**20  # characters of base64 in all
MARGIN = 10  # voxels around the segmentations
GREY_LEVELS = 64
RANKS = ("worst", "best", "median")  # in the order in which they are kept if not all fit


@dataclass(frozen=True)
class Layer:
    """A volume of the viewer: a name, "image", "labels" or "errors", and its gzipped NIfTI file as base64."""

    name: str
    kind: str
    data: str


@dataclass(frozen=True)
class View:
    """A case of the viewer.

    Attributes:
        case: its name.
        site: its site.
        rank: "best", "median", "worst", or several of these.
        dice: mean over tissues and methods.
        focus: where to look first, as fractions of the shown volume (right, anterior, superior).
        layers: images, reference, and segmentation and errors of each method.
    """

    case: str
    site: str
    rank: str
    dice: float
    focus: tuple[float, float, float]
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Characters of base64."""
        return sum(len(layer.data) for layer in self.layers)


def make_views(
    measured: Sequence[Measured], scores: pd.DataFrame, labels: Labels, num_threads: int
) -> tuple[list[View], list[str]]:
    """Prepare the best, median and worst case of each site.

    Args:
        measured: all cases.
        scores: a row per case, method, run and tissue.
        labels: what ``dataset.json`` says.
        num_threads: how many cases to prepare at a time.

    Returns:
        The views, by site, and the names of the cases for which there was no room.

    Raises:
        UserError: an image cannot be read, holds NaN, or is not on the grid of the reference.
    """
    chosen = choose_cases(scores)
    results = {result.case.name: result for result in measured}
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        jobs = pool.map(lambda row: _view(results[row["case"]], labels, row), chosen)
        views = list(tqdm(jobs, total=len(chosen), desc="Preparing the viewer", unit="case"))
    kept, room = [], LIMIT
    for view in views:
        if view.size <= room:
            kept.append(view)
            room -= view.size
    sites = list(scores["site"].unique())
    left_out = [view.case for view in views if view not in kept]
    return sorted(kept, key=lambda view: (sites.index(view.site), -view.dice)), left_out


def choose_cases(scores: pd.DataFrame) -> list[dict]:
    """The best, median and worst case of each site by Dice, the mean over tissues and methods.

    Args:
        scores: a row per case, method, run and tissue.

    Returns:
        Records with ``site``, ``case``, ``rank`` and ``dice``, all sites' worst cases first; a case stands there once,
        with all its ranks.
    """
    cases = with_tissue_mean(per_case(scores))
    means = cases[cases["tissue"] == MEAN].groupby(["site", "case"], sort=False)["dice"].mean()
    chosen: dict[str, dict] = {}
    for rank in RANKS:
        for site, of_site in means.sort_values().groupby("site", sort=False):
            place = {"worst": 0, "median": (len(of_site) - 1) // 2, "best": len(of_site) - 1}[rank]
            case, value = of_site.index[place][1], of_site.iloc[place]
            record = chosen.setdefault(case, {"site": site, "case": case, "dice": value, "rank": []})
            record["rank"].append(rank)
    return [record | {"rank": ", ".join(record["rank"])} for record in chosen.values()]


def _view(result: Measured, labels: Labels, record: Mapping) -> View:
    case = result.case
    reference = read_segmentation(case.reference, labels)
    first_runs = {method: next(iter(runs.values())) for method, runs in case.predictions.items()}
    segmentations = {method: read_segmentation(file, labels).ras for method, file in first_runs.items()}
    box = _bounding_box(np.any([reference.ras, *segmentations.values()], axis=0))
    spacing = ras_spacing(reference.properties)
    flat = [1.0 if size == 1 else step for size, step in zip(reference.ras.shape, spacing, strict=True)]
    affine = np.diag([*flat, 1.0])  # nnU-Net gives 2-D images an axis with a spacing of metres

    names = labels.channels or ("image",)
    layers = []
    for name, file in zip(names, case.images, strict=False):
        image = read_image(file, labels, like=reference)
        layers.append(Layer(name, "image", _encode(_quantise(image.ras[box]), affine)))
    layers.append(Layer("reference", "labels", _encode(labels.paint(reference.ras[box]), affine)))
    for method, array in segmentations.items():
        layers.append(Layer(method, "labels", _encode(labels.paint(array[box]), affine)))
    for method, array in segmentations.items():
        wrong = labels.wrong(array, reference.ras)[box]
        layers.append(Layer(f"errors of {method}", "errors", _encode(wrong.astype(np.uint8), affine)))

    differing = disagreement(reference.ras, list(segmentations.values()), labels)
    focus = _focus(differing, result.slice_index, box)
    return View(case.name, case.site, record["rank"], float(record["dice"]), focus, tuple(layers))


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The box around a mask, with a margin; everything if the mask is empty."""
    if not mask.any():
        return slice(None), slice(None), slice(None)
    bounds = []
    for axis in range(3):
        low, high = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]]
        bounds.append(slice(max(0, low - MARGIN), min(mask.shape[axis], high + MARGIN + 1)))
    return bounds[0], bounds[1], bounds[2]


def _focus(differing: np.ndarray, index: int, box: tuple[slice, ...]) -> tuple[float, float, float]:
    """A differing voxel in the slice where most differ, as fractions of the box."""
    found = np.argwhere(differing[:, :, index])
    place = np.array([*(found[len(found) // 2] if len(found) else np.array(differing.shape[:2]) // 2), index])
    bounds = [part.indices(size) for part, size in zip(box, differing.shape, strict=True)]
    fractions = [(p + 0.5 - low) / (high - low) for p, (low, high, _) in zip(place, bounds, strict=True)]
    return fractions[0], fractions[1], fractions[2]


def _quantise(image: np.ndarray) -> np.ndarray:
    """Grey levels from 0 to 63 between the 0.5th and 99.5th percentile of what is not zero."""
    foreground = image[image != 0]
    low, high = np.percentile(foreground, (0.5, 99.5)) if foreground.size else (0, 1)
    scaled = (np.clip(image, low, high) - low) / max(high - low, np.finfo(float).tiny)
    return np.round(scaled * (GREY_LEVELS - 1)).astype(np.uint8)


def _encode(array: np.ndarray, affine: np.ndarray) -> str:
    content = nib.Nifti1Image(array, affine).to_bytes()
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode("ascii")
