"""Scoring every case of a comparison, several cases at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from nnunetv2_dualagg.evaluation.cases import Case, Labels
from nnunetv2_dualagg.evaluation.metrics.agreement import metrics_of
from nnunetv2_dualagg.evaluation.reading import Volume, read_segmentation
from nnunetv2_dualagg.evaluation.snapshot import MARGIN, Snapshot, take_snapshot
from nnunetv2_dualagg.utils.boxes import bounding_box
from nnunetv2_dualagg.utils.parallel import run_threads


@dataclass(frozen=True)
class ScoredCase:
    """What was found in one case.

    Attributes:
        case: the case.
        rows: one record per method, run and tissue.
        snapshot: its segmentations, for pictures.
        slice_index: the axial slice (index in RAS order) where the methods disagree most.
        disagreement: the number of voxels in it that they label differently.
    """

    case: Case
    rows: list[dict]
    snapshot: Snapshot = field(repr=False)
    slice_index: int
    disagreement: int


def score_cases(cases: Sequence[Case], labels: Labels, num_threads: int = 1) -> list[ScoredCase]:
    """Score all cases, with a progress bar. Every segmentation is read once.

    Args:
        cases: the cases.
        labels: what ``dataset.json`` says.
        num_threads: how many cases to work on at a time.

    Returns:
        The results in the order of the cases.

    Raises:
        UserError: a file cannot be read, or does not fit its reference.
    """
    # threads, not processes: the time goes into compiled loops that release Python's lock
    return run_threads(lambda case: score_case(case, labels), cases, num_threads, "Scoring")


def scores_table(scored: Iterable[ScoredCase]) -> pd.DataFrame:
    """All scores in long form: a row per case, method, run and tissue."""
    return pd.DataFrame([row for result in scored for row in result.rows])


def score_case(case: Case, labels: Labels) -> ScoredCase:
    """Score all methods in one case; see :func:`score_cases`."""
    reference = read_segmentation(case.reference, labels)
    rows: list[dict] = []
    first_runs: dict[str, np.ndarray] = {}
    arrays = []
    for method, runs in case.predictions.items():
        for run, file in runs.items():
            prediction = read_segmentation(file, labels, like=reference.grid)
            keys = {"case": case.name, "site": case.site, "method": method, "run": run}
            rows += [{**keys, **row} for row in _tissue_rows(reference, prediction, labels)]
            arrays.append(prediction.ras)
            first_runs.setdefault(method, prediction.ras)
    box = bounding_box(np.any([reference.ras, *arrays], axis=0), MARGIN)
    per_slice = disagreement(reference.ras[box], [array[box] for array in arrays], labels).sum(axis=(0, 1))
    index = int(np.argmax(per_slice)) if per_slice.any() else per_slice.size // 2
    snapshot = take_snapshot(reference, first_runs, box)
    return ScoredCase(case, rows, snapshot, box[2].start + index, int(per_slice[index]))


def disagreement(reference: np.ndarray, predictions: Sequence[np.ndarray], labels: Labels) -> np.ndarray:
    """Where segmentations differ from each other; a single one is held against the reference.

    Args:
        reference: label values.
        predictions: label values of the same shape, one array per method and run.
        labels: what ``dataset.json`` says; what the reference ignores is left out.

    Returns:
        A boolean array of that shape.
    """
    first, *others = predictions
    if not others:
        return labels.wrong(first, reference)
    known = True if labels.ignore is None else reference != labels.ignore
    return np.any([first != other for other in others], axis=0) & known


def _tissue_rows(reference: Volume, prediction: Volume, labels: Labels) -> Iterator[dict]:
    ours, theirs, spacing = prediction.array, reference.array, reference.properties["spacing"]
    if len(ours) == 1:  # nnU-Net gives 2-D images an axis of one voxel, which is no surface
        ours, theirs, spacing = ours[0], theirs[0], spacing[1:]
    for tissue, values in labels.tissues.items():
        use = labels.to_measure(tissue, theirs)
        yield {"tissue": tissue, **metrics_of(np.isin(theirs, values) & use, np.isin(ours, values) & use, spacing)}
