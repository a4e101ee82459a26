"""What the report's viewer shows: a few cases, cropped and quantised so that the file stays small."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pandas as pd

from nnunetv2_dualagg.evaluation.cases import Labels
from nnunetv2_dualagg.evaluation.metrics.aggregate import MEAN, with_tissue_mean
from nnunetv2_dualagg.evaluation.metrics.scoring import ScoredCase, disagreement
from nnunetv2_dualagg.evaluation.orientation import ras_spacing
from nnunetv2_dualagg.evaluation.report.images import Images

LIMIT = 30 * 2**20  # characters of base64 in all
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
    chosen: Sequence[Mapping], scored: Mapping[str, ScoredCase], images: Images, labels: Labels
) -> tuple[list[View], list[str]]:
    """Prepare the viewer's cases.

    Args:
        chosen: from :func:`choose_cases`.
        scored: all cases, by name.
        images: the channels of the chosen ones.
        labels: what ``dataset.json`` says.

    Returns:
        The views, by site, and the names of the cases for which there was no room.
    """
    views = [_view(scored[record["case"]], images[record["case"]], labels, record) for record in chosen]
    kept, room = [], LIMIT
    for view in views:
        if view.size <= room:
            kept.append(view)
            room -= view.size
    sites = list(dict.fromkeys(result.case.site for result in scored.values()))
    left_out = [view.case for view in views if view not in kept]
    return sorted(kept, key=lambda view: (sites.index(view.site), -view.dice)), left_out


def choose_cases(cases: pd.DataFrame) -> list[dict]:
    """The best, median and worst case of each site by Dice, the mean over tissues and methods.

    Args:
        cases: a row per case, method and tissue.

    Returns:
        Records with ``site``, ``case``, ``rank`` and ``dice``, all sites' worst cases first; a case stands there once,
        with all its ranks.
    """
    means = with_tissue_mean(cases)
    means = means[means["tissue"] == MEAN].groupby(["site", "case"], sort=False)["dice"].mean()
    chosen: dict[str, dict] = {}
    for rank in RANKS:
        for site, of_site in means.sort_values().groupby("site", sort=False):
            place = {"worst": 0, "median": (len(of_site) - 1) // 2, "best": len(of_site) - 1}[rank]
            case, value = of_site.index[place][1], of_site.iloc[place]
            record = chosen.setdefault(case, {"site": site, "case": case, "dice": value, "rank": []})
            record["rank"].append(rank)
    return [record | {"rank": ", ".join(record["rank"])} for record in chosen.values()]


def _view(result: ScoredCase, images: Sequence[np.ndarray], labels: Labels, record: Mapping) -> View:
    snapshot = result.snapshot
    reference, segmentations = snapshot.reference, snapshot.predictions
    # nnU-Net gives 2-D images an axis with a spacing of metres
    spacing = ras_spacing(snapshot.grid.properties)
    flat = [1.0 if size == 1 else step for size, step in zip(reference.shape, spacing, strict=True)]
    affine = np.diag([*flat, 1.0])

    names = labels.channels or ("image",)
    layers = [Layer(name, "image", _encode(image, affine)) for name, image in zip(names, images, strict=False)]
    layers.append(Layer("reference", "labels", _encode(labels.paint(reference), affine)))
    for method, array in segmentations.items():
        layers.append(Layer(method, "labels", _encode(labels.paint(array), affine)))
    for method, array in segmentations.items():
        layers.append(
            Layer(f"errors of {method}", "errors", _encode(labels.wrong(array, reference).astype(np.uint8), affine))
        )

    differing = disagreement(reference, list(segmentations.values()), labels)
    focus = _focus(differing, result.slice_index - snapshot.box[2].start)
    return View(result.case.name, result.case.site, record["rank"], float(record["dice"]), focus, tuple(layers))


def _focus(differing: np.ndarray, index: int) -> tuple[float, float, float]:
    """A differing voxel in the slice where most differ, as fractions of the volume."""
    found = np.argwhere(differing[:, :, index])
    place = [*(found[len(found) // 2] if len(found) else np.array(differing.shape[:2]) // 2), index]
    fractions = [(position + 0.5) / size for position, size in zip(place, differing.shape, strict=True)]
    return fractions[0], fractions[1], fractions[2]


def _encode(array: np.ndarray, affine: np.ndarray) -> str:
    content = nib.Nifti1Image(array, affine).to_bytes()
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode("ascii")
