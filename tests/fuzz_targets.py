"""A small sound input for each command that reads files, and which of its files to damage."""

import gzip
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import bobs_files
import infant_images
import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from evaluation_data import layers, write_comparison, write_image
from iseg_files import brain, write_iseg
from packed_model import write_complete_model
from planning_data import write_dataset
from trained_model import plans, write_model
from workflow_files import small_config

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.dataset_conversion.bobs.origin import BOBS
from nnunetv2_dualagg.inference.bids import start_derivative
from nnunetv2_dualagg.workflow.run import write_workflow

LOG = "".join(
    f"2026-01-01 10:00:00.000000: {line}\n"
    for line in ("Epoch 0", "train_loss -0.5", "val_loss -0.4", "Pseudo dice [0.9, 0.8]", "Epoch time: 3.2 s")
)
NUMBERS = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
FINGERPRINT = {
    "spacings": [[1.0, 1.0, 1.0]] * 3,
    "shapes_after_crop": [[40, 40, 40]] * 3,
    "foreground_intensity_properties_per_channel": {"0": NUMBERS},
    "median_relative_size_after_cropping": 1.0,
}
BENCHMARK = {
    "networks": {
        name: {"step_seconds": 1.0, "patch_seconds": 0.5} for name in ("PlainConvUNet", "ResidualEncoderUNet")
    },
    "setting": {"patch_size": [16, 16, 16], "batch_size": 2},
    "options": {"device": "cpu"},
}


@dataclass
class Target:
    """A command and the files to damage.

    Attributes:
        arguments: of the command; it ends with 0 as long as the files are sound.
        files: those to damage.
        output: what must not be there after a refusal, if anything.
        tree: a folder that the command changes: as before after a refusal, and put back after each run.
        on_stdout: its report, not stderr, says what is wrong.
    """

    arguments: list
    files: list[Path]
    output: Path | None = None
    tree: Path | None = None
    on_stdout: bool = False
    _content: dict[Path, bytes] = field(default_factory=dict)

    def remember(self) -> None:
        """Note what is there."""
        self._content = {file: file.read_bytes() for file in [*self.files, *self._in_tree()]}

    def _in_tree(self) -> list[Path]:
        return [] if self.tree is None else [file for file in self.tree.rglob("*") if file.is_file()]

    def sound(self, file: Path) -> bytes:
        """The content of a file before it was damaged."""
        return self._content[file]

    def is_untouched(self) -> bool:
        """Whether a refused command has left everything as it was; the files to damage do not count."""
        if self.output is not None and self.output.exists():
            return False
        now = {file: file.read_bytes() for file in {*self._in_tree(), *self._content} - {*self.files} if file.exists()}
        return now == {file: content for file, content in self._content.items() if file not in self.files}

    def put_back(self) -> None:
        """Undo the damage, and what the command has made."""
        for place in (self.output, self.tree):
            if place is not None and place.exists():
                shutil.rmtree(place) if place.is_dir() else place.unlink()
        for file, content in self._content.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _unpacked(file: Path) -> Path:
    """The same image without compression: in a compressed one nearly all damage ends at the checksum."""
    bare = file.with_suffix("")
    bare.write_bytes(gzip.decompress(file.read_bytes()))
    file.unlink()
    return bare


def convert_iseg(folder):
    folders, _ = write_iseg(folder / "in", numbers=(1, 24))
    write_iseg(folder / "in", numbers=(25,), ending=".nii.gz")
    sites = folder / "sites.csv"
    sites.write_text("subject,site\n24,BCP\n25,Stanford\n")
    arguments = ["convert_iseg", "-i", *folders, "-np", 1, "-sites", sites, "-d", 219]
    files = [file for file in sorted((folder / "in").rglob("*")) if file.is_file()]
    return Target(arguments, [*files, sites], folder / "nnUNet_raw" / "Dataset219_iSeg2019")


def check_iseg(folder):
    target = convert_iseg(folder)
    return Target([*target.arguments[:-2], "--check"], target.files, on_stdout=True)


def add_iseg(folder):
    folders, _ = write_iseg(folder / "in", numbers=(24,))
    others, _ = write_iseg(folder / "more", numbers=(25,))
    dataset = folder / "nnUNet_raw" / "Dataset219_iSeg2019"
    words = ["-d", 219, "-np", 1]
    assert cli.main([str(word) for word in ("convert_iseg", "-i", *folders, *words)]) == 0
    files = [dataset / "dataset.json", dataset / "sites.json"]
    return Target(["convert_iseg", "-i", *others, *words, "--add"], files, tree=dataset)


