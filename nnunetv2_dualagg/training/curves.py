"""Training curves of several nnU-Net result folders, from the logs that nnU-Net writes."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nnunetv2_dualagg.utils.colours import METHODS, colour_map
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import check_new_directory, new_directory, regular_file
from nnunetv2_dualagg.utils.forms import DebugJson
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.tables import NO_VALUE, Table, as_markdown, write_table

LINE = re.compile(r"^[\d-]+ [\d:.]+: +(Epoch time:|Epoch|train_loss|val_loss|Pseudo dice) +(.*?) *s? *$")
PARAMETERS = re.compile(r"\bparameters: *([\d,_]+)", re.IGNORECASE)
COLUMNS = {"train_loss": "train_loss", "val_loss": "val_loss", "Pseudo dice": "pseudo_dice", "Epoch time:": "seconds"}
SMOOTHING = 0.9  # of nnU-Net's moving average of the pseudo Dice


@dataclass(frozen=True)
class Training:
    """The training of one fold.

    Attributes:
        name: the method.
        fold: the folder's name, such as ``fold_0``, or ``seed_1/fold_0`` of a seed's results.
        epochs: a row per epoch with ``train_loss``, ``val_loss``, ``pseudo_dice`` (mean over the foreground classes),
            ``ema_pseudo_dice`` (nnU-Net's moving average) and ``seconds``.
        device: the GPU's name, or ``cpu``.
        parameters: the number of parameters, if the log contains it.
    """

    name: str
    fold: str
    epochs: pd.DataFrame
    device: str
    parameters: int | None


def draw_curves(folders: Mapping[str, Sequence[Path]], output: Path, *, overwrite: bool = False) -> str:
    """Draw loss and pseudo Dice of several trainings together.

    Args:
        folders: method -> its result folders: a ``fold_X``, or a model folder that holds such folders.
        output: folder to write: ``curves.png``, ``curves.csv`` (a row per epoch) and ``training`` (a row per fold, as
            CSV, Markdown and LaTeX).
        overwrite: replace ``output`` if it exists and holds earlier curves.

    Returns:
        The table of trainings, for the screen.

    Raises:
        UserError: a folder holds no training log, a log holds no complete epoch, or ``output`` exists.
    """
    inputs = [folder for given in folders.values() for folder in given]
    check_new_directory(output, "curves", overwrite, inputs)
    trainings = [read_training(name, fold) for name, given in folders.items() for fold in _fold_folders(given)]
    table = _summary(trainings)
    with new_directory(output, "curves", overwrite) as folder:
        rows = [training.epochs.assign(method=training.name, fold=training.fold) for training in trainings]
        pd.concat(rows).reset_index().to_csv(folder / "curves.csv", index=False)
        write_table(table, folder)
        _plot(trainings, folder / "curves.png")
    return as_markdown(table.frame)


def read_training(name: str, folder: Path) -> Training:
    """Read the logs of one fold; where a training was continued, the later log of an epoch counts.

    Args:
        name: what to call the method.
        folder: a ``fold_X`` of nnU-Net's results.

    Raises:
        UserError: there is no log, or no epoch was finished.
    """
    logs = sorted(
        folder.glob("training_log_*.txt"), key=lambda log: [int(part) for part in re.findall(r"\d+", log.name)]
    )
    epochs: dict[int, dict[str, float]] = {}
    parameters = None
    for log in logs:
        text = regular_file(log).read_text(encoding="utf-8", errors="replace")
        try:
            epochs |= dict(_read_epochs(text))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
            raise UserError(f"{log} has a line that nnU-Net does not write: {str(error)[:200]}") from error
        if found := PARAMETERS.search(text):
            parameters = int(re.sub(r"\D", "", found[1])[:18])
    if not epochs:
        raise UserError(f"{folder} holds no training_log_*.txt with a finished epoch, expected nnU-Net's results")
    table = pd.DataFrame.from_dict(epochs, orient="index").rename_axis("epoch").sort_index()
    table["ema_pseudo_dice"] = table["pseudo_dice"].ewm(alpha=1 - SMOOTHING, adjust=False).mean()
    debug = read_json(folder / "debug.json", DebugJson) if (folder / "debug.json").is_file() else {}
    device = debug.get("gpu_name") or debug.get("device") or NO_VALUE
    return Training(name, _fold_name(folder), table, device, parameters)


def _fold_name(folder: Path) -> str:
    """``fold_0``, or ``seed_1/fold_0`` in the results of ``nnUNetv2_dualagg train -seed 1``."""
    seeds = [part for part in folder.absolute().parts if re.fullmatch(r"seed_\d+", part)]
    return "/".join([*seeds[-1:], folder.name])


def _fold_folders(folders: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        folds = sorted(log.parent for log in folder.glob("fold_*/training_log_*.txt"))
        found += dict.fromkeys(folds) or [folder]
    return found


def _read_epochs(text: str) -> list[tuple[int, dict[str, float]]]:
    """The finished epochs of a log, in its order."""
    finished = []
    epoch = -1
    values: dict[str, float] = {}
    for line in text.splitlines():
        if not (match := LINE.match(line)):
            continue
        key, value = match.groups()
        if key == "Epoch":
            epoch, values = _epoch(value), {}
        else:
            values[COLUMNS[key]] = _mean_dice(value) if key == "Pseudo dice" else float(value)
        if len(values) == len(COLUMNS):
            finished.append((epoch, values))
    return finished


def _epoch(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError(f"epoch {text[:50]}")
    return int(text)


def _mean_dice(text: str) -> float:
    """The mean of ``[np.float32(0.9), 0.8, nan]``; NaN, for a class without voxels, does not count."""
    plain = re.sub(r"np\.float\d+\(([^)]*)\)", r"\1", text).replace("nan", "None")
    values = [float(value) for value in ast.literal_eval(plain) if value is not None]
    return float(np.mean(values)) if values else float("nan")


def _summary(trainings: Sequence[Training]) -> Table:
    rows = [
        {
            "method": training.name,
            "fold": training.fold,
            "epochs": str(len(training.epochs)),
            "train loss": f"{training.epochs['train_loss'].iloc[-1]:.4f}",
            "val loss": f"{training.epochs['val_loss'].iloc[-1]:.4f}",
            "pseudo Dice": f"{training.epochs['pseudo_dice'].iloc[-1]:.4f}",
            "best moving average": f"{training.epochs['ema_pseudo_dice'].max():.4f}",
            "hours": f"{training.epochs['seconds'].sum() / 3600:.2f}",
            "s per epoch": f"{training.epochs['seconds'].median():.1f}",
            "device": training.device,
            "parameters": NO_VALUE if training.parameters is None else f"{training.parameters:,}",
        }
        for training in trainings
    ]
    caption = "Last epoch's values; hours are the sum of the epochs' times on the device"
    return Table("training", "Trainings", caption, pd.DataFrame(rows))


@matplotlib.rc_context({"text.parse_math": False})  # names are the user's
def _plot(trainings: Sequence[Training], file: Path) -> None:
    colours = colour_map(dict.fromkeys(training.name for training in trainings), METHODS)
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    loss, dice = figure.subplots(1, 2)
    for training in trainings:
        colour, epochs = colours[training.name], training.epochs
        loss.plot(epochs.index, epochs["train_loss"], color=colour, linestyle="--", linewidth=1)
        loss.plot(epochs.index, epochs["val_loss"], color=colour, linewidth=1)
        dice.plot(epochs.index, epochs["pseudo_dice"], color=colour, linewidth=0.5, alpha=0.5)
        dice.plot(epochs.index, epochs["ema_pseudo_dice"], color=colour, linewidth=1.5)
    loss.set(xlabel="epoch", ylabel="loss", title="training (dashed) and validation")
    dice.set(xlabel="epoch", ylabel="pseudo Dice", title="each epoch (thin) and moving average")
    handles = [matplotlib.lines.Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(file, dpi=150)
