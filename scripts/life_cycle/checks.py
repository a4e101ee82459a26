"""What scripts/life_cycle.sh asserts about the files that nnU-Net's commands leave: ``checks.py NAME ARGUMENT ...``.

It also makes the two changes to JSON files that a user would make in an editor.
"""

import json
import math
import sys
from pathlib import Path

import nibabel as nib
import numpy as np


def folds(num_epochs: str, *folders: str) -> None:
    """Each of these folds is finished: checkpoint, losses, validation."""
    for folder in map(Path, folders):
        losses = _losses(folder / "checkpoint_final.pth", int(num_epochs))
        _true(f"finite losses: {losses}", all(math.isfinite(loss) for loss in losses))
        _true(f"falling losses: {losses}", losses[-1] < losses[0])
        dice = json.loads((folder / "validation" / "summary.json").read_text())["foreground_mean"]["Dice"]
        _true(f"mean Dice of the validation {dice:.3f} > 0.3", dice > 0.3)
        print(
            f"  {len(losses)} epochs, loss {losses[0]:.2f} -> {losses[-1]:.2f}, Dice {dice:.2f}  {folder.parent.name}"
        )


def resumed(num_epochs: str, before: str, after: str) -> None:
    """A checkpoint's training went on from another checkpoint: the same first epochs, and all the others."""
    first = _losses(Path(before))
    _true(f"something left to resume: {len(first)} epochs before", 0 < len(first) < int(num_epochs))
    losses = _losses(Path(after), int(num_epochs))
    _equal("losses before the kill", losses[: len(first)], first)
    print(f"  {len(first)} epochs before, {num_epochs} after, losses {losses}")


def predictions(folder: str, images: str, *labels: str) -> None:
    """Every image has a segmentation of its geometry, with background, two or more tissues, and no other labels."""
    names = {file.name.replace("_0000.nii.gz", ".nii.gz") for file in Path(images).glob("*_0000.nii.gz")}
    _equal("predicted cases", {file.name for file in Path(folder).glob("*.nii.gz")}, names)
    for name in sorted(names):
        segmentation = nib.load(Path(folder) / name)
        image = nib.load(Path(images) / name.replace(".nii.gz", "_0000.nii.gz"))
        _equal(f"shape of {name}", segmentation.shape, image.shape)
        _true(f"affine of {name}", np.allclose(segmentation.affine, image.affine, atol=1e-4))
        found = {str(label) for label in np.unique(segmentation.dataobj)}
        _true(f"labels in {name}: {found}", found <= set(labels) and "0" in found and len(found) > 2)
    print(f"  {len(names)} segmentations with the images' geometry")


def same(first: str, second: str) -> None:
    """The segmentations in two folders are the same files, byte by byte."""
    files = {file.name: file.read_bytes() for file in Path(first).glob("*.nii.gz")}
    _true(f"segmentations in {first}", bool(files))
    _equal("files", {file.name for file in Path(second).glob("*.nii.gz")}, set(files))
    for name, content in files.items():
        _true(f"{name} has the same bytes", (Path(second) / name).read_bytes() == content)
    print(f"  {len(files)} segmentations have the same bytes")


def best(information: str, *trainers: str) -> None:
    """``nnUNetv2_find_best_configuration`` compared each trainer's model, and the ensemble."""
    found = json.loads(Path(information).read_text())
    models = {name.split("__")[0] for name in found["all_results"] if not name.startswith("ensemble___")}
    _equal("models compared", models, set(trainers))
    _true("an ensemble compared", any(name.startswith("ensemble___") for name in found["all_results"]))
    for name, dice in found["all_results"].items():
        print(f"  Dice {dice:.3f} {name}")


def add_cascade(plans: str, parent: str) -> None:
    """Add 3d_lowres and 3d_cascade_fullres, which nnU-Net plans for large images only, to the plans."""
    file = Path(plans)
    content = json.loads(file.read_text())
    spacing = content["configurations"]["3d_fullres"]["spacing"]
    content["configurations"]["3d_lowres"] = {
        "inherits_from": parent,
        "data_identifier": f"{content['plans_name']}_3d_lowres",
        "spacing": [1.25 * edge for edge in spacing],
        "next_stage": "3d_cascade_fullres",
    }
    content["configurations"]["3d_cascade_fullres"] = {"inherits_from": parent, "previous_stage": "3d_lowres"}
    file.write_text(json.dumps(content, indent=4))


def use_regions(dataset: str) -> None:
    """Replace a dataset's labels by overlapping regions."""
    file = Path(dataset)
    content = json.loads(file.read_text())
    content["labels"] = {"background": 0, "brain": [1, 2, 3], "GM and WM": [2, 3], "WM": [3]}
    content["regions_class_order"] = [1, 2, 3]
    file.write_text(json.dumps(content, indent=4))


def anisotropic(plans: str, configuration: str) -> None:
    """The configuration has kernels and strides that differ between the axes."""
    architecture = json.loads(Path(plans).read_text())["configurations"][configuration]["architecture"]["arch_kwargs"]
    for key in ("kernel_sizes", "strides"):
        _true(f"anisotropic {key}: {architecture[key]}", any(len(set(sizes)) > 1 for sizes in architecture[key]))


def _losses(file: Path, num_epochs: int | None = None) -> list[float]:
    """Losses in a checkpoint, after the check that it has ``num_epochs``."""
    import torch

    checkpoint = torch.load(file, map_location="cpu", weights_only=False)
    losses = [round(float(loss), 4) for loss in checkpoint["logging"]["train_losses"]]
    if num_epochs is not None:
        _equal(f"epochs of {file}", checkpoint["current_epoch"], num_epochs)
        _equal(f"epochs in the log of {file}", len(losses), num_epochs)
    return losses


def _true(what: str, value: bool) -> None:
    if not value:
        sys.exit(f"FAILED: {what}")


def _equal(what: str, found: object, expected: object) -> None:
    _true(f"{what}: found {found}, expected {expected}", found == expected)


if __name__ == "__main__":
    CHECKS = (folds, resumed, predictions, same, best, add_cascade, use_regions, anisotropic)
    {check.__name__: check for check in CHECKS}[sys.argv[1]](*sys.argv[2:])