def submit_iseg(folder):
    write_iseg(folder / "in", numbers=(24,))
    (folder / "predictions").mkdir()
    file = folder / "predictions" / "iSeg_024.nii.gz"
    nib.save(nib.Nifti1Image(brain()[0], np.diag([-1, 1, 1, 1])), file)
    iseg = folder / "in" / "iSeg-2019-Testing"
    arguments = ["submit_iseg", "-i", file.parent, "-r", iseg, "-o", folder / "out.zip"]
    return Target(arguments, [file, iseg / "subject-24-T1.hdr"], folder / "out.zip")


def convert_bobs(folder):
    bobs_files.write_session(folder / "in", "11", 6)
    BOBS.write(folder / "in")
    t1, t2, label = (next((folder / "in").rglob(f"*_{kind}.nii.gz")) for kind in ("T1w", "T2w", "dseg"))
    files = [_unpacked(t1), t2, _unpacked(label), folder / "in" / "origin.json"]
    arguments = ["convert_bobs", "-i", folder / "in", "-np", 1, "-d", 221]
    return Target(arguments, files, folder / "nnUNet_raw" / "Dataset221_BOBs")


def check_bobs(folder):
    target = convert_bobs(folder)
    return Target([*target.arguments[:-2], "--check"], target.files, on_stdout=True)


def phantom(folder):
    for name in ("a.nii", "b.nii.gz"):
        write_image(folder / "maps" / name, layers(0, (14, 14, 14)), spacing=(8, 8, 8))
    words = ["--num_training", 2, "--num_testing", 0, "--spacing", 10, "-np", 1]
    arguments = ["phantom", "-maps", folder / "maps", "-o", folder / "out", *words]
    return Target(arguments, sorted((folder / "maps").iterdir()), folder / "out")


def compare(folder):
    root = write_comparison(folder / "in", cases=1)
    images = [root / place / "iSeg_000.nii.gz" for place in ("labelsTs", "default")]
    arguments = ["compare", "-ref", root / "labelsTs", "-pred", f"a={root / 'default'}", "-sites", root / "sites.json"]
    files = [root / "dataset.json", root / "sites.json", *images]
    return Target([*arguments, "-np", 1, "-o", folder / "out"], files, folder / "out")


def curves(folder):
    fold = folder / "fold_0"
    fold.mkdir()
    files = [fold / "training_log_2026_1_1_10_00_00.txt", fold / "debug.json"]
    files[0].write_text(LOG)
    files[1].write_text(json.dumps({"gpu_name": "x", "device": "cuda"}))
    return Target(["curves", "-i", f"a={fold}", "-o", folder / "out"], files, folder / "out")


def _dataset(folder):
    """A raw dataset and what nnU-Net's planning leaves of it, as if its images had 40^3 voxels."""
    name = write_dataset(folder / "nnUNet_raw", cases=3, shape=(8, 8, 8), channels=("T1",))
    raw, preprocessed = folder / "nnUNet_raw" / name, folder / "nnUNet_preprocessed" / name
    preprocessed.mkdir(parents=True)
    fold = {"train": ["iSeg_001", "iSeg_002"], "val": ["iSeg_003"]}
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(FINGERPRINT))
    (preprocessed / "splits_final.json").write_text(json.dumps([fold]))
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans((16, 16, 16))))
    return raw, preprocessed


def plan(folder):
    raw, preprocessed = _dataset(folder)
    names = ("dataset_fingerprint.json", "splits_final.json", "nnUNetPlans.json")
    files = [raw / "dataset.json", *(preprocessed / name for name in names)]
    return Target(["plan", "-d", 1], files, preprocessed / "nnUNetDualAggPlans.json")


def splits(folder):
    raw, preprocessed = _dataset(folder)
    files = [raw / "dataset.json", preprocessed / "splits_final.json"]
    return Target(["splits", "-d", 1, "--loso", "--overwrite"], files)


def add_configuration(folder):
    _, preprocessed = _dataset(folder)
    words = "add_configuration -d 1 -c 3d_small -patch_size 16 16 16 -batch_size 2 -features_per_stage 4 8 8"
    return Target(words.split(), [preprocessed / "nnUNetPlans.json"])


def _model_files(model):
    return [model / "plans.json", model / "dataset.json", model / "fold_0" / "checkpoint_final.pth"]


def export_onnx(folder):
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    model = folder / "model"
    write_model(model, plans((8, 8, 8), features=(8, 8)))
    arguments = ["export_onnx", "-m", model, "-f", 0, "-o", folder / "x.onnx"]
    return Target(arguments, _model_files(model), folder / "x.onnx")


