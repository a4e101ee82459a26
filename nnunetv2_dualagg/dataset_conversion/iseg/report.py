"""What ``convert_iseg --check`` reports about iSeg folders, without writing anything."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from nnunetv2_dualagg.dataset_conversion.checks import report, volume_cells
from nnunetv2_dualagg.dataset_conversion.iseg.cases import MODALITIES, Case, DataSet, read_data_set
from nnunetv2_dualagg.dataset_conversion.iseg.challenge import CODINGS, TISSUES, known_subjects
from nnunetv2_dualagg.dataset_conversion.iseg.check import Grid, Image, mixed_codings, read_image
from nnunetv2_dualagg.dataset_conversion.iseg.layout import SPLITS, number_ranges
from nnunetv2_dualagg.dataset_conversion.volumes import Volume
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.parallel import run_parallel

_LOW_OVERLAP = 0.9
_SURFACE, _ENOUGH, _SWAP_MARGIN = 2, 500, 0.1  # voxels deep; voxels inside; fraction
_COLUMNS = ("subject", "image", "shape", "spacing mm", "type", "range", "background", "overlap", "CSF, GM, WM ml")


@dataclass
class Finding:
    """What one image file holds.

    Attributes:
        number: of the subject.
        kind: "T1", "T2" or "label".
        volume: the file's header.
        low: lowest value in the file; likewise ``high``.
        background: share of voxels that are zero.
        overlap: Dice coefficient with the non-zero voxels of the subject's first image; None for that one.
        coding: of a label, the year whose values it has.
        millilitres: of a label, the volumes of CSF, GM and WM.
        surface: of an image, the mean at the brain's surface, where CSF is, as a fraction of that further inside; None
            where there is too little brain to measure it.
    """

    number: int
    kind: str
    volume: Volume
    low: float
    high: float
    background: float
    overlap: float | None
    coding: int | None
    millilitres: list[float]
    surface: float | None


def check_iseg(
    folders: Iterable[Path | str],
    *,
    year: int | None = None,
    split: str | None = None,
    modalities: Sequence[str] = MODALITIES,
    sites: Path | str | None = None,
    num_processes: int = 2,
) -> tuple[list[str], str]:
    """Look through iSeg folders as ``convert_iseg`` would; see there for the arguments.

    Returns:
        A sentence for each fault that would make the conversion fail, and a report that begins with them.

    Raises:
        UserError: there are no subjects, or the year cannot be recognised.
    """
    modalities = [kind for kind in MODALITIES if kind in modalities]
    data = read_data_set(folders, year, split, modalities, sites)
    results = run_parallel(partial(_inspect, modalities), data.cases, num_processes)
    findings = [finding for found, _ in results for finding in found]
    problems = data.problems + [problem for _, found in results for problem in found]
    codings = {finding.volume.path: finding.coding for finding in findings if finding.coding}
    if mixed := mixed_codings(codings):
        problems.append(mixed)
    rows = [_COLUMNS, *map(_row, findings)]
    return problems, report(problems, list(_remarks(data, findings)), list(_summary(data)), rows)


def _inspect(modalities: Sequence[str], case: Case) -> tuple[list[Finding], list[str]]:
    """What a subject's files hold, and the faults of those that cannot be converted."""
    findings, problems, grid = [], [], None
    for kind in (*modalities, "label"):
        if kind in case.subject.files:
            try:
                image = read_image(case.subject, kind, grid)
            except UserError as error:
                problems.append(str(error))
                continue
            grid = grid or Grid.of(image)
            findings.append(_finding(case.subject.number, kind, image))
            del image  # before the next one is read
    return findings, problems


def _finding(number: int, kind: str, image: Image) -> Finding:
    voxels, ml = image.voxels, float(np.prod(image.volume.spacing)) / 1000
    low, high, volumes = voxels.min(), voxels.max(), []
    if image.coding:
        low, high = CODINGS[image.coding][low], CODINGS[image.coding][high]
        volumes = [float(np.count_nonzero(voxels == label)) * ml for label in TISSUES.values() if label]
    background = 1 - np.count_nonzero(voxels) / voxels.size
    surface = None if image.coding else _surface(voxels)
    return Finding(
        number, kind, image.volume, float(low), float(high), background, image.overlap, image.coding, volumes, surface
    )


def _surface(voxels: np.ndarray) -> float | None:
    brain = voxels != 0
    inside = ndimage.binary_erosion(brain, iterations=_SURFACE)
    if np.count_nonzero(inside) < _ENOUGH:
        return None
    mean = float(voxels[inside].mean(dtype=float))
    return float(voxels[brain & ~inside].mean(dtype=float)) / mean if mean > 0 else None


def _remarks(data: DataSet, findings: Sequence[Finding]) -> Iterator[str]:
    """Oddities that do not stop the conversion."""
    for split in SPLITS:
        found = {case.subject.number for case in data.cases if case.split == split}
        known = set(known_subjects(data.year, split))
        if found and known - found:
            yield f"iSeg-{data.year}'s {split} subjects {number_ranges(sorted(known - found))} are missing"
        if known and found - known:
            yield f"iSeg-{data.year} has no {split} subjects {number_ranges(sorted(found - known))}"
    codings = {finding.coding for finding in findings if finding.coding}
    for coding in sorted(codings - {data.year}):
        yield f"the labels hold {', '.join(map(str, CODINGS[coding]))} as iSeg-{coding}'s, not as iSeg-{data.year}'s"
    for finding in findings:
        if finding.overlap is not None and finding.overlap < _LOW_OVERLAP:
            yield f"{finding.volume.path} does not cover the brain of the first image well (Dice {finding.overlap:.2f})"
        if finding.volume.spacing_assumed:
            yield f"{finding.volume.path} states no plausible spacing; 1 mm is assumed"
    yield from _swapped(findings)


def _swapped(findings: Sequence[Finding]) -> Iterator[str]:
    """CSF, which covers the brain, is dark in T1 and bright in T2."""
    surfaces = {(finding.number, finding.kind): finding.surface for finding in findings}
    for finding in findings:
        t1, t2 = (surfaces.get((finding.number, kind)) for kind in MODALITIES)
        if finding.kind == "T1" and t1 is not None and t2 is not None and t1 > t2 + _SWAP_MARGIN:
            yield (
                f"{finding.volume.path} is brighter at the brain's surface than subject {finding.number}'s T2: CSF is "
                "dark in T1 and bright in T2, so they may have been swapped"
            )


def _summary(data: DataSet) -> Iterator[str]:
    """The subjects by split and site."""
    yield f"iSeg-{data.year} ({data.year_from}): {len(data.cases)} subjects"
    for split in SPLITS:
        cases = [case for case in data.cases if case.split == split]
        if cases:
            numbers = number_ranges(case.subject.number for case in cases)
            sites = Counter(case.site + (" (inferred)" if case.inferred else "") for case in cases)
            yield f"  {split}: {len(cases)} ({numbers}); " + ", ".join(f"{n} {site}" for site, n in sites.items())


def _row(finding: Finding) -> tuple[str, ...]:
    return (
        str(finding.number),
        finding.kind,
        *volume_cells(finding.volume),
        f"{finding.low:g} to {finding.high:g}",
        f"{finding.background:.1%}",
        "" if finding.overlap is None else f"{finding.overlap:.3f}",
        ", ".join(f"{ml:.1f}" for ml in finding.millilitres),
    )
