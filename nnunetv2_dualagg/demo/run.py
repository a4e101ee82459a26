"""All steps on the phantom: nnU-Net's default against the dual aggregation network, after a short training.

The demo runs the commands that a user would run, one after the other, and shows them. A step whose result is there
already is skipped, so an interrupted demo resumes where it stopped.
"""

from pathlib import Path

from nnunetv2_dualagg.demo.shell import Shell
from nnunetv2_dualagg.planning.reduced import add_reduced_configuration
from nnunetv2_dualagg.utils.forms import Plans
from nnunetv2_dualagg.utils.json import read_json

ID = 219
DATASET = f"Dataset{ID}_iSeg2019"
CONFIGURATION = "3d_demo"
TRAINERS = {"default": "nnUNetTrainer_1epoch", "dualagg": "nnUNetTrainerDualAgg_1epoch"}


def run_demo(output: Path, device: str = "cpu") -> None:
    """Make the phantom, train both networks on the same plans, predict the testing sites, compare.

    Args:
        output: folder for everything; what an earlier run finished there is kept.
        device: nnU-Net's ``-device``: cpu, cuda or mps.

    Raises:
        UserError: a command failed; the sentence names its log.
    """
    output = output.resolve()
    shell = Shell(output)
    raw, preprocessed, results = (folder / DATASET for folder in shell.set_nnunet_folders())
    _make_dataset(shell, output / "phantom", raw)
    plans = preprocessed / "nnUNetPlans.json"
    shell.run(
        "Plan and preprocess",
        [
            "nnUNetv2_plan_and_preprocess",
            "-d",
            ID,
            "-c",
            "3d_fullres",
            *("-npfp", 2, "-np", 2),
            "--verify_dataset_integrity",
        ],
        done=plans.exists() and CONFIGURATION in read_json(plans, Plans)["configurations"],
    )
    # 40^3 voxels and three stages: what two processor cores can train.
    add_reduced_configuration(plans, CONFIGURATION, [40, 40, 40], 2, [16, 32, 64])
    for trainer in TRAINERS.values():
        fold = results / f"{trainer}__nnUNetPlans__{CONFIGURATION}" / "fold_0"
        shell.run(
            f"Train {trainer}: 250 iterations",
            ["nnUNetv2_train", ID, CONFIGURATION, 0, "-tr", trainer, "-device", device],
            done=(fold / "checkpoint_final.pth").exists(),
        )
    for name, trainer in TRAINERS.items():
        _predict(shell, raw, output / name, trainer, device)
    _compare(shell, raw, output)


def _make_dataset(shell: Shell, phantom: Path, raw: Path) -> None:
    shell.run(
        "Make a phantom: a training site and three testing sites",
        ["nnUNetv2_dualagg", "phantom", "-o", phantom, "--num_training", 6, "--num_testing", 2, "--spacing", 2],
        done=phantom.exists(),
    )
    folders = [phantom / f"iSeg-2019-{name}" for name in ("Training", "Testing", "Testing-labels")]
    shell.run(
        "Convert it to nnU-Net's format",
        ["nnUNetv2_dualagg", "convert_iseg", "-i", *folders, "-sites", phantom / "sites.csv", "-d", ID],
        done=raw.exists(),
    )


def _predict(shell: Shell, raw: Path, predictions: Path, trainer: str, device: str) -> None:
    cases = {label.name for label in (raw / "labelsTs").iterdir()}
    shell.run(
        f"Predict the testing sites with {trainer}",
        [
            *("nnUNetv2_predict", "-i", raw / "imagesTs", "-o", predictions, "-d", ID, "-c", CONFIGURATION),
            *("-f", 0, "-tr", trainer, "-device", device, "-npp", 1, "-nps", 1, "--continue_prediction"),
        ],
        done=predictions.exists() and cases <= {file.name for file in predictions.iterdir()},
    )


def _compare(shell: Shell, raw: Path, output: Path) -> None:
    comparison = output / "comparison"
    shell.run(
        "Compare",
        [
            *("nnUNetv2_dualagg", "compare", "-ref", raw / "labelsTs", "-sites", raw / "sites.json"),
            *("-images", raw / "imagesTs", "-o", comparison),
            *("-pred", *(f"{name}={output / name}" for name in TRAINERS)),
        ],
        done=comparison.exists(),
    )
    print(f"\n{(comparison / 'dice.md').read_text()}\nTables, figures and the report are in {comparison}")
