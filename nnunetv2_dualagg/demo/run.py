"""All steps on the phantom: segmenting a subject; nnU-Net's default against ours, after a short training.

The demo runs the commands that a user would run, one after the other, and shows them. A step whose result is there
already is skipped, so an interrupted demo resumes where it stopped.
"""

from pathlib import Path

from nnunetv2_dualagg.demo.shell import Shell
from nnunetv2_dualagg.demo.steps import compare, make_dataset, predict
from nnunetv2_dualagg.planning.reduced import add_reduced_configuration
from nnunetv2_dualagg.utils.forms import Plans
from nnunetv2_dualagg.utils.json import read_json

ID = 219
DATASET = f"Dataset{ID}_iSeg2019"
CONFIGURATION = "3d_demo"
PHANTOM = ("--num_training", 6, "--num_testing", 2, "--spacing", 2)
SEGMENTED = "iSeg_024"
TRAINERS = {"default": "nnUNetTrainer_1epoch", "dualagg": "nnUNetTrainerDualAgg_1epoch"}


def run_demo(output: Path, device: str = "cpu") -> None:
    """Make the phantom, segment a subject, train both networks on the same plans, predict the testing sites, compare.

    Args:
        output: folder for everything; what an earlier run finished there is kept.
        device: nnU-Net's ``-device``: cpu, cuda or mps.

    Raises:
        UserError: a command failed; the sentence names its log.
    """
    output = output.resolve()
    shell = Shell(output)
    raw, preprocessed, results = (folder / DATASET for folder in shell.set_nnunet_folders())
    make_dataset(shell, ID, PHANTOM, output / "phantom", raw)
    _segment(shell, raw, output / "segmented", device)
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
        options = ["-d", ID, "-c", CONFIGURATION, "-f", 0, "-tr", trainer, "-device", device]
        predict(shell, f"Predict the testing sites with {trainer}", raw, output / name, options)
    compare(shell, raw, output / "comparison", [(name, output / name) for name in TRAINERS])


def _segment(shell: Shell, raw: Path, output: Path, device: str) -> None:
    images = [raw / "imagesTs" / f"{SEGMENTED}_000{channel}.nii.gz" for channel in (0, 1)]
    shell.run(
        "Segment one of the other sites' subjects with the model that comes with the package",
        ["nnUNetv2_dualagg", "segment", "-i", *images, "-o", output, "-device", device],
        done=(output / f"{SEGMENTED}_0000_dseg.nii.gz").exists(),
    )
    print(f"The picture: {output / f'{SEGMENTED}_0000_preview.png'}", flush=True)
