"""Warnings that catch accidents: images that are exchanged, flipped or the same, and implausible results."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nnunetv2_dualagg.inference.alignment import Alignment

SAME = 0.999
"""Correlation above which two images are the same."""

TAIL = 0.05
"""By so much a histogram has to lean, relative to its width."""

PLAUSIBLE_BRAIN = (350.0, 1500.0)
"""ml of all tissues without cerebellum and brain stem, from birth to two years, with room on both sides."""

PLAUSIBLE_SHARE = (0.04, 0.75)
"""Of each tissue in the brain."""

FAR = 2.5
"""Standard deviations by which a percentile of the standardised image may be away from that of the training images."""

GOOD_OVERLAP = 0.85


def image_warnings(images: Mapping[str, NDArray], brain: NDArray[np.bool_]) -> list[str]:
    """What is odd about the images of one infant.

    Args:
        images: by channel name, (X, Y, Z) each on one grid.
        brain: (X, Y, Z) mask.
    """
    found = []
    values = {name: image[brain] for name, image in images.items()}
    t1 = next((name for name in values if name.upper().startswith("T1")), None)
    t2 = next((name for name in values if name.upper().startswith("T2")), None)
    for name, inside in values.items():
        shown = float((inside != 0).mean())
        if shown < GOOD_OVERLAP:
            found.append(f"{name} shows {shown:.0%} of the brain only; the mask or the alignment may be wrong")
    if t1 and t2:
        if np.corrcoef(values[t1], values[t2])[0, 1] > SAME:
            found.append(f"{t1} and {t2} are the same image")
        elif _lean(values[t1]) > TAIL and _lean(values[t2]) < -TAIL:
            found.append(f"{t1} and {t2} seem to be exchanged: fluid is bright in {t1} and dark in {t2}")
    return found


def _lean(values: NDArray) -> float:
    """How much further the bright tail of a histogram reaches than the dark one, -1 to 1.

    Fluid is the one tissue of a brain that is far from the others, bright in T2 and dark in T1.
    """
    values = values[values != 0]
    if not values.size:
        return 0.0
    low, middle, high = np.percentile(values, (2, 50, 98))
    return float((high + low - 2 * middle) / max(high - low, 1e-6))


def alignment_warnings(found: Alignment) -> list[str]:
    """What is odd about how T2 lay relative to T1."""
    if found.flipped:
        return ["T2 fits T1 better with left and right exchanged: the header of one of them may be wrong"]
    if found.displacement > 20:
        return [f"T2 was {found.displacement:.0f} mm away from T1; look whether the preview shows one infant"]
    return []


def intensity_warnings(
    images: Sequence[NDArray],
    names: Sequence[str],
    brain: NDArray[np.bool_],
    trained: Mapping[str, Mapping[str, float]],
) -> list[str]:
    """Whether the histograms, without brightness and contrast, are far from those of the training images.

    Args:
        images: (X, Y, Z) each.
        names: their channel names.
        brain: (X, Y, Z) mask.
        trained: nnU-Net's ``foreground_intensity_properties_per_channel``.
    """
    warnings = []
    for channel, (image, name) in enumerate(zip(images, names, strict=True)):
        expected = trained.get(str(channel), {})
        keys = ("percentile_00_5", "median", "percentile_99_5")
        if not expected.get("std") or any(expected.get(key) is None for key in (*keys, "mean")):
            continue
        values = image[brain]
        found = (np.percentile(values, (0.5, 50, 99.5)) - values.mean()) / max(float(values.std()), 1e-6)
        usual = [(expected[key] - expected["mean"]) / expected["std"] for key in keys]
        if np.abs(found - usual).max() > FAR:
            warnings.append(f"the intensities of {name} are distributed unlike those that the model was trained on")
    return warnings


def volume_warnings(volumes: Mapping[str, float]) -> list[str]:
    """Whether the volumes, in ml by tissue, are those of an infant's brain."""
    total = sum(volumes.values())
    low, high = PLAUSIBLE_BRAIN
    if not low <= total <= high:
        return [
            f"the tissues take {total:.0f} ml in all, which is implausible for an infant's brain "
            f"({low:.0f} to {high:.0f} ml)"
        ]
    shares = {name: volume / total for name, volume in volumes.items()}
    least, most = PLAUSIBLE_SHARE
    return [
        f"{name} takes {share:.0%} of the brain, which is implausible ({least:.0%} to {most:.0%})"
        for name, share in shares.items()
        if not least <= share <= most
    ]
