"""What ``convert_bobs --check`` reports about BOBs folders, without writing anything."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from nnunetv2_dualagg.dataset_conversion.bobs.check import (
    Copies,
    missing_files,
    read_image,
    share_of_labels_without_image,
)
from nnunetv2_dualagg.dataset_conversion.bobs.convert import MODALITIES
from nnunetv2_dualagg.dataset_conversion.bobs.envelope import with_ignored
from nnunetv2_dualagg.dataset_conversion.bobs.labels import IGNORE, TISSUES
from nnunetv2_dualagg.dataset_conversion.bobs.layout import Session, find_sessions
from nnunetv2_dualagg.dataset_conversion.bobs.registry import load_registry
from nnunetv2_dualagg.dataset_conversion.checks import report, volume_cells
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.parallel import run_parallel

SHAPE = (182, 218, 182)

_MUCH = 0.01  # of the labelled voxels
_COLUMNS = ("session", "image", "shape", "spacing mm", "type", "range", "CSF, GM, WM, ignored ml")


@dataclass
class Findings:
    """What was found in one session, or in all.

    Attributes:
        problems: what would make the conversion fail.
        remarks: oddities that would not.
        rows: one for the table of each sound image.
    """

    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)


def check_bobs(
    folders: Iterable[Path | str],
    *,
    ages: Iterable[int] | None = None,
    modalities: Sequence[str] = MODALITIES,
    keep_head: bool = False,
    more_labels: Mapping[int, int] | None = None,
    num_processes: int = 2,
) -> tuple[list[str], str]:
    """Look through BOBs folders as ``convert_bobs`` would; see there for the arguments.

    Returns:
        A sentence for each fault that would make the conversion fail, and a report that begins with them.

    Raises:
        UserError: there are no sessions.
    """
    modalities = [kind for kind in MODALITIES if kind in modalities]
    sessions, problems = find_sessions(folders, ages)
    inspect = partial(_inspect, modalities, keep_head, dict(more_labels or {}))
    found = run_parallel(inspect, sessions, num_processes)
    problems += [problem for one in found for problem in one.problems]
    remarks = [remark for one in found for remark in one.remarks]
    rows = [_COLUMNS, *(row for one in found for row in one.rows)]
    return problems, report(problems, remarks, list(_summary(sessions)), rows)


def _inspect(modalities: Sequence[str], keep_head: bool, more: Mapping[int, int], session: Session) -> Findings:
    found = Findings(problems=list(missing_files(session, modalities)), remarks=list(_changed_files(session)))
    first = tissues = None
    copies = Copies()
    for kind in ("label", *modalities):
        if kind not in session.files:
            continue
        try:
            image = read_image(session, kind, first, more)
            copies.check(image.voxels, session.files[kind])
        except UserError as error:
            found.problems.append(str(error))
            continue
        if first is None and image.volume.shape != SHAPE:
            found.remarks.append(f"{image.volume.path} has shape {image.volume.shape}; those released have {SHAPE}")
        first = first or image.volume
        volumes = ""
        if kind == "label":
            tissues, volumes = image.voxels, _millilitres(image.voxels, image.volume.spacing, keep_head)
        elif tissues is not None and (share := share_of_labels_without_image(tissues, image.voxels)) > _MUCH:
            found.remarks.append(
                f"{image.volume.path} is 0 in {share:.0%} of what is labelled; does it fit the labels?"
            )
        low_high = "" if kind == "label" else f"{image.voxels.min():g} to {image.voxels.max():g}"
        found.rows.append((session.case, kind, *volume_cells(image.volume), low_high, volumes))
        del image  # before the next one is read
    return found


def _millilitres(tissues: np.ndarray, spacing: Sequence[float], keep_head: bool) -> str:
    labels = with_ignored(tissues, spacing, keep_head)
    counts = np.bincount(labels.ravel(), minlength=IGNORE + 1) * float(np.prod(spacing)) / 1000
    return ", ".join(f"{counts[value]:.1f}" for value in (*TISSUES.values(), IGNORE) if value)


def _changed_files(session: Session) -> Iterator[str]:
    """Files that have a name of the released data set, but not its content."""
    import pooch

    released = {Path(file.path).name: file.sha256 for file in load_registry()}
    for path in session.files.values():
        expected = released.get(path.name)
        if expected and (found := pooch.file_hash(path, alg="sha256")) != expected:
            yield f"{path} is not the file that was released: its SHA-256 is {found[:12]}..., not {expected[:12]}..."


def _summary(sessions: Sequence[Session]) -> Iterator[str]:
    ages = Counter(session.age for session in sessions)
    yield f"{len(sessions)} sessions of {len({session.subject for session in sessions})} infants"
    yield "  by age: " + ", ".join(f"{number} of {age} months" for age, number in sorted(ages.items()))
