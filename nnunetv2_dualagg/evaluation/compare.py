"""The comparison of several methods, from folders of segmentations to tables and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunetv2_dualagg.errors import UserError
from nnunetv2_dualagg.evaluation.aggregate import summary
from nnunetv2_dualagg.evaluation.cases import find_dataset_json, load_labels
from nnunetv2_dualagg.evaluation.conclusions import conclusions
from nnunetv2_dualagg.evaluation.discovery import find_cases
from nnunetv2_dualagg.evaluation.figures import pick_cases, segmentation_figure
from nnunetv2_dualagg.evaluation.measure import measure, scores_table
from nnunetv2_dualagg.evaluation.metrics import DICE
from nnunetv2_dualagg.evaluation.statistics import paired_statistics
from nnunetv2_dualagg.evaluation.tables import as_markdown, make_tables, write_table
from nnunetv2_dualagg.files import new_directory

SCORES = "metrics.csv"
SEGMENTATIONS = "segmentations.png"


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        output: the folder that was written.
        scores: all measurements, a row per case, method, run and tissue (columns ``case``, ``site``, ``method``,
            ``run``, ``tissue`` and the measures, ``dice`` first).
        statistics: paired statistics between the methods, see :func:`statistics.paired_statistics`.
        conclusions: what may be said of the Dice over all sites, a sentence per pair of methods.
        skipped: a sentence for each case that was left out.
        text: the Dice table and the conclusions, for the screen.
    """

    output: Path
    scores: pd.DataFrame
    statistics: pd.DataFrame
    conclusions: tuple[str, ...]
    skipped: tuple[str, ...]
    text: str

    @property
    def mean_dice(self) -> dict[str, float]:
        """Method -> Dice, averaged over the tissues of each site's cases, then over the sites."""
        means = self.scores.groupby(["method", "site", "tissue"], sort=False)["dice"].mean()
        return means.groupby("method", sort=False).mean().to_dict()


def compare(
    reference: Path,
    predictions: Mapping[str, Path | Sequence[Path]],
    output: Path,
    *,
    sites: Path | None = None,
    images: Path | None = None,
    dataset_json: Path | None = None,
    skip_missing: bool = False,
    num_threads: int = 2,
    overwrite: bool = False,
) -> Comparison:
    """Compare segmentations with a reference and with each other.

    Args:
        reference: folder of reference segmentations ``CASE.nii.gz``.
        predictions: method name -> folder of its segmentations, named alike; several folders are runs of the method
            (folds or seeds), whose measures are averaged in each case.
        output: folder to write: ``metrics.csv``, ``dice.csv``, ``dice.md`` and ``segmentations.png``.
        sites: ``sites.json`` as written by ``convert_iseg``; None puts all cases in one site.
        images: folder of images ``CASE_0000.nii.gz`` to show beside the segmentations.
        dataset_json: nnU-Net's ``dataset.json``; None looks beside and above the references and in the predictions.
        skip_missing: leave out the cases that lack a file instead of raising.
        num_threads: how many cases to measure at a time.
        overwrite: replace ``output`` if it exists.

    Returns:
        The measurements and where the files are.

    Raises:
        UserError: folders, cases, label values or voxel grids do not fit together, or ``output`` exists.
    """
    runs = {name: [folders] if isinstance(folders, Path) else list(folders) for name, folders in predictions.items()}
    _check_output(output, overwrite)
    labels = load_labels(dataset_json or find_dataset_json(reference, runs))
    cases, skipped = find_cases(reference, runs, labels, sites, images, skip_missing)
    measured = measure(cases, labels, num_threads)
    scores = scores_table(measured)
    summarised, statistics = summary(scores), paired_statistics(scores)
    tables = make_tables(summarised)
    sentences = conclusions(statistics, summarised["site"].iloc[-1], DICE)
    with new_directory(output, overwrite) as folder:
        scores.to_csv(folder / SCORES, index=False)
        summarised.to_csv(folder / "summary.csv", index=False)
        statistics.to_csv(folder / "statistics.csv", index=False)
        for table in tables:
            write_table(table, folder)
        segmentation_figure(pick_cases(measured), labels, folder / SEGMENTATIONS)
    text = "\n".join([as_markdown(tables[0].frame), "", *sentences])
    return Comparison(output, scores, statistics, tuple(sentences), tuple(skipped), text)


def _check_output(output: Path, overwrite: bool) -> None:
    """Refuse before the work, and never replace a folder that holds something else."""
    if output.exists() and not overwrite:
        raise UserError(f"{output} exists already; choose another place or remove it first")
    if output.exists() and not (output / SCORES).is_file():
        raise UserError(f"{output} exists and is no earlier comparison (it has no {SCORES}), so it is not replaced")
