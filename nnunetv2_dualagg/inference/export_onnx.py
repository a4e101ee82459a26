"""A trained model of nnU-Net as an ONNX file: the network alone, from a normalised patch to logits."""

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from torch import Tensor, nn

from nnunetv2_dualagg.inference.trained_folder import read_trained
from nnunetv2_dualagg.utils.errors import UserError, explained, needs_extra
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER, VARIABLE
from nnunetv2_dualagg.utils.files import new_file

OPSET = 18  # the lowest that torch's exporter writes without converting; ONNX Runtime 1.14 and later read it
TOLERANCE = 1e-4


@dataclass(frozen=True)
class ExportedModel:
    """What :func:`export_onnx` wrote.

    Attributes:
        file: the ONNX file.
        input_shape: channels and patch size; the batch size is free.
        difference: the largest difference between the logits of ONNX Runtime and of PyTorch on a random patch,
            as a fraction of the largest logit.
    """

    file: Path
    input_shape: tuple[int, ...]
    difference: float


class MeanOfLogits(nn.Module):
    """The networks of several folds as one, averaged as nnU-Net averages them."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *spatial) -> (B, classes, *spatial)."""
        return torch.stack([network(x) for network in self.networks]).mean(dim=0)


def export_onnx(
    model_folder: Path | str,
    output: Path | str,
    folds: Sequence[int | str] = (0, 1, 2, 3, 4),
    checkpoint_name: str = "checkpoint_final.pth",
    overwrite: bool = False,
) -> ExportedModel:
    """Export a trained model and check the file with ONNX Runtime.

    The input "image" (batch, channels, *patch size) is what nnU-Net's preprocessing yields: resampled and normalised.
    The output "logits" (batch, classes, *patch size) comes before softmax or sigmoid. The patch size is fixed to that
    of the plans, the batch size is free. What preprocessing needs (spacing, channels, normalisation, labels) is
    in the file's metadata as JSON. Sliding window and mirroring stay with the caller.

    Args:
        model_folder: folder of a trained model: plans.json, dataset.json and fold_X.
        output: the file to write, usually .onnx.
        folds: folds to export, numbers or "all"; the logits of several are averaged, as nnU-Net does.
        checkpoint_name: file in fold_X.
        overwrite: replace an existing file.

    Raises:
        UserError: a package of the extra "onnx", a file or the trainer is missing, or ONNX Runtime disagrees.
    """
    model_folder, output = Path(model_folder), Path(output)
    inputs = [model_folder / "plans.json", *(model_folder / f"fold_{fold}" / checkpoint_name for fold in folds)]
    with new_file(output, overwrite, inputs) as part:
        with explained(f"{model_folder} cannot be exported"):  # nnU-Net's and PyTorch's exceptions
            predictor = _load(model_folder, folds, checkpoint_name)
            _check_packages()
            networks = [_with_weights(predictor.network, weights) for weights in predictor.list_of_parameters]
            network = networks[0] if len(networks) == 1 else MeanOfLogits(networks)
            input_shape = (_number_of_channels(predictor), *map(int, predictor.configuration_manager.patch_size))
            export_network(network.eval(), input_shape, part, _metadata(predictor, folds))
            difference = _difference(network, input_shape, part)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{model_folder}: ONNX Runtime's logits differ from PyTorch's by {difference:.1e} of the largest one, "
                f"expected at most {TOLERANCE:.0e}"
            )
    return ExportedModel(output, input_shape, difference)


def export_network(network: nn.Module, input_shape: Sequence[int], file: Path, metadata: dict[str, str]) -> None:
    """Write one network in eval mode with a fixed patch size.

    The position attention pools its keys by factors that follow from the patch size, so that they are constants
    of the graph.

    Args:
        network: takes (batch, *input_shape).
        input_shape: channels and patch size.
        file: the file to write.
        metadata: keys and values to keep in it.
    """
    example = torch.zeros(2, *input_shape)  # the exporter would take a batch size of 1 for a constant
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    program.model.metadata_props.update(metadata)
    program.save(file, external_data=False)


def _check_packages() -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise needs_extra("the export", "onnx, onnxscript and onnxruntime", "onnx") from error


def _load(model_folder: Path, folds: Sequence[int | str], checkpoint_name: str) -> nnUNetPredictor:
    needed = [model_folder / name for name in ("plans.json", "dataset.json")]
    needed += [model_folder / f"fold_{fold}" / checkpoint_name for fold in folds]
    missing = [str(file) for file in needed if not file.is_file()]
    if missing:
        raise UserError(f"{model_folder} is not a trained model with the requested folds: {', '.join(missing)} missing")
    read_trained(model_folder, [model_folder / f"fold_{fold}" / checkpoint_name for fold in folds])
    folders = [folder for folder in (os.environ.get(VARIABLE), str(EXT_TRAINER_FOLDER)) if folder]
    os.environ[VARIABLE] = os.pathsep.join(folders)  # for models that were trained with -tr nnUNetTrainerDualAgg
    predictor = nnUNetPredictor(perform_everything_on_device=False, device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(model_folder), tuple(folds), checkpoint_name)
    return predictor


def _with_weights(network: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    network = copy.deepcopy(network)
    network.load_state_dict(weights)
    return network


def _number_of_channels(predictor: nnUNetPredictor) -> int:
    """Modalities, and in a cascade also the labels of the previous stage."""
    return determine_num_input_channels(
        predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json
    )


def _metadata(predictor: nnUNetPredictor, folds: Sequence[int | str]) -> dict[str, str]:
    configuration, plans = predictor.configuration_manager, predictor.plans_manager
    values = {
        "trainer": predictor.trainer_name,
        "plans": plans.plans_name,
        "folds": list(folds),
        "patch_size": configuration.patch_size,
        "spacing": configuration.spacing,
        "transpose_forward": plans.transpose_forward,
        "channel_names": predictor.dataset_json["channel_names"],
        "normalization_schemes": configuration.normalization_schemes,
        "intensity_properties": plans.foreground_intensity_properties_per_channel,
        "labels": predictor.dataset_json["labels"],
        "inference_allowed_mirroring_axes": predictor.allowed_mirroring_axes,
    }
    return {key: json.dumps(value, default=lambda array: np.asarray(array).tolist()) for key, value in values.items()}


def _difference(network: nn.Module, input_shape: Sequence[int], file: Path) -> float:
    from onnxruntime import InferenceSession

    patch = torch.randn(1, *input_shape)
    with torch.inference_mode():
        expected = network(patch)
    (logits,) = InferenceSession(file).run(None, {"image": patch.numpy()})
    return float((torch.from_numpy(logits) - expected).abs().max() / expected.abs().max())
