"""How far the phantom's sites are apart after nnU-Net's normalisation, and how far augmentation reaches.

Prints the tables of docs/cross_site.md; takes some minutes:

    python scripts/site_shift.py
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from numpy.typing import NDArray
from tqdm import trange

from nnunetv2_dualagg.dataset_conversion.phantom import FARTHEST, make_subject
from nnunetv2_dualagg.simulation.anatomy import CSF, GM, WM, load_icbm152
from nnunetv2_dualagg.simulation.contrast import TESTING_SITES, TRAINING_SITE, shifted
from nnunetv2_dualagg.trainers.augmentation.lei2019 import cross_site_t1, cross_site_t2
from nnunetv2_dualagg.trainers.augmentation.lost_modality import LostModalityTransform
from nnunetv2_dualagg.trainers.site import nnUNetTrainerSite
from nnunetv2_dualagg.utils.options import number

MODALITIES = ("T1", "T2")
SITES = (TRAINING_SITE, *TESTING_SITES)
AUTHORS = "MAP, authors' change"
SIZE = (144, 192, 160)
PATCH = (96, 128, 96)
ROTATION = (-np.pi / 6, np.pi / 6)  # nnU-Net's for 3-D patches
BLOCK = 16  # voxels; averages over such blocks hold the bias field, but no noise and little anatomy
STATISTICS = (
    "mean of CSF",
    "mean of GM",
    "mean of WM",
    "WM - GM",
    "GM - CSF",
    "(WM - GM) / (GM - CSF)",
    "contrast to deviation",
    "noise",
    "edge",
    "field",
)

Sample = tuple[NDArray[np.float32], NDArray[np.int16]]  # (2, X, Y, Z) standardised T1 and T2; (X, Y, Z) labels
Measured = list[dict[str, float]]


def main() -> None:
    """Read the options and print a table for each modality."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-brains", type=int, default=3, help="brains, each scanned at every site. Default: 3")
    parser.add_argument("-samples", type=int, default=400, help="augmented patches of each trainer. Default: 400")
    parser.add_argument(
        "-shift", type=number(0, FARTHEST), default=1.0, help="as in nnUNetv2_dualagg phantom --shift. Default: 1"
    )
    parser.add_argument("-seed", type=int, default=0, help="Default: 0")
    args = parser.parse_args()
    torch.set_num_threads(1)
    scans = scan_brains(args.brains, args.seed, args.shift)
    measured = {site: [statistics_of_centre(scan) for scan in brains] for site, brains in scans.items()}
    training = scans[TRAINING_SITE.name]
    reached = {
        trainer.__name__: augmented_statistics(trainer, training, PATCH, args.samples, args.seed)
        for trainer in (nnUNetTrainer, nnUNetTrainerSite)
    }
    for channel, modality in enumerate(MODALITIES):
        print(f"\n{modality}\n")
        for line in table(
            {site: [m[channel] for m in measurements] for site, measurements in measured.items()},
            {trainer: [m[channel] for m in measurements] for trainer, measurements in reached.items()},
        ):
            print(line)


def scan_brains(brains: int, seed: int, shift: float) -> dict[str, list[Sample]]:
    """The same brains at every site, and those of the training site after the authors' cross-site preprocessing."""
    scans: dict[str, list[Sample]] = {name: [] for name in (*(site.name for site in SITES), AUTHORS)}
    anatomy = load_icbm152()
    for brain in trange(brains, desc="brains", leave=False):
        for site in SITES:
            rng = np.random.default_rng([seed, brain])  # the same one at every site: the same brain
            images = make_subject(anatomy, shifted(site, shift), rng, SIZE)
            scans[site.name].append(standardised(images))
            if site == TRAINING_SITE:
                t1, t2 = (images[modality].astype(np.float64) for modality in MODALITIES)
                scans[AUTHORS].append(standardised(images | {"T1": cross_site_t1(t1), "T2": cross_site_t2(t2)}))
    return scans


def standardised(images: dict[str, NDArray]) -> Sample:
    """T1 and T2 as nnU-Net's preprocessing leaves them: mean 0 and deviation 1 in the brain, 0 outside."""
    label = images["label"].astype(np.int16)
    brain = label > 0
    both = np.stack([images[modality] for modality in MODALITIES]).astype(np.float32)
    for image in both:
        image[brain] = (image[brain] - image[brain].mean()) / image[brain].std()
        image[~brain] = 0
    return both, label


