"""Measuring every case of a comparison, several cases at a time."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from nnunetv2_dualagg.evaluation.cases import Case, Labels
from nnunetv2_dualagg.evaluation.metrics.agreement import measures
from nnunetv2_dualagg.evaluation.reading import Volume, read_segmentation


@dataclass(frozen=True)
class Measured:
    """What was measured in one case.

    Attributes:
        case: the case.
        rows: one record per method, run and tissue.
        slice_index: the axial slice (index in RAS order) where the methods disagree most.
        disagreement: the number of voxels in it that they label differently.
    """

    case: Case
    rows: list[dict]
    slice_index: int
    disagreement: int


def measure(cases: Sequence[Case], labels: Labels, num_threads: int = 1) -> list[Measured]:
    """Measure all cases, with a progress bar.

    Args:
        cases: the cases.
        labels: what ``dataset.json`` says.
        num_threads: how many cases to work on at a time.

    Returns:
        The results in the order of the cases.

    Raises:
        UserError: a file cannot be read, or does not fit its reference.
    """
    results = _run(cases, labels, max(1, num_threads))
    done = list(tqdm(results, total=len(cases), desc="Measuring", unit="case"))
    order = {case.name: index for index, case in enumerate(cases)}
    return sorted(done, key=lambda measured: order[measured.case.name])


def scores_table(measured: Iterable[Measured]) -> pd.DataFrame:
    """All measurements in long form: a row per case, method, run and tissue."""
    return pd.DataFrame([row for result in measured for row in result.rows])


def measure_case(case: Case, labels: Labels) -> Measured:
    """Measure all methods in one case; see :func:`measure`."""
    reference = read_segmentation(case.reference, labels)
    rows, predictions = [], []
    for method, runs in case.predictions.items():
        for run, file in runs.items():
            prediction = read_segmentation(file, labels, like=reference)
            keys = {"case": case.name, "site": case.site, "method": method, "run": run}
            rows += [{**keys, **row} for row in _tissue_rows(reference, prediction, labels)]
            predictions.append(prediction.ras)
    per_slice = disagreement(reference.ras, predictions, labels).sum(axis=(0, 1))
    index = int(np.argmax(per_slice))
    return Measured(case, rows, index, int(per_slice[index]))


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
        yield {"tissue": tissue, **measures(np.isin(theirs, values) & use, np.isin(ours, values) & use, spacing)}


def _run(cases: Sequence[Case], labels: Labels, num_threads: int) -> Iterator[Measured]:
    # threads, not processes: the time goes into compiled loops that release Python's lock
    with ThreadPoolExecutor(num_threads) as pool:
        futures = [pool.submit(measure_case, case, labels) for case in cases]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
