"""Plans and checkpoints of version 0.1.0 still do what they did; ``tests/data/model_0.1.0`` was written by it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.architectures.dualagg_unet import DualAggUNet
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER

MODEL = Path(__file__).parent / "data" / "model_0.1.0"


def test_nnunet_loads_the_model_by_its_stored_names_and_it_gives_the_same_logits(monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(EXT_TRAINER_FOLDER))
    predictor = nnUNetPredictor(perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(MODEL), use_folds=(0,))
    assert predictor.trainer_name == "nnUNetTrainerDualAgg_1epoch"
    assert isinstance(predictor.network, DualAggUNet)
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    predictor.network.eval()
    patch = np.random.default_rng(0).normal(size=(1, 2, 16, 16, 16)).astype(np.float32)
    with torch.inference_mode():
        logits = predictor.network(torch.from_numpy(patch)).numpy()
    expected = np.load(MODEL / "expected.npz")["logits"]
    np.testing.assert_allclose(logits[:, :, ::4, ::4, ::4], expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    "name",
    [
        "nnUNetTrainerDualAgg",
        "nnUNetTrainerDualAggBaseline",
        "nnUNetTrainerDualAggDA5",
        "nnUNetTrainerDualAggNoAttention",
        "nnUNetTrainerDualAggNoDCP",
        "nnUNetTrainerDualAggPaper",
        "nnUNetTrainerDualAggPaperBaseline",
        "nnUNetTrainerDualAggPaperNoAttention",
        "nnUNetTrainerDualAggPaperNoDCP",
        "nnUNetTrainerDualAggSite",
        "nnUNetTrainerDualAgg_20epochs",
        "nnUNetTrainerSite",
    ],
)
def test_trainers_keep_their_names(name):
    assert getattr(trainers, name).__name__ == name