def _write_model(folder, spacing=6.0):
    """A model that can segment, which is quick with the images of :func:`_write_infant`."""
    torch.manual_seed(0)
    write_complete_model(folder, patch_size=(8, 8, 8), features=(4, 8, 8))
    content = json.loads((folder / "plans.json").read_text())
    content["configurations"]["3d_fullres"]["spacing"] = [spacing] * 3
    (folder / "plans.json").write_text(json.dumps(content))
    return folder


def pack_model(folder):
    model, file = _write_model(folder / "model"), folder / "x.safetensors"
    return Target(["pack_model", "-m", model, "-f", 0, "-o", file], _model_files(model), file)


def _packed(folder):
    file = folder / "model.safetensors"
    assert cli.main(["pack_model", "-m", str(_write_model(folder / "model")), "-f", "0", "-o", str(file)]) == 0
    return file


def unpack_model(folder):
    file = _packed(folder)
    return Target(["unpack_model", "-i", file, "-o", folder / "out"], [file], folder / "out")


def _write_infant(folder, name="sub-01", spacing=6.0, shape=(20, 24, 18)):
    """T1, T2 and a mask of the brain, not compressed."""
    labels = infant_images.tissues(0, shape, spacing)
    images = {f"{kind}w": image for kind, image in infant_images.images(labels).items()}
    matrix = infant_images.affine("RAS", spacing, shape)
    content = {**images, "mask": (labels > 0).astype(np.uint8)}
    return [infant_images.save(array, matrix, folder / f"{name}_{kind}.nii") for kind, array in content.items()]


QUICKLY = ("-step_size", 1, "--disable_tta", "--disable_progress_bar")


def segment(folder):
    t1, t2, mask = _write_infant(folder / "in")
    model = _packed(folder)
    arguments = ["segment", "-i", t1, t2, "-mask", mask, "-m", model, "-o", folder / "out", *QUICKLY]
    return Target(arguments, [t1, t2, mask, model], folder / "out")


def segment_with_folder(folder):
    """With the model as nnU-Net leaves it."""
    target, model = segment(folder), folder / "model"
    arguments = [model if word == folder / "model.safetensors" else word for word in target.arguments]
    return Target(arguments, _model_files(model), target.output)


def segment_bids(folder):
    pytest.importorskip("bids", reason="pybids is not installed")
    root, output = folder / "bids", folder / "derivative"
    t1, _, mask = _write_infant(root / "sub-01" / "anat")
    mask.unlink()
    description, sidecar = root / "dataset_description.json", t1.with_suffix(".json")
    description.write_text(json.dumps({"Name": "x", "BIDSVersion": "1.9.0", "DatasetType": "raw"}))
    sidecar.write_text(json.dumps({"SkullStripped": True, "EchoTime": 0.1}))
    start_derivative(output, root, {"CSF": 1, "GM": 2, "WM": 3})
    files = [description, sidecar, output / "dataset_description.json", t1]
    return Target(["segment", "-i", root, "-m", _packed(folder), "-o", output, *QUICKLY], files, tree=output)


def train(folder):
    _, preprocessed = _dataset(folder)
    write_model(folder / "model", plans((8, 8, 8), features=(8, 8)))
    weights = folder / "model" / "fold_0" / "checkpoint_final.pth"
    files = [weights, preprocessed / "nnUNetPlans.json", preprocessed / "splits_final.json"]
    words = ["train", "-seed", 0, 1, "3d_fullres", 0, "-device", "cpu", "-pretrained_weights", weights]
    return Target(words, files)


def path(folder):
    model = folder / "nnUNet_results" / "Dataset001_X" / "nnUNetTrainerDualAgg__nnUNetPlans__3d_fullres"
    write_model(model, plans((8, 8, 8), features=(8, 8)))
    return Target(["path", "--check"], [model / "fold_0" / "checkpoint_final.pth"], on_stdout=True)


def workflow(folder):
    root = folder / "workflow"
    write_workflow(root)
    config = small_config(splits="splits.json", benchmark="benchmark.json", ensembles={"both": ["plain", "resenc"]})
    contents = {
        "config.yaml": yaml.safe_dump(config, sort_keys=False),
        "splits.json": json.dumps([{"train": ["iSeg_001"], "val": ["iSeg_002"]}]),
        "benchmark.json": json.dumps(BENCHMARK),
    }
    for name, text in contents.items():
        (root / name).write_text(text)
    files = [root / "config.yaml"] * 3 + [root / "splits.json", root / "benchmark.json"]
    return Target(["workflow", "-o", root, "--dry-run"], files)
