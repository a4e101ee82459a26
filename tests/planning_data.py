"""Small datasets of nnU-Net, on disk."""

import copy
import json
import multiprocessing
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import nibabel as nib
import numpy as np
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.utilities import utils

LABELS = {"background": 0, "CSF": 1, "GM": 2, "WM": 3}


def set_folders(tmp_path, monkeypatch):
    """nnU-Net's three folders."""
    folders = SimpleNamespace(**{name: tmp_path / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")})
    for name, folder in vars(folders).items():
        folder.mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(folder))
    return folders


def use_threads(monkeypatch):
    """Let nnU-Net use threads in place of its pools of processes, which take seconds to start."""
    get_context = multiprocessing.get_context

    def with_thread_pool(method=None):
        context = copy.copy(get_context(method))
        context.Pool = ThreadPool
        return context

    monkeypatch.setattr(multiprocessing, "get_context", with_thread_pool)
    monkeypatch.setattr(utils, "Pool", ThreadPool)


def write_dataset(
    raw, number=1, cases=3, shape=(24, 28, 26), spacing=(1.0, 1.0, 1.0), channels=("T1", "T2"), labels=LABELS
):
    """A raw dataset of noisy nested boxes; returns its name."""
    folder = raw / f"Dataset{number:03d}_Boxes"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(number)
    segmentation = np.zeros(shape, np.uint8)
    for label in (1, 2, 3):
        segmentation[tuple(slice(label * n // 8, n - label * n // 8) for n in shape)] = label
    affine = np.diag([*spacing, 1.0])
    for case in (f"iSeg_{i:03d}" for i in range(1, cases + 1)):
        nib.save(nib.Nifti1Image(segmentation, affine), folder / "labelsTr" / f"{case}.nii.gz")
        for c in range(len(channels)):
            image = (100 + 50 * segmentation + rng.normal(0, 10, shape)).astype(np.float32)
            nib.save(nib.Nifti1Image(image, affine), folder / "imagesTr" / f"{case}_{c:04d}.nii.gz")
    description = {
        "channel_names": {str(i): name for i, name in enumerate(channels)},
        "labels": labels,
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    if any(isinstance(label, list) for label in labels.values()):
        description["regions_class_order"] = [1, 2, 3]
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder.name


def write_dataset_with_fingerprint(raw, **kwargs):
    """A raw dataset whose fingerprint nnU-Net has extracted; returns its name."""
    name = write_dataset(raw, **kwargs)
    extractor = DatasetFingerprintExtractor(int(name[7:10]), num_processes=1)
    extractor.num_foreground_voxels_for_intensitystats = 1000  # nnU-Net draws 1e8, and from small images too
    extractor.show_progress_bar = False
    extractor.run()
    return name


def pretend_geometry(folders, name, shape, spacing, cases=100):
    """Make nnU-Net's planners believe in more and larger images."""
    file = folders.preprocessed / name / "dataset_fingerprint.json"
    fingerprint = json.loads(file.read_text())
    fingerprint.update(spacings=[spacing] * cases, shapes_after_crop=[shape] * cases)
    file.write_text(json.dumps(fingerprint))
    file = folders.raw / name / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "numTraining": cases}))
