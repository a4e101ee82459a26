"""How many GPU-hours the trainings that are left would take, from the benchmark's step times."""

import re
from pathlib import Path

from nnunetv2_dualagg.evaluation.cases import read_json
from nnunetv2_dualagg.workflow.config import Method
from nnunetv2_dualagg.workflow.experiment import Experiment

# nnUNetTrainer's own figures.
EPOCHS = 1000
ITERATIONS = 250
VALIDATION_ITERATIONS = 50


def estimate(experiment: Experiment) -> str:
    """A table of the trainings that are left and, with a benchmark, of the hours they take.

    An epoch takes 250 training steps and 50 validation batches. Prediction and nnU-Net's validation at the end of a
    training come on top.

    Raises:
        UserError: the benchmark's file is wrong.
    """
    benchmark = experiment.config.benchmark
    measured = None if benchmark is None else read_json(experiment.root / benchmark)
    lines, total = ["Trainings left:"], 0.0
    for method in experiment.config.methods:
        left = [t for t in experiment.trainings() if t[0] == method and not _done(experiment, *t)]
        text = f"  {method.name:<24}{len(left):>5} x {epochs(method)} epochs"
        if measured is not None:
            hours = training_hours(method, measured)
            total += hours * len(left) * method.num_gpus
            text += f" x {hours:.2f} h = {hours * len(left) * method.num_gpus:.1f} GPU-hours"
        lines.append(text)
    if measured is None:
        lines.append("For an estimate of hours, set benchmark in config.yaml.")
    else:
        setting = measured["setting"]
        patch = "x".join(map(str, setting["patch_size"]))
        lines.append(f"Together {total:.1f} GPU-hours on the benchmark's {measured['options']['device']}, if")
        lines.append(
            f"patch and batch are the benchmark's ({patch}, {setting['batch_size']}); validation comes on top."
        )
    return "\n".join(lines)


def epochs(method: Method) -> int:
    """The length of a training: given in config.yaml, or in the trainer's name, or nnU-Net's default."""
    named = re.search(r"_(\d+)epochs?(?:_|$)", method.trainer)
    return method.epochs or (int(named[1]) if named else EPOCHS)


def training_hours(method: Method, measured: dict) -> float:
    """Hours of one training on one GPU.

    Args:
        method: what is trained.
        measured: what ``nnUNetv2_dualagg benchmark`` wrote.
    """
    network = measured["networks"][network_name(method)]
    batch = measured["setting"]["batch_size"]
    epoch = ITERATIONS * network["step_seconds"] + VALIDATION_ITERATIONS * batch * network["patch_seconds"]
    return epochs(method) * epoch / 3600


def network_name(method: Method) -> str:
    """The benchmark's name for the network of a method: that of the same family."""
    if "DualAgg" in method.trainer or "DualAgg" in method.plans:
        return "DualAggUNet"
    return "ResidualEncoderUNet" if "ResEnc" in method.plans else "PlainConvUNet"


def _done(experiment: Experiment, method: Method, seed: int, fold: int) -> bool:
    return (Path(experiment.root) / experiment.trained(method, seed, fold)).is_file()
