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
    """Each of these folds is finished: checkpoint, losses, and a validation as good as on the last epoch's patches.

    So few iterations may leave a tissue unlearned. What nnU-Net measured during the training then says so too, and the
    whole images that it predicts afterwards must not be worse.
    """
    for folder in map(Path, folders):
        log = _log(folder / "checkpoint_final.pth", int(num_epochs))
        losses = _losses(log)
        _true(f"finite losses: {losses}", all(math.isfinite(loss) for loss in losses))
        _true(f"falling losses: {losses}", losses[-1] < losses[0])
        of_labels = json.loads((folder / "validation" / "summary.json").read_text())["mean"].values()
        dice = [label["Dice"] for label in of_labels]
        mean, on_patches = np.mean(dice), np.nanmean(log["dice_per_class_or_region"][-1])
        _true(f"Dice of the validation, best label {max(dice):.3f} > 0.5", max(dice) > 0.5)
        _true(f"Dice of the validation {mean:.3f}, on patches {on_patches:.3f}", mean > on_patches - 0.1)
        print(
            f"  {len(losses)} epochs, loss {losses[0]:.2f} -> {losses[-1]:.2f}, Dice {mean:.2f}, on patches"
            f" {on_patches:.2f}  {folder.parent.name}"
        )


def resumed(num_epochs: str, before: str, after: str) -> None:
    """A checkpoint's training went on from another checkpoint: the same first epochs, and all the others."""
    first = _losses(_log(Path(before)))
    _true(f"something left to resume: {len(first)} epochs before", 0 < len(first) < int(num_epochs))
    losses = _losses(_log(Path(after), int(num_epochs)))
    _equal("losses before the kill", losses[: len(first)], first)
    print(f"  {len(first)} epochs before, {num_epochs} after, losses {losses}")


def predictions(folder: str, images: str, *labels: str) -> None:
    """Every image has a segmentation of its geometry: background, two or more tissues where the brain is, no more."""
    names = {file.name.replace("_0000.nii.gz", ".nii.gz") for file in Path(images).glob("*_0000.nii.gz")}
    _equal("predicted cases", {file.name for file in Path(folder).glob("*.nii.gz")}, names)
    for name in sorted(names):
        segmentation = nib.load(Path(folder) / name)
        image = nib.load(Path(images) / name.replace(".nii.gz", "_0000.nii.gz"))
        _equal(f"shape of {name}", segmentation.shape, image.shape)
        _true(f"affine of {name}", np.allclose(segmentation.affine, image.affine, atol=1e-4))
        found = {str(label) for label in np.unique(segmentation.dataobj)}
        _true(f"labels in {name}: {found}", found <= set(labels) and "0" in found and len(found) > 2)
        tissue, brain = np.asarray(segmentation.dataobj) > 0, _brain(images, name)
        overlap = 2 * np.sum(tissue & brain) / (np.sum(tissue) + np.sum(brain))
        _true(f"Dice of all tissue and brain in {name} {overlap:.3f} > 0.8", overlap > 0.8)
    print(f"  {len(names)} segmentations with the images' geometry")


def background_known(folder: str, images: str) -> None:
    """No segmentation has tissue where the image is 0."""
    files = sorted(Path(folder).glob("*.nii.gz"))
    _true(f"segmentations in {folder}", bool(files))
    for file in files:
        outside = int(np.sum((np.asarray(nib.load(file).dataobj) > 0) & ~_brain(images, file.name)))
        _equal(f"voxels of tissue outside the brain in {file}", outside, 0)
    print(f"  {len(files)} segmentations without tissue outside the brain")


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


def _brain(images: str, name: str) -> np.ndarray:
    """Where a channel of the image that belongs to the segmentation ``name`` is not 0."""
    channels = Path(images).glob(name.replace(".nii.gz", "_*.nii.gz"))
    return np.any([np.asarray(nib.load(channel).dataobj) != 0 for channel in channels], axis=0)


def _log(file: Path, num_epochs: int | None = None) -> dict[str, list]:
    """What nnU-Net noted of each epoch in a checkpoint, after the check that it has ``num_epochs``."""
    import torch

    checkpoint = torch.load(file, map_location="cpu", weights_only=False)
    if num_epochs is not None:
        _equal(f"epochs of {file}", checkpoint["current_epoch"], num_epochs)
        _equal(f"epochs in the log of {file}", len(checkpoint["logging"]["train_losses"]), num_epochs)
    return checkpoint["logging"]


def _losses(log: dict[str, list]) -> list[float]:
    return [round(float(loss), 4) for loss in log["train_losses"]]


def _true(what: str, value: bool) -> None:
    if not value:
        sys.exit(f"FAILED: {what}")


def _equal(what: str, found: object, expected: object) -> None:
    _true(f"{what}: found {found}, expected {expected}", found == expected)


if __name__ == "__main__":
    CHECKS = (folds, resumed, predictions, background_known, same, best, add_cascade, use_regions, anisotropic)
    {check.__name__: check for check in CHECKS}[sys.argv[1]](*sys.argv[2:])
