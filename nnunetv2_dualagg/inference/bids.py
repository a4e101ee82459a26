"""BIDS: the infants of a data set, and the derivative that holds their segmentations."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_dualagg import __version__
from nnunetv2_dualagg.inference.case import Case
from nnunetv2_dualagg.utils.errors import UserError, explained, needs_extra
from nnunetv2_dualagg.utils.files import new_file
from nnunetv2_dualagg.utils.forms import BidsDescription, Form
from nnunetv2_dualagg.utils.json import read_json

BIDS_VERSION = "1.9.0"
DESCRIPTION = "desc-dualagg"
EXTENSIONS = [".nii.gz", ".nii"]

COMMON_LABELS = {"GM": 1, "WM": 2, "CSF": 3}
"""BIDS' numbers of tissues, to which ``dseg.tsv`` maps ours."""

IGNORED = "*_volumes.tsv\n*_preview.png\n"
README = """Segmentations of the brain's tissues by nnUNetv2_dualagg segment.

dseg.tsv names the labels. Beside each segmentation are its volumes (_volumes.tsv), a picture (_preview.png) and a
record of the model, the options, the alignment and the warnings (_dseg.json).
"""


def find_cases(
    root: Path,
    output: Path,
    channels: Sequence[str],
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    masks: Path | None = None,
) -> list[Case]:
    """All infants of a data set, a case each subject and session.

    Args:
        root: the data set.
        output: where the derivative shall be.
        channels: the model's, T1 and T2.
        participants: labels, with or without ``sub-``; all if None.
        sessions: labels, with or without ``ses-``; all if None.
        masks: a derivative with masks of the brains, if any.

    Raises:
        UserError: pybids is missing, this is no BIDS data set, or nobody in it has images or the labels asked for.
    """
    suffixes = [_suffix(name) for name in channels]
    layout = _layout(root)
    wanted = _labels(participants, "sub-", layout.get_subjects(), root)
    wanted_sessions = _labels(sessions, "ses-", layout.get_sessions(), root)
    mask_layout = None if masks is None else _layout(masks)
    cases = []
    for subject in wanted or sorted(layout.get_subjects()):
        of_subject: list[str | None] = [*(wanted_sessions or sorted(layout.get_sessions(subject=subject)))]
        for session in of_subject or [None]:
            case = _case(layout, mask_layout, output, suffixes, subject, session)
            if case is not None:
                cases.append(case)
    if not cases:
        raise UserError(f"{root} has no {suffixes[0]} images of the requested infants")
    return cases


def start_derivative(output: Path, root: Path, tissues: Mapping[str, int]) -> None:
    """Write what makes a folder a BIDS derivative; what is there already stays.

    Args:
        output: the derivative.
        root: the data set that it derives from.
        tissues: names and labels.

    Raises:
        UserError: ``output`` is another BIDS data set, or its labels mean something else.
    """
    description = output / "dataset_description.json"
    if description.is_file():
        makers = [maker.get("Name") for maker in read_json(description, BidsDescription).get("GeneratedBy", [])]
        if "nnunetv2_dualagg" not in makers:
            raise UserError(f"{output} is a BIDS data set of something else; choose another -o")
    output.mkdir(parents=True, exist_ok=True)
    rows = [["index", "name", "abbreviation", "mapping"]]
    for name, value in tissues.items():
        rows.append([str(value), name, name, str(COMMON_LABELS.get(name, "n/a"))])
    table = "".join("\t".join(row) + "\n" for row in rows)
    labels = output / "dseg.tsv"
    if labels.is_file() and labels.read_text(encoding="utf-8") != table:
        raise UserError(f"{labels} names other labels than this model has; choose another -o")
    content = {
        "Name": "Tissue segmentations of infant brains",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "nnunetv2_dualagg", "Version": __version__}],
        "DatasetLinks": {"raw": root.resolve().as_uri()},
    }
    files = {
        description: json.dumps(content, indent=2) + "\n",
        labels: table,
        output / ".bidsignore": IGNORED,
        output / "README": README,
    }
    for file, text in files.items():
        if not file.exists():
            with new_file(file) as part:
                part.write_text(text, encoding="utf-8")


