"""How many GPU-hours the trainings that are left would take, from the benchmark's step times."""

from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.forms import Benchmark
from nnunetv2_dualagg.utils.json import read_json
from nnunetv2_dualagg.utils.trainer_names import epochs_in_name
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
    measured = _read_benchmark(experiment)
    unit = "hours" if measured is None or measured["options"]["device"] != "cuda" else "GPU-hours"
    lines, total = ["Trainings left:"], 0.0
    for method in experiment.config.methods:
        left = [t for t in experiment.trainings() if t[0] == method and not _done(experiment, *t)]
        text = f"  {method.name:<24}{len(left):>5} x {epochs(method)} epochs"
        if measured is not None:
            each = training_hours(method, measured) * method.num_gpus
            total += each * len(left)
            text += f", {each:.2f} {unit} each: {each * len(left):.1f}"
        lines.append(text)
    if measured is None:
        return "\n".join([*lines, "For an estimate of hours, set benchmark in config.yaml."])
    setting = measured["setting"]
    patch = "x".join(map(str, setting["patch_size"]))
    lines.append(
        f"Together {total:.1f} {unit} with the benchmark's patches and batches ({patch}, {setting['batch_size']});"
    )
    lines.append("the validation at the end of each training and the predictions come on top.")
    return "\n".join(lines)


def _read_benchmark(experiment: Experiment) -> dict[str, Any] | None:
    if experiment.config.benchmark is None:
        return None
    file = experiment.root / experiment.config.benchmark
    content = read_json(file, Benchmark)
    missing = {network_name(method) for method in experiment.config.methods} - content["networks"].keys()
    if missing:
        raise UserError(f"{file} has no network {min(missing)}; expected a file of nnUNetv2_dualagg benchmark")
    return content


def epochs(method: Method) -> int:
    """The length of a training: given in config.yaml, or in the trainer's name, or nnU-Net's default."""
    return method.epochs or epochs_in_name(method.trainer) or EPOCHS


def training_hours(method: Method, measured: dict[str, Any]) -> float:
    """Hours of one training on one device.

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
