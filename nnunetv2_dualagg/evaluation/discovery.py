"""Matching references, predictions, images and sites by file name."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nnunetv2_dualagg.evaluation.cases import Case, Labels, load_sites
from nnunetv2_dualagg.evaluation.metrics.aggregate import ALL_SITES
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.names import is_text


def find_cases(
    reference: Path,
    predictions: Mapping[str, Sequence[Path]],
    labels: Labels,
    sites: Path | None = None,
    images: Path | None = None,
    skip_missing: bool = False,
) -> tuple[list[Case], list[str]]:
    """Match the files of all folders by their names.

    The folders of one method may share all their cases (seeds, or folds that predicted one test set) or none
    (folds of a cross-validation): every case must lie in the same number of them.

    Args:
        reference: folder of reference segmentations.
        predictions: method -> its folders.
        labels: what ``dataset.json`` says.
        sites: a ``sites.json``, or None for one site.
        images: a folder of image channels ``CASE_0000.nii.gz``, or None.
        skip_missing: leave a case out where one of its files is missing, instead of raising.

    Returns:
        The cases in the order of their names, and a sentence for each case that was left out.

    Raises:
        UserError: a folder is missing or empty, or (without ``skip_missing``) cases are missing or extra.
    """
    references = _segmentations(reference, labels.file_ending)
    runs = {method: _runs(method, folders, labels.file_ending) for method, folders in predictions.items()}
    site_of = None if sites is None else load_sites(sites)
    channels = {} if images is None else _channels(images, labels)

    expected = {method: _usual_number(of_method.values()) for method, of_method in runs.items()}
    names = {*references, *(name for of_method in runs.values() for files in of_method.values() for name in files)}

    cases, problems = [], []
    for name in sorted(names):
        found = {method: _files(name, of_method) for method, of_method in runs.items()}
        wrong = [method for method in found if len(found[method]) != expected[method]]
        if name not in references:
            file = next(file for files in found.values() for file in files.values())
            problems.append(f"{file} has no reference of the same name in {reference}")
        elif wrong:
            folders = ", ".join(map(str, predictions[wrong[0]]))
            number = f"{len(found[wrong[0]])} of {folders}, expected {expected[wrong[0]]} like the others"
            problems.append(f"case {name} of method {wrong[0]} is in {number}")
        elif site_of is not None and name not in site_of:
            problems.append(f"{sites} gives no site for case {name}")
        elif images is not None and name not in channels:
            problems.append(f"{images} holds no image of case {name} ({name}_0000{labels.file_ending})")
        else:
            site = ALL_SITES if site_of is None else site_of[name]
            cases.append(Case(name, site, references[name], found, channels.get(name, ())))
    if problems and not skip_missing:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}; leave such cases out with --skip-missing")
    if not cases:
        raise UserError(f"no case of {reference} is left to compare: {problems[0]}")
    return cases, problems


def _usual_number(runs: Iterable[Iterable[str]]) -> int:
    """In how many folders most cases lie: 1 for the folds of a cross-validation, all of them for seeds."""
    counts = Counter(name for files in runs for name in files)
    return Counter(counts.values()).most_common(1)[0][0]


def _files(name: str, runs: Mapping[str, Mapping[str, Path]]) -> dict[str, Path]:
    return {run: files[name] for run, files in runs.items() if name in files}


def _runs(method: str, folders: Sequence[Path], ending: str) -> dict[str, dict[str, Path]]:
    if len(set(folders)) < len(folders):
        raise UserError(f"method {method} names the same folder twice: {', '.join(map(str, folders))}")
    return {str(folder): _segmentations(folder, ending) for folder in folders}


def _segmentations(folder: Path, ending: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder, expected segmentations named CASE{ending}")
    files = {file.name[: -len(ending)]: file for file in sorted(folder.iterdir()) if file.name.endswith(ending)}
    strange = [file for name, file in files.items() if not is_text(name)]
    if strange:
        raise UserError(f"{folder} holds {strange[0].name!r}, whose name is not UTF-8 text; rename it")
    if not files:
        raise UserError(f"{folder} holds no segmentation, expected files named CASE{ending}")
    return files


def _channels(folder: Path, labels: Labels) -> dict[str, tuple[Path, ...]]:
    """Case -> its channels, for the cases whose channels are all there."""
    suffixes = [f"_{index:04d}{labels.file_ending}" for index in range(max(1, len(labels.channels)))]
    names = [file.name[: -len(suffixes[0])] for file in folder.glob(f"*{suffixes[0]}")]
    files = {name: tuple(folder / f"{name}{suffix}" for suffix in suffixes) for name in names}
    return {name: channels for name, channels in files.items() if all(channel.is_file() for channel in channels)}
