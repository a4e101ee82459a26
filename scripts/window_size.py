"""What larger windows than the training patches do to a model's segmentations, and how long they take.

python scripts/window_size.py -m MODEL -raw nnUNet_raw/Dataset299_iSeg2019 -sizes 40 56 72

Segments the testing images of a raw dataset (imagesTs, in the model's orientation) with windows of each size, and
compares with labelsTs. Prints mean Dice over cases and tissues, and seconds per case.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nnunetv2_dualagg.inference.bundle import INSTALLED
from nnunetv2_dualagg.inference.model import Model, load_model
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.tables import as_markdown


def main() -> int:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", type=Path, default=INSTALLED, metavar="MODEL", help="default: the one in the package")
    parser.add_argument("-raw", type=Path, required=True, metavar="DIR", help="raw dataset with imagesTs and labelsTs")
    parser.add_argument("-sizes", type=int, nargs="+", required=True, metavar="N", help="voxels along each side")
    parser.add_argument("-device", default="cpu", help="default: cpu")
    args = parser.parse_args()
    try:
        model = load_model(args.m, args.device, progress=False)
        rows = [measure(model, args.raw, size) for size in args.sizes]
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(as_markdown(pd.DataFrame(rows)))
    return 0


def measure(model: Model, raw: Path, size: int) -> dict[str, str]:
    """Segment all cases with windows of ``size`` voxels along each side."""
    model.predictor.configuration_manager.configuration["patch_size"] = [size] * 3
    files = sorted((raw / "labelsTs").glob("*.nii.gz"))
    if not files:
        raise UserError(f"{raw / 'labelsTs'} has no *.nii.gz; expected the references of imagesTs")
    dice, start = [], time.perf_counter()
    for file in files:
        case = file.name.removesuffix(".nii.gz")
        images = [nib.load(raw / "imagesTs" / f"{case}_{n:04d}.nii.gz") for n in range(len(model.channels))]
        data = np.stack([np.asarray(image.dataobj, dtype=np.float32) for image in images])
        labels = model.predict(data, images[0].header.get_zooms()[:3])
        dice.append(_mean_dice(labels, np.asarray(nib.load(file).dataobj), model.labels.values()))
    seconds = (time.perf_counter() - start) / len(files)
    return {"window": f"{size}^3", "Dice": f"{np.mean(dice):.3f}", "seconds per case": f"{seconds:.1f}"}


def _mean_dice(found: NDArray, reference: NDArray, tissues: Iterable[int]) -> float:
    values = []
    for tissue in tissues:
        mine, true = found == tissue, reference == tissue
        values.append(2 * (mine & true).sum() / (mine.sum() + true.sum()))
    return float(np.mean(values))


if __name__ == "__main__":
    sys.exit(main())
