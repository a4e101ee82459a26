"""The model that segments: a file of ``pack_model``, a model folder of nnU-Net, or the one that is installed."""

import contextlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray

from nnunetv2_dualagg.inference.bundle import INSTALLED, read_bundle
from nnunetv2_dualagg.inference.bundle_schema import ORIENTATION, one_line
from nnunetv2_dualagg.inference.packing import ISEG_ORIENTATION
from nnunetv2_dualagg.inference.trained_folder import read_trained
from nnunetv2_dualagg.inference.windows import WindowPredictor
from nnunetv2_dualagg.utils.errors import UserError, explained
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER, VARIABLE


@dataclass(frozen=True)
class Model:
    """A model that is ready to predict.

    Attributes:
        file: the file or folder.
        predictor: nnU-Net's predictor, with the weights of all folds.
        orientation: axis codes of the images that it was trained on.
        record: what to note of it beside a segmentation.
        description: what its file says of it, for people.
    """

    file: Path
    predictor: WindowPredictor = field(repr=False)
    orientation: str
    record: dict[str, Any]
    description: str = ""

    @property
    def channels(self) -> list[str]:
        """Names of the images that it wants, in order."""
        names = self.predictor.dataset_json["channel_names"]
        return [names[key] for key in sorted(names, key=int)]

    @property
    def labels(self) -> dict[str, int]:
        """Names of the tissues and their values, without the background and what was ignored in training."""
        labels = self.predictor.dataset_json["labels"]
        return {name: int(value) for name, value in labels.items() if value != 0 and name != "ignore"}

    @property
    def intensities(self) -> dict[str, dict[str, float]]:
        """Statistics of the training images' foreground, by channel number."""
        return self.predictor.plans_manager.plans.get("foreground_intensity_properties_per_channel") or {}

    def predict(self, images: NDArray[np.float32], spacing: Sequence[float]) -> NDArray[np.uint8]:
        """Segment one infant as nnU-Net does.

        Args:
            images: (C, X, Y, Z) with the model's orientation, 0 outside the brain.
            spacing: size of a voxel along X, Y, Z in mm.

        Returns:
            (X, Y, Z) labels.
        """
        predictor = self.predictor
        plans, configuration = predictor.plans_manager, predictor.configuration_manager
        data, mask, properties = configuration.preprocessor_class(verbose=False).run_case_npy(
            images.transpose(0, 3, 2, 1),
            None,
            {"spacing": [float(s) for s in spacing[::-1]]},
            plans,
            configuration,
            predictor.dataset_json,
        )
        data[:, mask[0] < 0] = 0  # resampling leaves waves where there was nothing
        logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).cpu()
        labels = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, plans, configuration, predictor.label_manager, properties
        )
        return np.ascontiguousarray(labels.transpose(2, 1, 0)).astype(np.uint8)


def load_model(
    path: Path | str | None = None,
    device: str | None = "cpu",
    *,
    folds: Sequence[int | str] | None = None,
    checkpoint_name: str = "checkpoint_final.pth",
    step_size: float = 0.5,
    mirroring: bool = True,
    progress: bool = True,
) -> Model:
    """Load a model for many predictions.

    Args:
        path: a file of ``pack_model``, or a folder that holds fold_X; None for the model
            that comes with the package.
        device: cpu, cuda or mps; None for cuda if there is a GPU, otherwise cpu.
        folds: of a folder, all that are there by default; a file is used as a whole.
        checkpoint_name: of a folder.
        step_size: step of the windows as a fraction of their size, 0 to 1.
        mirroring: average over mirrored windows, if the model allows it.
        progress: show a progress bar.

    Raises:
        UserError: there is no such model, or it is one that cannot segment single images.
    """
    if not 0 < step_size <= 1:
        raise UserError(f"the step size is {step_size}; expected a fraction of the window, above 0 and at most 1")
    path = INSTALLED if path is None else Path(path)
    predictor = WindowPredictor(_device(device), step_size, mirroring, progress)
    if path.is_dir():
        return _from_folder(path, predictor, folds, checkpoint_name)
    if not path.is_file():
        raise UserError(f"{path} does not exist; -m expects a file of pack_model or a folder of a trained model")
    if path.suffix == ".pth":
        raise UserError(f"{path} is a checkpoint; give the model's folder, which holds plans.json and the fold folders")
    bundle = read_bundle(path)
    content = bundle.content
    plans = PlansManager(content["plans"])
    predictor.manual_initialization(
        bundle.network,
        plans,
        plans.get_configuration(content["configuration"]),
        bundle.weights,
        content["dataset"],
        content["trainer"],
        content["mirroring_axes"] and tuple(content["mirroring_axes"]),
    )
    record = {key: content[key] for key in ("trainer", "configuration", "folds", "versions", "sha256")}
    record = {"file": path.name, **record}
    return _checked(Model(path, predictor, content["orientation"], record, content.get("description", "")))


def _device(name: str | None) -> torch.device:
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name not in available:
        raise UserError(f"the device is {name}; expected {', '.join(available)}")
    if not available[name]:
        raise UserError(f"the device {name} is not available here; give -device cpu")
    return torch.device(name)


def _from_folder(
    folder: Path, predictor: WindowPredictor, folds: Sequence[int | str] | None, checkpoint_name: str
) -> Model:
    missing = [name for name in ("plans.json", "dataset.json") if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} is not a trained model of nnU-Net: {missing[0]} is missing")
    there = sorted(file.parent.name.removeprefix("fold_") for file in folder.glob(f"fold_*/{checkpoint_name}"))
    chosen = [str(fold) for fold in folds] if folds else [fold for fold in there if fold != "all"] or there
    if not chosen or not set(chosen) <= set(there):
        raise UserError(
            f"{folder} has the folds {', '.join(there) or 'none'} with {checkpoint_name}; "
            f"expected {', '.join(chosen) or 'at least one'}"
        )
    read_trained(folder, [folder / f"fold_{fold}" / checkpoint_name for fold in chosen])
    folders = [place for place in (os.environ.get(VARIABLE), str(EXT_TRAINER_FOLDER)) if place]
    os.environ[VARIABLE] = os.pathsep.join(folders)
    use = tuple(fold if fold == "all" else int(fold) for fold in chosen)
    where_it_looks = contextlib.redirect_stdout(io.StringIO())  # for the trainer
    with explained(f"{folder}: nnU-Net cannot load this model"), where_it_looks:
        predictor.initialize_from_trained_model_folder(str(folder), use, checkpoint_name)
    orientation = predictor.dataset_json.get("orientation", ISEG_ORIENTATION)
    record = {"trainer": predictor.trainer_name, "folds": list(use), "checkpoint": checkpoint_name}
    return _checked(Model(folder, predictor, orientation, {"file": str(folder), **record}))


def _checked(model: Model) -> Model:
    if model.predictor.configuration_manager.previous_stage_name is not None:
        raise UserError(f"{model.file} is the second stage of a cascade; segment needs a model of a single stage")
    if model.predictor.label_manager.has_regions:
        raise UserError(f"{model.file} predicts regions; segment needs a model with one label per tissue")
    if max(model.labels.values(), default=0) > np.iinfo(np.uint8).max:
        raise UserError(f"{model.file} has labels above 255; segment writes labels of one byte")
    if not isinstance(model.orientation, str) or not re.fullmatch(ORIENTATION, model.orientation):
        found = one_line(repr(model.orientation))
        raise UserError(f"{model.file} is for images of the orientation {found}; expected axis codes such as LAS")
    return model
