"""What a training gains from starting with the model that comes with the package, at equal steps.

Trains our network on a few phantoms from nothing and from the model, with several seeds each, predicts the other sites
and compares. Runs nnU-Net's commands and ours one after the other. If it is interrupted, it resumes where it stopped:

    python scripts/pretraining_gain.py -maps TISSUE_MAPS -o WORK_DIR

The maps should be of anatomies that the model has not seen; see scripts/train_shipped_model.py. Patches, channels and
voxel size are the model's.
"""

import argparse
import json
import sys
from pathlib import Path

from nnunetv2_dualagg.cli import exit_code
from nnunetv2_dualagg.demo.shell import Shell
from nnunetv2_dualagg.demo.steps import compare, make_dataset, predict
from nnunetv2_dualagg.inference.bundle import INSTALLED, read_bundle
from nnunetv2_dualagg.planning.reduced import add_reduced_configuration

ID = 298
DATASET = f"Dataset{ID}_iSeg2019"
FOLD = 0
STARTS = ("from_nothing", "from_the_model")
"""Two configurations of the same content, since nnU-Net keeps one training per trainer and configuration."""


def main() -> int:
    """Read the options and do all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-maps", type=Path, required=True, metavar="DIR", help="folder of tissue maps")
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="folder for everything")
    parser.add_argument("-m", type=Path, default=INSTALLED, metavar="FILE", help="default: the one in the package")
    parser.add_argument(
        "--num_training", type=int, default=4, help="maps to train on, one of them for validation (default: 4)"
    )
    parser.add_argument("--num_testing", type=int, default=2, help="testing subjects of each other site (default: 2)")
    parser.add_argument("--epochs", type=int, default=2, help="of 250 iterations (default: 2)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS, help="default: both, and compare")
    parser.add_argument("-device", default="cpu", help="nnU-Net's -device (default: cpu)")
    args = parser.parse_args()
    return exit_code(lambda: measure_gain(args))


def measure_gain(args: argparse.Namespace) -> None:
    """Phantom, conversion, planning; for each start and seed training and prediction; comparison."""
    output = args.o.resolve()
    content = read_bundle(args.m).content
    configuration = content["plans"]["configurations"][content["configuration"]]
    shell = Shell(output)
    raw, preprocessed, _ = (folder / DATASET for folder in shell.set_nnunet_folders())
    maps = ["-maps", args.maps.resolve(), "--num_training", args.num_training, "--num_testing", args.num_testing]
    spacing = reversed(configuration["spacing"])  # nnU-Net's order is Z, Y, X
    make_dataset(shell, ID, [*maps, "--spacing", *spacing], output / "phantom", raw)
    plans = preprocessed / "nnUNetPlans.json"
    shell.run(
        "Plan and preprocess",
        ["nnUNetv2_plan_and_preprocess", "-d", ID, "-c", "3d_fullres", "-npfp", 1, "-np", 1],
        done=plans.exists() and STARTS[-1] in json.loads(plans.read_text())["configurations"],
    )
    last = f"iSeg_{args.num_training:03d}"
    splits = preprocessed / "splits_final.json"
    shell.run("Keep one for validation", ["nnUNetv2_dualagg", "splits", "-d", ID, "--holdout", last], splits.exists())
    for start in STARTS:
        features = configuration["architecture"]["arch_kwargs"]["features_per_stage"]
        add_reduced_configuration(plans, start, configuration["patch_size"], configuration["batch_size"], features)
    trainer = f"nnUNetTrainerDualAgg_{args.epochs}epoch{'s' * (args.epochs > 1)}"
    results = output / "nnUNet_results"
    for start in args.starts:
        checkpoint = _unpack(shell, args.m, results) if start == STARTS[1] else None
        for seed in args.seeds:
            shell.environment["nnUNet_results"] = str(results)
            _train(shell, trainer, start, seed, checkpoint, args.device)
            shell.environment["nnUNet_results"] = str(results / f"seed_{seed}")
            options = ["-d", ID, "-c", start, "-f", FOLD, "-tr", trainer, "-device", args.device, "--disable_tta"]
            title = f"Predict the other sites with {start}, seed {seed}"
            predict(shell, title, raw, output / "predictions" / f"seed_{seed}" / start, options)
    if len(args.starts) == len(STARTS):
        runs = [(start, seed) for start in STARTS for seed in args.seeds]
        folders = [(start, output / "predictions" / f"seed_{seed}" / start) for start, seed in runs]
        compare(shell, raw, output / "comparison", folders)


def _unpack(shell: Shell, model: Path, results: Path) -> Path:
    """The checkpoint in the model file."""
    folder = results / "model"
    shell.run(
        "Unpack the model", ["nnUNetv2_dualagg", "unpack_model", "-i", model.resolve(), "-o", folder], folder.exists()
    )
    return next(folder.rglob("checkpoint_final.pth"))


def _train(shell: Shell, trainer: str, start: str, seed: int, checkpoint: Path | None, device: str) -> None:
    results = Path(shell.environment["nnUNet_results"])
    fold = results / f"seed_{seed}" / DATASET / f"{trainer}__nnUNetPlans__{start}" / f"fold_{FOLD}"
    command = ["nnUNetv2_dualagg", "train", "-seed", seed, ID, start, FOLD, "-tr", trainer, "-device", device]
    if (fold / "checkpoint_latest.pth").exists():
        command += ["--c"]
    elif checkpoint:
        command += ["-pretrained_weights", checkpoint]
    done = (fold / "checkpoint_final.pth").exists() and (fold / "validation" / "summary.json").exists()
    shell.run(f"Train {start}, seed {seed}", command, done)


if __name__ == "__main__":
    sys.exit(main())
