"""An iSeg-2019-like data set that anybody may have, for trying the pipeline without the iSeg data.

It is real *adult* anatomy, infant-sized, with synthetic isointense contrast. It shows that the pipeline works and how
methods behave when the site changes. It never shows how well infants are segmented.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from nnunetv2_dualagg.dataset_conversion.origin import Origin
from nnunetv2_dualagg.dataset_conversion.tissue_maps import find_tissue_maps, load_tissue_map
from nnunetv2_dualagg.simulation.anatomy import (
    Anatomy,
    load_icbm152,
)
from nnunetv2_dualagg.simulation.contrast import SITES, TESTING_SITES, TRAINING_SITE, Site, shifted, simulate_images
from nnunetv2_dualagg.simulation.deformation import random_tissue_fractions
from nnunetv2_dualagg.utils.boxes import bounding_box
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_directory
from nnunetv2_dualagg.utils.parallel import run_parallel

TRAINING_FOLDER = "iSeg-2019-Training"
TESTING_FOLDER = "iSeg-2019-Testing"
TESTING_LABELS_FOLDER = "iSeg-2019-Testing-labels"
SITES_FILE = "sites.csv"
FILE_ENDINGS = (".img", ".nii.gz")
ISEG_FIELD_OF_VIEW = (144.0, 192.0, 256.0)  # mm
FIRST_TESTING_SUBJECT = 24
FINEST, MOST_VOXELS = 0.25, 2**28
FARTHEST = 2  # on T2, white matter is already no darker than grey matter there, at Stanford and Emory


@dataclass(frozen=True)
class Subject:
    """One subject to be made: its number, its site, its anatomy and its own stream of random numbers."""

    number: int
    site: Site
    training: bool
    anatomy: Anatomy
    seed: np.random.SeedSequence


def write_phantom(
    output: Path,
    maps: Path | None = None,
    num_training: int = 10,
    num_testing: int = 2,
    training_sites: Sequence[str] = (TRAINING_SITE.name,),
    shift: float = 1.0,
    size: tuple[int, int, int] | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    seed: int = 0,
    file_ending: str = ".img",
    processes: int = 1,
    overwrite: bool = False,
) -> None:
    """Write a data set laid out as iSeg-2019.

    ``output`` then holds ``iSeg-2019-Training/subject-N-{T1,T2,label}``, ``iSeg-2019-Testing/subject-N-{T1,T2}``,
    ``iSeg-2019-Testing-labels/subject-N-label`` (the challenge keeps those secret) and ``sites.csv`` with the columns
    subject and site. Training subjects count from 1, testing subjects from 24 or after the training subjects, site
    by site. Images are int16, labels uint8 with 0 background, 1 CSF, 2 GM, 3 WM.

    Args:
        output: the folder to make.
        maps: a folder of tissue maps (see :func:`load_tissue_map`), in the order of their names one per
            training subject, then one per testing subject, used again when they run out; None for random
            deformations of the ICBM152 average brain.
        num_training: number of training subjects.
        num_testing: number of testing subjects of each of the three testing sites.
        training_sites: each training subject is scanned at each of them, and counts as a subject there. Scans of a
            testing site show what can be had at best: by a network that was trained at that site.
        shift: how far the scanners of the other sites are from MAP's: above 0; 1, their usual distance; up to 2.
        size: (X, Y, Z) of the images in voxels; iSeg's 144 x 192 x 256 mm if None.
        spacing: size of a voxel in mm along X, Y, Z.
        seed: the same seed gives the same bytes; more subjects do not change those of the same site before them.
        file_ending: ".img" for Analyze pairs as in the challenge, or ".nii.gz".
        processes: number of processes.
        overwrite: replace an existing ``output``.

    Raises:
        UserError: ``output`` exists; a map is bad; a brain does not fit into ``size``; an option is out of range.
    """
    if num_training < 1 or num_testing < 0 or processes < 1 or seed < 0:
        raise UserError("the phantom needs one or more training subjects and processes, and no negative number")
    unknown = [name for name in training_sites if name not in SITES]
    if unknown or not training_sites or len(set(training_sites)) < len(training_sites):
        raise UserError(f"the training sites {list(training_sites)} are not valid; expected some of {', '.join(SITES)}")
    if not 0 < shift <= FARTHEST:
        raise UserError(f"the shift {shift:g} is out of range; expected a number above 0 and up to {FARTHEST}")
    if not all(FINEST <= s < 20 for s in spacing):
        raise UserError(f"the spacing {_times(spacing)} is out of range; expected three numbers from {FINEST} to 20 mm")
    if file_ending not in FILE_ENDINGS:
        raise UserError(f"the file ending {file_ending} is unknown; expected {' or '.join(FILE_ENDINGS)}")
    if size is None:
        x, y, z = (int(np.ceil(mm / s)) for mm, s in zip(ISEG_FIELD_OF_VIEW, spacing, strict=True))
        size = (x, y, z)
    if min(size) < 1 or prod(size) > MOST_VOXELS:
        raise UserError(f"the size {_times(size)} is out of range; expected 1 to {MOST_VOXELS} voxels in all")
    with new_directory(output, "phantom", overwrite, inputs=[maps] if maps else []) as folder:
        sites = [SITES[name] for name in training_sites]
        subjects = list(_subjects(maps, sites, num_training, num_testing, seed))
        for name in (TRAINING_FOLDER, TESTING_FOLDER, TESTING_LABELS_FOLDER):
            (folder / name).mkdir()
            _origin(maps, seed, shift).write(folder / name)  # in each, since a converter may be given one of them alone
        write = partial(_write_subject, folder=folder, shift=shift, size=size, spacing=spacing, file_ending=file_ending)
        run_parallel(write, subjects, processes, unit="subject")
        with open(folder / SITES_FILE, "w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["subject", "site"])
            rows.writerows([subject.number, subject.site.name] for subject in subjects)


def make_subject(
    anatomy: Anatomy,
    site: Site,
    rng: np.random.Generator,
    size: tuple[int, int, int],
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> dict[str, NDArray]:
    """Make one subject: an individual brain and its scans at a site.

    Generators with the same seed give the same brain at every site. The brain is put into the middle of the image.

    Args:
        anatomy: the adult brain to start from.
        site: where the subject is scanned.
        rng: source of randomness.
        size: (X, Y, Z) of the images in voxels.
        spacing: size of a voxel in mm along X, Y, Z.

    Returns:
        "T1" and "T2" (int16, 0 outside the brain) and "label" (uint8: 0 background, 1 CSF, 2 GM, 3 WM, the tissue
        with the largest share of the voxel), all (X, Y, Z).

    Raises:
        UserError: the brain does not fit into ``size``.
    """
    shape_rng, scan_rng = rng.spawn(2)
    fractions = random_tissue_fractions(anatomy, shape_rng, spacing)
    shares = np.concatenate([1 - fractions.sum(0, keepdims=True), fractions])
    label = shares.argmax(0).astype(np.uint8)
    box = bounding_box(label > 0)
    extent = label[box].shape
    if any(n > available for n, available in zip(extent, size, strict=True)):
        raise UserError(
            f"a brain made from {anatomy.name} has {_times(extent)} voxels of {_times(spacing)} mm and does not fit "
            f"into the size {_times(size)}; choose a larger size or spacing"
        )
    all_tissues = (slice(None), *box)
    fractions, label = fractions[all_tissues], label[box]
    t1, t2 = simulate_images(fractions, label > 0, site, scan_rng, spacing)
    before = [(available - n) // 2 for n, available in zip(extent, size, strict=True)]
    padding = [(b, available - n - b) for b, n, available in zip(before, extent, size, strict=True)]
    return {name: np.pad(image, padding) for name, image in (("T1", t1), ("T2", t2), ("label", label))}


def _origin(maps: Path | None, seed: int, shift: float) -> Origin:
    """What the phantom's files say of themselves, so that nobody takes them for iSeg's, or for another phantom's."""
    made = f"seed {seed}, other sites shifted by {shift:g}"
    words = f"of infant size with synthetic isointense contrast ({made}); shows no infants"
    if maps is not None:
        as_maps = f"as the tissue maps that it was made from ({maps.name})"
        return Origin("phantom", f"phantom: adult anatomy from tissue maps, {words}", as_maps, as_maps, "")
    return Origin(
        name="phantom",
        description=f"phantom: the ICBM152 2009a average of adult brains, deformed, {words}",
        licence="copyright McConnell Brain Imaging Centre, McGill University; may be passed on with this notice",
        citation="Fonov, V., et al. (2011). Unbiased average age-appropriate atlases for pediatric studies.",
        reference="https://doi.org/10.1016/j.neuroimage.2010.07.033",
    )


