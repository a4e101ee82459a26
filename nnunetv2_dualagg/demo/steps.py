"""Steps that the demo and the scripts that train on phantoms have in common."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from nnunetv2_dualagg.demo.shell import Shell

Words = Iterable[object]
"""Of a command; they are turned into text."""


def make_dataset(shell: Shell, number: int, options: Words, phantom: Path, raw: Path) -> None:
    """Make a phantom and convert it.

    Args:
        shell: runs the commands.
        number: the dataset's number.
        options: of ``nnUNetv2_dualagg phantom``.
        phantom: the folder to make.
        raw: the raw dataset to make.
    """
    shell.run(
        "Make a phantom: a training site and three testing sites",
        ["nnUNetv2_dualagg", "phantom", "-o", phantom, *options],
        done=phantom.exists(),
    )
    folders = [phantom / f"iSeg-2019-{name}" for name in ("Training", "Testing", "Testing-labels")]
    shell.run(
        "Convert it to nnU-Net's format",
        ["nnUNetv2_dualagg", "convert_iseg", "-i", *folders, "-sites", phantom / "sites.csv", "-d", number],
        done=raw.exists(),
    )


def predict(shell: Shell, title: str, raw: Path, predictions: Path, options: Words) -> None:
    """Predict the testing sites; what is there already stays.

    Args:
        shell: runs the command.
        title: what to call the step.
        raw: the raw dataset.
        predictions: folder to write.
        options: of ``nnUNetv2_predict``: dataset, configuration, trainer, folds and so on.
    """
    cases = {label.name for label in (raw / "labelsTs").iterdir()}
    shell.run(
        title,
        [
            *("nnUNetv2_predict", "-i", raw / "imagesTs", "-o", predictions),
            *(*options, "-npp", 1, "-nps", 1, "--continue_prediction"),
        ],
        done=predictions.exists() and cases <= {file.name for file in predictions.iterdir()},
    )


def compare(shell: Shell, raw: Path, comparison: Path, predictions: Sequence[tuple[str, Path]]) -> None:
    """Compare predictions of the testing sites, and print the table of Dice.

    Args:
        shell: runs the command.
        raw: the raw dataset.
        comparison: folder to write.
        predictions: method and folder of predictions; a method may have several folders.
    """
    shell.run(
        "Compare",
        [
            *("nnUNetv2_dualagg", "compare", "-ref", raw / "labelsTs", "-sites", raw / "sites.json"),
            *("-images", raw / "imagesTs", "-o", comparison),
            *("-pred", *(f"{name}={folder}" for name, folder in predictions)),
        ],
        done=comparison.exists(),
    )
    print(f"\n{(comparison / 'dice.md').read_text()}\nTables, figures and the report are in {comparison}")
