import json
import sys

import pytest
import torch
from trained_model import DATASET_JSON, plans, write_model

from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.inference.export_onnx import export_onnx
from nnunetv2_dualagg.utils.errors import UserError

onnxruntime = pytest.importorskip("onnxruntime")

PLAIN_UNET = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


@pytest.fixture(autouse=True)
def _setting(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)


def assert_same_logits(file, network, batch_sizes=(1, 3)):
    session = onnxruntime.InferenceSession(file)
    (image,) = session.get_inputs()
    assert image.name == "image"
    for batch_size in batch_sizes:
        x = torch.randn(batch_size, *image.shape[1:])
        x[:, :, : x.shape[2] // 2] = 0  # the background, which the network may know
        (logits,) = session.run(["logits"], {"image": x.numpy()})
        with torch.inference_mode():
            torch.testing.assert_close(torch.from_numpy(logits), network(x), rtol=1e-4, atol=1e-4)


# 12 x 8 x 8 voxels are pooled to at most 40 keys
@pytest.mark.parametrize(("patch_size", "max_key_tokens"), [((8, 8, 16), 32768), ((12, 8, 8), 40)])
def test_onnx_runtime_agrees_for_every_batch_size(tmp_path, capsys, patch_size, max_key_tokens):
    model_plans = plans(patch_size, features=(8, 16))
    kwargs = model_plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    kwargs.update(max_key_tokens=max_key_tokens, attention_stages=[0])
    (network,) = write_model(tmp_path / "model", model_plans)
    file = tmp_path / "new folder" / "model.onnx"
    assert main(["export_onnx", "-m", str(tmp_path / "model"), "-f", "0", "-o", str(file)]) == 0
    assert f"opset 18, input batch x 2 x {' x '.join(map(str, patch_size))}" in capsys.readouterr().out
    assert_same_logits(file, network)
    assert [f.name for f in file.parent.iterdir()] == ["model.onnx"]  # weights are in the file


def test_several_folds_are_averaged_and_our_trainer_is_found(tmp_path):
    model_plans = plans((8, 8, 8), features=(8, 8), network_class=PLAIN_UNET)
    networks = write_model(tmp_path / "model", model_plans, folds=(0, 1, "all"), trainer="nnUNetTrainerDualAgg")
    exported = export_onnx(tmp_path / "model", tmp_path / "model.onnx", (0, "1"))
    assert exported.input_shape == (2, 8, 8, 8)
    assert exported.difference < 1e-4
    assert_same_logits(exported.file, lambda x: (networks[0](x) + networks[1](x)) / 2)
    half = torch.cat([torch.zeros(1, 2, 4, 8, 8), torch.randn(1, 2, 4, 8, 8)], dim=2)
    (logits,) = onnxruntime.InferenceSession(exported.file).run(["logits"], {"image": half.numpy()})
    assert ((logits.argmax(axis=1) == 0).all(axis=(0, 2, 3)) == [True] * 4 + [False] * 4).all()
    metadata = onnxruntime.InferenceSession(exported.file).get_modelmeta().custom_metadata_map
    metadata = {key: json.loads(value) for key, value in metadata.items()}
    assert metadata["patch_size"] == [8, 8, 8]
    assert metadata["spacing"] == [1, 1, 1]
    assert metadata["labels"] == DATASET_JSON["labels"]
    assert metadata["trainer"] == "nnUNetTrainerDualAgg"


def test_faults_are_named_and_nothing_is_written(tmp_path, monkeypatch):
    model, file = tmp_path / "model", tmp_path / "model.onnx"
    with pytest.raises(UserError, match=r"plans\.json"):
        export_onnx(model, file)
    write_model(model, plans((8, 8, 8)), trainer="nnUNetTrainerElsewhere")
    with pytest.raises(UserError, match=r"fold_3.checkpoint_best\.pth"):
        export_onnx(model, file, (0, 3), "checkpoint_best.pth")
    with pytest.raises(UserError, match="nnUNetTrainerElsewhere"):
        export_onnx(model, file, (0,))
    monkeypatch.setattr("nnunetv2_dualagg.inference.export_onnx.export_network", lambda *args: None)
    monkeypatch.setattr("nnunetv2_dualagg.inference.export_onnx._difference", lambda *args: float("nan"))
    write_model(tmp_path / "other", plans((8, 8, 8), features=(8, 8)))
    with pytest.raises(UserError, match="differ from PyTorch's by nan"):
        export_onnx(tmp_path / "other", file, (0,))
    assert not file.exists()
    file.touch()
    with pytest.raises(UserError, match="exists already"):
        export_onnx(tmp_path / "other", file, (0,))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r'pip install "nnunetv2-dualagg\[onnx\]"'):
        export_onnx(tmp_path / "other", file, (0,), overwrite=True)
