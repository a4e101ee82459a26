"""What is written for each infant: a record of how it was made, volumes, preview, and last the segmentation."""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nnunetv2_dualagg import __version__
from nnunetv2_dualagg.inference.case import Case, Options, Prepared, Segmentation
from nnunetv2_dualagg.inference.images import save_labels
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_file
from nnunetv2_dualagg.utils.json import read_json

if TYPE_CHECKING:
    from nnunetv2_dualagg.inference.model import Model

SEGMENTATION, RECORD, VOLUMES, PREVIEW = "dseg.nii.gz", "dseg.json", "volumes.tsv", "preview.png"


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
    from nnunetv2_dualagg.inference.preview import draw_preview  # matplotlib, which nothing before needs

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
