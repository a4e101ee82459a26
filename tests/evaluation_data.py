"""Small segmentations on disk for the tests of the evaluation."""

import csv
import json

import numpy as np
import SimpleITK as sitk

LABELS = {"background": 0, "CSF": 1, "GM": 2, "WM": 3}
SPACING = (1.0, 1.5, 2.0)  # x, y, z


def write_image(file, array, spacing=SPACING, origin=(0, 0, 0), direction=None):
    """Write an array of shape (z, y, x)."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[: array.ndim])
    image.SetOrigin(origin[: array.ndim])
    if direction is not None:
        image.SetDirection(direction)
    file.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(file))


def write_dataset_json(folder, labels=LABELS, **more):
    content = {"channel_names": {"0": "T1", "1": "T2"}, "labels": labels, "numTraining": 0, "file_ending": ".nii.gz"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content | more))


def layers(depth, shape=(10, 12, 14)):
    """Nested boxes: CSF around GM around WM; ``depth`` shifts the inner borders."""
    array = np.zeros(shape, np.uint8)
    array[1:-1, 1:-1, 1:-1] = 1
    array[2:-2, 2:-2, 2 + depth : -2] = 2
    array[4:-4, 4:-4, 4 + depth : -4] = 3
    return array


def write_comparison(root, cases=3, methods=("default", "dualagg"), seed=0):
    """References, predictions with random errors, images, sites.json and dataset.json below ``root``."""
    rng = np.random.default_rng(seed)
    write_dataset_json(root)
    sites = {}
    for index in range(cases):
        name = f"iSeg_{index:03d}"
        reference = layers(index % 2)
        write_image(root / "labelsTs" / f"{name}.nii.gz", reference)
        for rate, method in enumerate(methods, start=1):
            wrong = rng.random(reference.shape) < 0.05 * rate
            prediction = np.where(wrong, rng.integers(0, 4, reference.shape), reference).astype(np.uint8)
            write_image(root / method / f"{name}.nii.gz", prediction)
        for channel in range(2):
            image = reference * 100.0 + rng.normal(size=reference.shape) * 5 * (reference > 0)
            write_image(root / "imagesTs" / f"{name}_{channel:04d}.nii.gz", image.astype(np.float32))
        sites[name] = {"site": ("BCP", "Stanford", "Emory")[index % 3], "split": "testing", "inferred": True}
    (root / "sites.json").write_text(json.dumps(sites))
    return root


def read_rows(file):
    """The rows of a table that ``compare`` wrote."""
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))
