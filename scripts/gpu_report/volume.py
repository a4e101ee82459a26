"""A volume of 256^3 voxels: the windows alone, and from files to files with ``segment`` and ``nnUNetv2_predict``.

    python scripts/gpu_report/volume.py -o OUT/volume_3d_fullres.json nnUNetTrainerDualAgg:3d_fullres 0.5

It needs the data and the models of the parts before. The windows alone run over noise, so that none is empty; the
image for the commands is a phantom of 256^3 voxels with a brain in its middle. Nothing is mirrored.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import parser, write
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunetv2_dualagg.inference.case import Case, Options, measure, predict, prepare, summary
from nnunetv2_dualagg.inference.model import load_model
from nnunetv2_dualagg.inference.outputs import write as write_outputs

SIDE = {"cuda": 256, "cpu": 32}
DATASET = "Dataset219_iSeg2019"
CASE = "iSeg_001"


def main() -> None:
    """Measure one model."""
    made = parser(__doc__)
    made.add_argument("model", metavar="TRAINER:CONFIGURATION")
    made.add_argument("step_size", type=float)
    args = made.parse_args()
    trainer, configuration = args.model.split(":")
    # nnU-Net's variables, in its spelling
    raw, results = (Path(os.environ[name]) / DATASET for name in ("nnUNet_raw", "nnUNet_results"))
    folder = results / f"{trainer}__nnUNetPlans__{configuration}"
    images = sorted((raw / "imagesTr").glob(f"{CASE}_*"))
    with tempfile.TemporaryDirectory() as place:
        found = {
            "step_size": args.step_size,
            "windows": windows(folder, args.step_size, torch.device(args.device)),
            "phases_of_segment": phases(folder, images, args.step_size, args.device, Path(place)),
            "commands": commands(folder, images, args.step_size, args.device, Path(place)),
        }
    write(args.o, found)


def windows(folder: Path, step_size: float, device: torch.device) -> dict[str, Any]:
    """Seconds of all windows of a volume of noise, by our predictor and by nnU-Net's, the second time."""
    side = SIDE[device.type]
    ours = load_model(folder, device.type, step_size=step_size, mirroring=False, progress=False).predictor
    theirs = nnUNetPredictor(
        tile_step_size=step_size,
        use_mirroring=False,
        perform_everything_on_device=device.type == "cuda",
        device=device,
        allow_tqdm=False,
    )
    theirs.initialize_from_trained_model_folder(str(folder), (0,))
    noise = torch.randn(2, side, side, side, generator=torch.Generator().manual_seed(0))
    found: dict[str, Any] = {"voxels": list(noise.shape[1:])}
    labels = []
    for name, predictor in (("ours", ours), ("nnunet", theirs)):
        for key in ("first_seconds", "seconds"):  # cuDNN chooses its algorithms in the first
            found[f"{name}_{key}"], logits = timed(partial(predictor.predict_logits_from_preprocessed_data, noise))
        labels.append(logits.argmax(0).cpu())
    found["same_labels"] = float((labels[0] == labels[1]).float().mean())
    return found


def phases(folder: Path, images: list[Path], step_size: float, device: str, place: Path) -> dict[str, float]:
    """Seconds of each phase of ``segment``, in one process."""
    options = Options(mirroring=False, step_size=step_size)
    case = Case(CASE, tuple(images), place / "phases" / CASE, stripped=True)
    seconds = {}
    load = partial(load_model, folder, device, step_size=step_size, mirroring=False, progress=False)
    seconds["load"], model = timed(load)
    seconds["prepare"], prepared = timed(partial(prepare, case, model.channels, model.intensities, options))
    seconds["predict"], labels = timed(partial(predict, model, prepared))
    found = summary(case, prepared, measure(labels, model.labels, prepared.reference.voxel_ml))
    seconds["write"], _ = timed(partial(write_outputs, case, model, options, prepared, labels, found))
    return seconds


def commands(model: Path, images: list[Path], step_size: float, device: str, place: Path) -> dict[str, float]:
    """Seconds of the two commands, with all that they import and load."""
    trainer, _, configuration = model.name.split("__")
    folder = place / "images"
    folder.mkdir()
    for image in images:
        shutil.copy(image, folder)
    step = ("-step_size", step_size, "-device", device, "--disable_tta", "--disable_progress_bar")
    segment = ("nnUNetv2_dualagg", "segment", "-i", *images, "-o", place / "segment", "-m", model, "--skull-stripped")
    which = ("-d", 219, "-c", configuration, "-tr", trainer, "-f", 0)
    theirs = ("nnUNetv2_predict", "-i", folder, "-o", place / "predict", *which)
    lines = [[str(word) for word in (*line, *step)] for line in (segment, theirs)]
    return {line[0]: timed(partial(subprocess.run, line, check=True))[0] for line in lines}


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a function takes, with what it left to the GPU; and what it returns."""
    start = time.perf_counter()
    found = function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main()
