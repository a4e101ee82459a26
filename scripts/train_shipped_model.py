"""Train, test and pack the model that comes with the package, from maps of tissues alone.

Runs nnU-Net's commands and ours one after the other. If it is interrupted, it resumes where it stopped:

    python scripts/train_shipped_model.py -maps TISSUE_MAPS -o WORK_DIR

The maps (0 background, 1 CSF, 2 GM, 3 WM; NIfTI) are used in the order of their names: the first for training, those
behind them for testing, so that no anatomy is in both. The images that the network sees are drawn anew for each patch
(nnUNetTrainerDualAggSynthetic); the phantom's own images serve for validation and testing.
"""

import argparse
import json
import sys
from pathlib import Path

from nnunetv2_dualagg.cli import exit_code
from nnunetv2_dualagg.demo.shell import Shell
from nnunetv2_dualagg.demo.steps import compare, make_dataset, predict
from nnunetv2_dualagg.inference.bundle import INSTALLED
from nnunetv2_dualagg.planning.reduced import add_reduced_configuration

ID = 299
DATASET = f"Dataset{ID}_iSeg2019"
CONFIGURATION = "3d_shipped"
FOLD, SEED = 0, 0
CARD = (
    "Trained on adult anatomy of infant size with synthetic contrast, and never validated on infants. Use it to try "
    "the program or to start a training from, not to measure infants."
)


def main() -> int:
    """Read the options and do all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-maps", type=Path, required=True, metavar="DIR", help="folder of tissue maps")
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="folder for everything")
    parser.add_argument("--num_training", type=int, default=10, help="maps to train on (default: 10)")
    parser.add_argument("--num_testing", type=int, default=1, help="testing subjects of each other site (default: 1)")
    parser.add_argument("--spacing", type=float, default=1.0, help="voxel size in mm (default: 1)")
    parser.add_argument("--patch", type=int, default=40, help="voxels along each side of a patch (default: 40)")
    parser.add_argument("--features", type=int, nargs="+", default=[16, 32, 64], help="channels (default: 16 32 64)")
    parser.add_argument("--epochs", type=int, default=25, help="of 250 iterations (default: 25)")
    parser.add_argument("--trainer", default="nnUNetTrainerDualAggSynthetic", help="default: %(default)s")
    parser.add_argument("-device", default="cpu", help="nnU-Net's -device (default: cpu)")
    args = parser.parse_args()
    return exit_code(lambda: train_shipped_model(args))


def train_shipped_model(args: argparse.Namespace) -> None:
    """Phantom, conversion, planning, training, packing, prediction of other sites, comparison."""
    output = args.o.resolve()
    shell = Shell(output)
    raw, preprocessed, results = shell.set_nnunet_folders()
    raw, preprocessed = raw / DATASET, preprocessed / DATASET
    maps = ["-maps", args.maps.resolve(), "--num_training", args.num_training, "--num_testing", args.num_testing]
    make_dataset(shell, ID, [*maps, "--spacing", args.spacing], output / "phantom", raw)
    plans = preprocessed / "nnUNetPlans.json"
    shell.run(
        "Plan and preprocess",
        ["nnUNetv2_plan_and_preprocess", "-d", ID, "-c", "3d_fullres", "-npfp", 1, "-np", 1],
        done=plans.exists() and CONFIGURATION in json.loads(plans.read_text())["configurations"],
    )
    add_reduced_configuration(plans, CONFIGURATION, [args.patch] * 3, 2, args.features)
    trainer = f"{args.trainer}_{args.epochs}epoch{'s' * (args.epochs > 1)}"
    seeded = results / f"seed_{SEED}"  # where `train` puts it
    model = seeded / DATASET / f"{trainer}__nnUNetPlans__{CONFIGURATION}"
    _train(shell, trainer, model, args.device)
    shell.environment["nnUNet_results"] = str(seeded)
    packed = output / INSTALLED.name
    shell.run(
        "Pack the model",
        [
            *("nnUNetv2_dualagg", "pack_model", "-m", model, "-f", FOLD, "-o", packed, "--half"),
            *("--description", CARD, "--licence", "Apache-2.0"),
        ],
        done=packed.exists(),
    )
    options = ["-d", ID, "-c", CONFIGURATION, "-f", FOLD, "-tr", trainer, "-device", args.device]
    predict(shell, "Predict the other sites", raw, output / "predictions", options)
    compare(shell, raw, output / "comparison", [("shipped", output / "predictions")])
    print(f"{packed}: {packed.stat().st_size / 1e6:.2f} MB")


def _train(shell: Shell, trainer: str, model: Path, device: str) -> None:
    fold = model / f"fold_{FOLD}"
    command = ["nnUNetv2_dualagg", "train", "-seed", SEED, ID, CONFIGURATION, FOLD, "-tr", trainer, "-device", device]
    done = (fold / "checkpoint_final.pth").exists() and (fold / "validation" / "summary.json").exists()
    resumed = ["--c"] if (fold / "checkpoint_latest.pth").exists() else []
    shell.run("Train on images drawn from the labels", [*command, *resumed], done)


if __name__ == "__main__":
    sys.exit(main())