def _subjects(
    maps: Path | None, training_sites: Sequence[Site], num_training: int, num_testing: int, seed: int
) -> Iterator[Subject]:
    """All subjects in the order of their numbers."""
    trainings = [(site, 0, i) for site in training_sites for i in range(num_training)]  # one brain at every site
    testings = [(site, s, i) for s, site in enumerate(TESTING_SITES, 1) for i in range(num_testing)]
    training, testing = _anatomies(maps, num_training, len(testings))
    first = max(FIRST_TESTING_SUBJECT, len(trainings) + 1)
    # A key instead of SeedSequence.spawn, so that a stream does not depend on how many others there are.
    for n, (site, *key) in enumerate(trainings):
        stream = np.random.SeedSequence(seed, spawn_key=key)
        yield Subject(n + 1, site, True, training[n % num_training % len(training)], stream)
    for n, (site, *key) in enumerate(testings):
        yield Subject(first + n, site, False, testing[n % len(testing)], np.random.SeedSequence(seed, spawn_key=key))


def _anatomies(maps: Path | None, num_training: int, num_testing: int) -> tuple[list[Anatomy], list[Anatomy]]:
    """Brains to make training and testing subjects from; the same ones only if there are no others."""
    if maps is None:
        icbm152 = [load_icbm152()]
        return icbm152, icbm152
    files = find_tissue_maps(maps)
    anatomies = [load_tissue_map(file) for file in files[: num_training + num_testing]]
    training, testing = anatomies[:num_training], anatomies[num_training:]
    wanted = num_training + num_testing
    if len(files) < wanted:
        whose = ", testing subjects with training subjects" if num_testing and not testing else ""
        print(f"{maps} has {len(files)} tissue maps for {wanted} subjects: some subjects share an anatomy{whose}.")
    return training, testing or training


def _write_subject(
    subject: Subject,
    folder: Path,
    shift: float,
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
    file_ending: str,
) -> None:
    site = shifted(subject.site, shift)
    images = make_subject(subject.anatomy, site, np.random.default_rng(subject.seed), size, spacing)
    for modality, image in images.items():
        secret = modality == "label" and not subject.training
        place = TRAINING_FOLDER if subject.training else TESTING_LABELS_FOLDER if secret else TESTING_FOLDER
        _save(image, folder / place / f"subject-{subject.number}-{modality}{file_ending}", spacing)


def _save(image: NDArray, file: Path, spacing: tuple[float, float, float]) -> None:
    affine = np.diag([*spacing, 1.0])
    if file.suffix == ".img":
        # The challenge's Analyze files have a fourth dimension of one.
        nib.save(nib.AnalyzeImage(image[..., np.newaxis], affine), file)
    else:
        nib.save(nib.Nifti1Image(image, affine), file)


def _times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{v:g}" for v in values)
