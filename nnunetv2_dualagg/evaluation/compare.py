"""The comparison of several methods, from folders of segmentations to tables, figures and a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunetv2_dualagg.evaluation.cases import find_dataset_json, load_labels
from nnunetv2_dualagg.evaluation.discovery import find_cases
from nnunetv2_dualagg.evaluation.metrics.aggregate import aggregate
from nnunetv2_dualagg.evaluation.metrics.agreement import ASD, DICE, HD95
from nnunetv2_dualagg.evaluation.metrics.scoring import score_cases, scores_table
from nnunetv2_dualagg.evaluation.metrics.statistics import paired_statistics
from nnunetv2_dualagg.evaluation.report.conclusions import conclusions
from nnunetv2_dualagg.evaluation.report.figures import draw_figures
from nnunetv2_dualagg.evaluation.report.images import read_images
from nnunetv2_dualagg.evaluation.report.page import Report, write_report
from nnunetv2_dualagg.evaluation.report.pictures import pick_cases
from nnunetv2_dualagg.evaluation.report.tables import make_tables, statistics_table
from nnunetv2_dualagg.evaluation.report.volumes import choose_cases, make_views
from nnunetv2_dualagg.utils.files import check_new_directory, new_directory
from nnunetv2_dualagg.utils.tables import as_markdown, write_table

SCORES = "metrics.csv"
REPORT = "report.html"
MADE_BY = "compare"


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        output: the folder that was written.
        scores: all scores, a row per case, method, run and tissue (columns ``case``, ``site``, ``method``,
            ``run``, ``tissue`` and those of :func:`agreement.metrics_of`).
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
    tissues: Sequence[str] = (),
    skip_missing: bool = False,
    num_threads: int = 2,
    overwrite: bool = False,
) -> Comparison:
    """Compare segmentations with a reference and with each other.

    Args:
        reference: folder of reference segmentations ``CASE.nii.gz``.
        predictions: method name -> folder of its segmentations, named alike; several folders are runs of the method
            (folds or seeds), whose metrics are averaged in each case.
        output: folder to write. ``report.html`` shows everything; ``metrics.csv``, ``summary.csv`` and
            ``statistics.csv`` hold the numbers; ``dice``, ``table1`` to ``table3``, ``all_metrics`` and ``differences``
            are tables as CSV, Markdown and LaTeX; ``segmentations.png``, ``boxplots_*.png`` and ``volumes.png`` are
            the figures.
        sites: ``sites.json`` as written by ``convert_iseg``; None puts all cases in one site.
        images: folder of images ``CASE_0000.nii.gz`` to show below the segmentations.
        dataset_json: nnU-Net's ``dataset.json``; None looks beside and above the references and in the predictions.
        tissues: the tissues to look at, where the others do not mean the same in reference and predictions; all if none
            is given.
        skip_missing: leave out the cases that lack a file instead of raising.
        num_threads: how many cases to score at a time.
        overwrite: replace ``output`` if it is an earlier comparison.

    Returns:
        The scores, the statistics and what they allow to conclude.

    Raises:
        UserError: folders, cases, label values or voxel grids do not fit together, or ``output`` exists.
    """
    runs = {name: [folders] if isinstance(folders, Path) else list(folders) for name, folders in predictions.items()}
    inputs = [reference, *(folder for folders in runs.values() for folder in folders)]
    inputs += [path for path in (sites, images, dataset_json) if path]
    check_new_directory(output, MADE_BY, overwrite, inputs)
    labels = load_labels(dataset_json or find_dataset_json(reference, runs))
    labels = labels.only(tissues) if tissues else labels
    cases, skipped = find_cases(reference, runs, labels, sites, images, skip_missing)
    scored = score_cases(cases, labels, num_threads)
    scores = scores_table(scored)
    aggregated = aggregate(scores)
    statistics = paired_statistics(aggregated)
    site_names = list(aggregated.summary["site"].unique())  # that of all sites comes last
    said = {m.key: conclusions(statistics, site_names[-1], m) for m in (DICE, ASD, HD95)}
    tables = make_tables(aggregated.summary)
    if len(statistics):
        tables.insert(1, statistics_table(statistics))
    by_name = {result.case.name: result for result in scored}
    picked, chosen = pick_cases(scored), choose_cases(aggregated.cases)
    shown = dict.fromkeys([*(result.case.name for result in picked), *(record["case"] for record in chosen)])
    images_shown = read_images([by_name[name] for name in shown], labels, num_threads)
    views, without_view = make_views(chosen, by_name, images_shown, labels)

    with new_directory(output, MADE_BY, overwrite) as folder:
        scores.to_csv(folder / SCORES, index=False)
        aggregated.summary.to_csv(folder / "summary.csv", index=False)
        statistics.to_csv(folder / "statistics.csv", index=False)
        for table in tables:
            write_table(table, folder)
        report = Report(
            methods=runs,
            reference=reference,
            cases=scores.groupby("site", sort=False)["case"].nunique().to_dict(),
            conclusions=list(dict.fromkeys(sentence for sentences in said.values() for sentence in sentences)),
            skipped=skipped,
            tables=tables,
            figures=draw_figures(picked, images_shown, aggregated.cases, labels, folder),
            views=views,
            without_view=without_view,
            tissues=list(labels.tissues),
        )
        write_report(report, folder / REPORT)
    text = "\n".join([as_markdown(tables[0].frame), "", *said[DICE.key]])
    return Comparison(output, scores, statistics, tuple(said[DICE.key]), tuple(skipped), text)
