"""What is written for each infant: a record of how it was made, volumes, preview, and last the segmentation."""

import csv
import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from nnunetv2_dualagg import __version__
from nnunetv2_dualagg.inference.case import Case, Options, Prepared, Segmentation
from nnunetv2_dualagg.inference.images import save_labels, turned
from nnunetv2_dualagg.inference.model import Model
from nnunetv2_dualagg.utils.boxes import bounding_box
from nnunetv2_dualagg.utils.colours import TISSUES
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_file
from nnunetv2_dualagg.utils.json import read_json

SEGMENTATION, RECORD, VOLUMES, PREVIEW = "dseg.nii.gz", "dseg.json", "volumes.tsv", "preview.png"
MARGIN = 4.0
"""mm around the brain in the preview."""

PLANES = (("sagittal", 0), ("coronal", 1), ("axial", 2))


def is_done(case: Case, model: dict[str, Any], options: Options) -> bool:
    """Whether an earlier run has segmented this infant in the same way.

    Raises:
        UserError: it has in another way, or something else lies where the results shall go.
    """
    record, segmentation = case.output(RECORD), case.output(SEGMENTATION)
    if not record.is_file():
        if segmentation.exists():
            raise UserError(f"{segmentation} exists already without {record.name}; give --overwrite to replace it")
        return False
    content = read_json(record)
    same = isinstance(content, dict) and all(
        content.get(key) == value
        for key, value in (("Model", model), ("Options", asdict(options)), ("Sources", list(case.sources)))
    )
    if not same:
        raise UserError(f"{record} is of another model, other options or images; give --overwrite, or another -o")
    return segmentation.is_file()  # without it, the run that left the record was killed


def write(case: Case, model: Model, options: Options, prepared: Prepared, labels: NDArray, found: Segmentation) -> None:
    """Write all files of an infant.

    They appear once all are complete: the record first, which tells whose the others are, the segmentation last.
    """
    with ExitStack() as stack:
        segmentation, preview, volumes, record = (
            stack.enter_context(new_file(case.output(ending), overwrite=True))
            for ending in (SEGMENTATION, PREVIEW, VOLUMES, RECORD)
        )
        save_labels(labels, prepared.reference, segmentation)
        draw_preview(preview, prepared, labels, model.labels, case.name)
        _write_volumes(volumes, model.labels, labels, found)
        record.write_text(json.dumps(_record(case, model, options, found), indent=2), encoding="utf-8")
        case.output(SEGMENTATION).unlink(missing_ok=True)  # an older one must not pass for that of the new record


def _record(case: Case, model: Model, options: Options, found: Segmentation) -> dict[str, Any]:
    return {
        "Description": "Tissues of the brain, segmented by nnUNetv2_dualagg segment",
        "Manual": False,
        "Sources": list(case.sources),
        "Labels": model.labels,
        "SoftwareVersion": __version__,
        "Model": model.record,
        "Options": asdict(options),
        "BrainMask": str(case.mask) if case.mask else "images are skull-stripped",
        "Alignment": found.alignments,
        "VolumesMl": found.volumes,
        "Warnings": found.warnings,
    }


def _write_volumes(file: Path, tissues: dict[str, int], labels: NDArray, found: Segmentation) -> None:
    with open(file, "w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, delimiter="\t", lineterminator="\n")
        rows.writerow(["tissue", "label", "voxels", "volume_ml"])
        for name, value in tissues.items():
            rows.writerow([name, value, int((labels == value).sum()), f"{found.volumes[name]:.3f}"])


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