def statistics(image: NDArray, label: NDArray) -> dict[str, float]:
    """What a site does to one modality, in deviations of the standardised image unless it is a ratio.

    "Contrast to deviation" is |WM - GM| relative to the deviation within GM and within WM; "noise" is the deviation of
    neighbours in WM; "edge" the step from CSF to a neighbour in GM relative to GM - CSF, less where it is blurred;
    "field" the deviation of the averages of large blocks, tissues' means taken off.

    Args:
        image: (X, Y, Z).
        label: (X, Y, Z), 0 background, 1 CSF, 2 GM, 3 WM.

    Returns:
        A number for each name in ``STATISTICS``.
    """
    csf, gm, wm = (image[label == tissue].mean() for tissue in (CSF, GM, WM))
    deviation = np.mean([image[label == tissue].var() for tissue in (GM, WM)]) ** 0.5
    values = (
        csf,
        gm,
        wm,
        wm - gm,
        gm - csf,
        (wm - gm) / (gm - csf),
        abs(wm - gm) / deviation,
        np.concatenate(list(_steps(image, label, WM, WM))).std() / 2**0.5,
        np.concatenate(list(_steps(image, label, CSF, GM))).mean() / (gm - csf),
        _field(image, label, np.array([0, csf, gm, wm])),
    )
    return dict(zip(STATISTICS, map(float, values), strict=True))


def _steps(image: NDArray, label: NDArray, tissue: int, neighbour: int) -> Iterator[NDArray]:
    """Differences from voxels of one tissue to their neighbours of another along each axis, both ways."""
    for axis in range(image.ndim):
        x, y = np.moveaxis(image, axis, 0), np.moveaxis(label, axis, 0)
        yield (x[1:] - x[:-1])[(y[1:] == neighbour) & (y[:-1] == tissue)]
        yield (x[:-1] - x[1:])[(y[:-1] == neighbour) & (y[1:] == tissue)]


def _field(image: NDArray, label: NDArray, means: NDArray) -> float:
    blocks = [n // BLOCK for n in image.shape]
    inside = tuple(slice(0, n * BLOCK) for n in blocks)
    shape = [length for n in blocks for length in (n, BLOCK)]
    rest = np.where(label > 0, image - means[label], 0)[inside].reshape(shape).sum((1, 3, 5))
    count = (label[inside] > 0).reshape(shape).sum((1, 3, 5))
    full = count > BLOCK**3 / 4
    return (rest[full] / count[full]).std()


def statistics_of_centre(sample: Sample) -> Measured:
    """Statistics of both modalities in the patch in the middle."""
    images, label = sample
    middle = tuple(slice((n - p) // 2, (n - p) // 2 + p) for n, p in zip(label.shape, PATCH, strict=True))
    return [statistics(image[middle], label[middle]) for image in images]


def augmented_statistics(
    trainer: type[nnUNetTrainer], samples: Sequence[Sample], patch: tuple[int, ...], count: int, seed: int
) -> list[Measured]:
    """Statistics of both modalities in ``count`` patches that went through a trainer's transforms.

    All but one: a lost modality has no tissues left to measure.
    """
    np.random.seed(seed)
    torch.manual_seed(seed)
    planned = trainer.get_training_transforms(
        patch, ROTATION, None, (0, 1, 2), False, use_mask_for_norm=[True] * len(MODALITIES)
    ).transforms
    transforms = ComposeTransforms([t for t in planned if not isinstance(t, LostModalityTransform)])
    return [
        _augmented(transforms, samples[i % len(samples)])
        for i in trange(count, desc=trainer.__name__, leave=False, disable=None)
    ]


def _augmented(transforms: BasicTransform, sample: Sample) -> Measured:
    images, label = sample
    segmentation = np.where(label > 0, label, -1)[np.newaxis]  # nnU-Net marks the outside so
    out = transforms(image=torch.from_numpy(images.copy()), segmentation=torch.from_numpy(segmentation))
    return [statistics(image, out["segmentation"][0].numpy()) for image in out["image"].numpy()]


def percentiles(measured: Measured, name: str) -> tuple[float, float]:
    """The 1st and the 99th percentile of a statistic."""
    low, high = np.percentile([statistic[name] for statistic in measured], (1, 99))
    return float(low), float(high)


def table(sites: dict[str, Measured], trainers: dict[str, Measured]) -> Iterator[str]:
    """Markdown: means of the sites over brains, and 1 % to 99 % of the augmented patches.

    A site's value gets a star for each trainer, as many as trainers do not reach it.
    """
    yield f"| | {' | '.join([*sites, *trainers])} |"
    yield f"| --- |{' ---: |' * (len(sites) + len(trainers))}"
    for name in STATISTICS:
        ranges = [percentiles(measured, name) for measured in trainers.values()]
        cells = [name]
        for measured in sites.values():
            value = np.mean([statistic[name] for statistic in measured])
            cells.append(f"{value:.2f}" + "\\*" * sum(not low <= value <= high for low, high in ranges))
        cells += [f"{low:.2f} … {high:.2f}" for low, high in ranges]
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