def _suffix(channel: str) -> str:
    name = channel.upper().removesuffix("W")
    if name not in ("T1", "T2"):
        raise UserError(f"the model's channel {channel} is neither T1 nor T2; give the files themselves with -i")
    return f"{name}w"


def _layout(root: Path) -> Any:
    try:
        from bids.layout import BIDSLayout, BIDSLayoutIndexer
    except ImportError as error:
        raise needs_extra("a BIDS data set", "pybids", "segment") from error
    if not (root / "dataset_description.json").is_file():
        raise UserError(f"{root} is not a BIDS data set: dataset_description.json is missing")
    read_json(root / "dataset_description.json", BidsDescription)
    # A derivative is no more to pybids than a data set, if it is not asked to validate.
    with explained(f"{root} cannot be read as a BIDS data set"):
        return BIDSLayout(
            root, validate=False, is_derivative=False, indexer=BIDSLayoutIndexer(validate=False, index_metadata=False)
        )


def _labels(given: Sequence[str] | None, prefix: str, known: Sequence[str], root: Path) -> list[str]:
    labels = [label.removeprefix(prefix) for label in given or ()]
    unknown = sorted(set(labels) - set(known))
    if unknown:
        raise UserError(f"{root} has no {prefix}{unknown[0]}; it has {', '.join(prefix + k for k in sorted(known))}")
    return labels


def _case(
    layout: Any, masks: Any, output: Path, suffixes: Sequence[str], subject: str, session: str | None
) -> Case | None:
    """The images of one session; None if even the first is missing. A missing one is reported when its turn comes."""
    found = [_images(layout, subject, session, suffix) for suffix in suffixes]
    if not found[0]:
        return None
    present = [images for images in found if images]
    first = present[0][0]
    files = [first, *(_partner(first, others) for others in present[1:])]
    mask = next(iter(_images(masks, subject, session, "mask")), None) if masks is not None else None
    name = re.sub(r"_desc-[a-zA-Z0-9]+", "", first.name.split(".")[0].removesuffix(f"_{suffixes[0]}"))
    folders = [f"sub-{subject}", *([f"ses-{session}"] if session else []), "anat"]
    return Case(
        name,
        tuple(files),
        output.joinpath(*folders, f"{name}_{DESCRIPTION}"),
        mask,
        _stripped(first) if mask is None else None,
        tuple(f"bids:raw:{Path(os.path.relpath(file, layout.root)).as_posix()}" for file in files),
        tuple(_left_out(file, images) for file, images in zip(files, present, strict=True) if len(images) > 1),
    )


def _images(layout: Any, subject: str, session: str | None, suffix: str) -> list[Path]:
    query = {"subject": subject, "suffix": suffix, "extension": EXTENSIONS}
    if session is not None:
        query["session"] = session
    return sorted(Path(file.path) for file in layout.get(**query))  # not resolved: DataLad keeps links


def _partner(first: Path, others: Sequence[Path]) -> Path:
    """Of several images the one whose name has most in common with that of the first, such as the same run."""
    words = set(first.name.split("_"))
    return max(others, key=lambda other: len(words & set(other.name.split("_"))))


def _left_out(used: Path, found: Sequence[Path]) -> str:
    return f"{used.name} is used, not {', '.join(file.name for file in found if file != used)}"


def _stripped(image: Path) -> bool | None:
    """What the sidecar says of the skull; None if it says nothing."""
    sidecar = image.with_name(image.name.split(".")[0] + ".json")
    said = read_json(sidecar, Form).get("SkullStripped") if sidecar.is_file() else None
    return said if isinstance(said, bool) else None
