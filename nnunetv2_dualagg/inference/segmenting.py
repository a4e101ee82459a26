"""Segmenting one infant, or all infants of a BIDS data set, with one model that is loaded once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from nnunetv2_dualagg.inference import bids
from nnunetv2_dualagg.inference.bundle_schema import one_line
from nnunetv2_dualagg.inference.case import (
    Aligned,
    Case,
    Options,
    Segmentation,
    align_images,
    measure,
    predict,
    prepare,
    summary,
)
from nnunetv2_dualagg.inference.images import stem_of
from nnunetv2_dualagg.inference.outputs import RECORD, is_done, write
from nnunetv2_dualagg.utils.errors import UserError, explained
from nnunetv2_dualagg.utils.files import remove_abandoned

if TYPE_CHECKING:
    from nnunetv2_dualagg.inference.model import Model

Paths = Path | str | Sequence[Path | str]


def segment(
    images: Paths,
    output: Path | str,
    model: Path | str | Model | None = None,
    *,
    mask: Path | str | None = None,
    skull_stripped: bool | None = None,
    registration: bool = True,
    bias_correction: bool = False,
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    device: str | None = "cpu",
    folds: Sequence[int | str] | None = None,
    checkpoint_name: str = "checkpoint_final.pth",
    step_size: float = 0.5,
    mirroring: bool = True,
    overwrite: bool = False,
    progress: bool = True,
) -> list[Segmentation]:
    """Segment infants and write, for each, segmentation, volumes, preview and record.

    Args:
        images: NIfTI files of one infant in the order of the model's channels (T1, T2), in any orientation; or the
            folder of a BIDS data set.
        output: folder for the results; for a BIDS data set it becomes a BIDS derivative. Infants that are there
            already, made with the same model and options, are left alone.
        model: a file of ``pack_model``, a folder of a trained model, or what :func:`load_model` returned; None for
            the model that comes with the package, which is for trying the program.
        mask: of the brain, for images with a skull; for a BIDS data set the folder of a derivative with
            ``*_mask.nii.gz``.
        skull_stripped: True where everything but the brain is 0; None to find out.
        registration: align T2 rigidly with T1; False trusts the headers.
        bias_correction: N4, in the brain.
        participants: labels of the BIDS subjects to segment; all if None.
        sessions: labels of the BIDS sessions; all if None.
        device: cpu, cuda or mps; None for cuda if there is a GPU, otherwise cpu.
        folds: of a model folder; all that are there if None.
        checkpoint_name: of a model folder.
        step_size: step of the windows, as a fraction of their size.
        mirroring: average over mirrored windows, if the model allows it.
        overwrite: segment again what is there already.
        progress: show a progress bar.

    Returns:
        Those that were segmented now.

    Raises:
        UserError: an image or the model is missing or unusable. Of a data set, all other infants are segmented first.
    """
    output, mask = Path(output), None if mask is None else Path(mask)
    options = Options(registration, bias_correction, mirroring, step_size)
    load = partial(
        _loaded,
        model,
        device,
        progress,
        folds=folds,
        checkpoint_name=checkpoint_name,
        step_size=step_size,
        mirroring=mirroring,
    )
    files = [Path(images)] if isinstance(images, Path | str) else [Path(image) for image in images]
    if len(files) == 1 and files[0].is_dir():
        loaded = load()
        cases = bids.find_cases(files[0], output, loaded.channels, participants, sessions, mask)
        bids.start_derivative(output, files[0], loaded.labels)
        if skull_stripped is not None:
            cases = [replace(case, stripped=skull_stripped) for case in cases]
        return _segment_all(cases, loaded, options, overwrite, progress)
    if participants or sessions:
        raise UserError("--participant-label and --session-label choose from a BIDS data set, but -i names files")
    name = stem_of(files[0])
    sources = tuple(str(file) for file in files)
    case = Case(name, tuple(files), output / name, mask, skull_stripped, sources)
    with ThreadPoolExecutor(max_workers=1) as beside:
        ahead = None if case.output(RECORD).exists() and not overwrite else beside.submit(align_images, case, options)
        with _taking_turns():
            loaded = load()
        return _segment_all([case], loaded, options, overwrite, progress, ahead)


@contextmanager
def _taking_turns() -> Iterator[None]:
    """Threads change often: SimpleITK, called a thousand times, need not wait 5 ms each for the import of PyTorch."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _loaded(model: Path | str | Model | None, device: str | None, progress: bool, **how: Any) -> Model:
    from nnunetv2_dualagg.inference.model import Model, load_model

    loaded = model if isinstance(model, Model) else load_model(model, device, progress=progress, **how)
    if progress and loaded.description:
        print(f"{loaded.file.name}: {one_line(loaded.description)}")
    return loaded


def _segment_all(
    cases: Sequence[Case],
    model: Model,
    options: Options,
    overwrite: bool,
    progress: bool,
    ahead: Future[Aligned] | None = None,
) -> list[Segmentation]:
    """Segment infants; ``ahead`` are the images of the only one, if they are being aligned already."""
    results, failures = [], []
    bar = tqdm(cases, unit="infant", disable=not progress or len(cases) == 1)
    for case in bar:
        bar.set_description(case.name)
        try:
            if overwrite or not is_done(case, model.record, options):
                results.append(segment_case(case, model, options, bar.write if progress else None, ahead))
            else:
                remove_abandoned(case.target.parent)
        except UserError as error:
            if len(cases) == 1:
                raise
            failures.append(f"{case.name}: {error}")
    if failures:
        raise UserError(
            f"{len(failures)} of {len(cases)} could not be segmented (the others are done): {'; '.join(failures)}"
        )
    return results


def segment_case(
    case: Case,
    model: Model,
    options: Options,
    tell: Callable[[str], object] | None = None,
    ahead: Future[Aligned] | None = None,
) -> Segmentation:
    """Segment one infant and write its files.

    Args:
        case: the infant.
        model: loaded.
        options: what to do.
        tell: takes a line about what was found; None for silence.
        ahead: the aligned images, if another thread aligns them.
    """
    prepared = prepare(case, model.channels, model.intensities, options, ahead)
    with explained(f"{model.file} cannot segment {case.name}"):  # nnU-Net's and PyTorch's exceptions
        labels = predict(model, prepared)
    volumes = measure(labels, model.labels, prepared.reference.voxel_ml)
    found = summary(case, prepared, volumes)
    write(case, model, options, prepared, labels, found)
    if tell is not None:
        for name, alignment in prepared.alignments.items():
            tell(f"{case.name}: {name} {alignment}")
        for warning in found.warnings:
            tell(f"{case.name}: Warning: {warning}")
        tell(f"{case.name}: {', '.join(f'{name} {ml:.0f} ml' for name, ml in volumes.items())} -> {found.file}")
    return found
