"""What larger windows than the training patches do to a model's segmentations, and how long they take.

python scripts/window_size.py -m MODEL -raw nnUNet_raw/Dataset299_iSeg2019 -sizes 40 56 72

Segments the testing images of a raw dataset (imagesTs, in the model's orientation) with windows of each size, and
compares with labelsTs. Prints mean Dice over cases and tissues, and seconds per case.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from nnunetv2_dualagg.cli import exit_code
from nnunetv2_dualagg.evaluation.metrics.agreement import dice
from nnunetv2_dualagg.inference.bundle import INSTALLED
from nnunetv2_dualagg.inference.images import read_image, same_grid
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
    return exit_code(lambda: show(args))


def show(args: argparse.Namespace) -> None:
    """Print the table."""
    model = load_model(args.m, args.device, progress=False)
    print(as_markdown(pd.DataFrame([measure(model, args.raw, size) for size in args.sizes])))


def measure(model: Model, raw: Path, size: int) -> dict[str, str]:
    """Segment all cases with windows of ``size`` voxels along each side."""
    model.predictor.configuration_manager.configuration["patch_size"] = [size] * 3
    files = sorted((raw / "labelsTs").glob("*.nii.gz"))
    if not files:
        raise UserError(f"{raw / 'labelsTs'} has no *.nii.gz; expected the references of imagesTs")
    values, start = [], time.perf_counter()
    for file in files:
        case = file.name.removesuffix(".nii.gz")
        images = [read_image(raw / "imagesTs" / f"{case}_{n:04d}.nii.gz") for n in range(len(model.channels))]
        reference = read_image(file)
        for image in images:
            if not same_grid(image, reference):
                raise UserError(f"{image.file} has another grid than {file}; expected the same")
        labels = model.predict(np.stack([image.data for image in images]), images[0].spacing)
        values.append([dice(reference.data == tissue, labels == tissue) for tissue in model.labels.values()])
    seconds = (time.perf_counter() - start) / len(files)
    return {"window": f"{size}^3", "Dice": f"{np.nanmean(values):.3f}", "seconds per case": f"{seconds:.1f}"}


if __name__ == "__main__":
    sys.exit(main())
