"""What has to hold on a GPU. Each check runs on a CPU too where it makes sense there, so that it is known to work.

``scripts/gpu_report.sh`` runs those for CUDA; here they are skipped where there is none.
"""

import json
import math

import numpy as np
import pytest
import torch
from architecture_networks import build
from infant_images import write_infant
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from packed_model import write_complete_model
from planning_data import set_folders
from short_trainer import prepare
from torch.profiler import ProfilerActivity, profile

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.benchmark.measure import peak_bytes
from nnunetv2_dualagg.benchmark.setting import BASELINE, FULL, SETTINGS
from nnunetv2_dualagg.benchmark.setting import build as build_for_benchmark
from nnunetv2_dualagg.benchmark.training import TrainingStep, make_loss
from nnunetv2_dualagg.inference import load_model, segment
from nnunetv2_dualagg.training.nnunet_patches import seed_everything, seeded_nnunet
from nnunetv2_dualagg.utils.ext_trainer import EXT_TRAINER_FOLDER

CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
devices = pytest.mark.parametrize("device", ["cpu", CUDA])
devices_slow_on_cpu = pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), CUDA])
STEPS = {"cpu": 5, "cuda": 500}
DEEP = {"deep_supervision": True}


@pytest.fixture(autouse=True)
def _exact(monkeypatch):
    """Convolutions in single precision on CUDA, and not in TF32, with which nothing could be compared."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)


def batch(device, side=16):
    return torch.randn(2, 2, side, side, side, generator=torch.Generator().manual_seed(0)).to(device)


def gradients(network, x):
    loss = sum(output.float().square().mean() for output in network(x))
    return loss.detach(), torch.autograd.grad(loss, list(network.parameters()))


def difference(found, expected):
    """Norm of the difference of all tensors together, relative to that of the expected ones."""
    squares = [
        ((one.float() - other).square().sum(), other.square().sum()) for one, other in zip(found, expected, strict=True)
    ]
    wrong, all_of_it = map(sum, zip(*squares, strict=True))
    return math.sqrt(float(wrong) / float(all_of_it))


@devices
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_gives_almost_the_gradients_of_single_precision(device, dtype):
    network, x = build(options=DEEP).to(device), batch(device)
    expected_loss, expected = gradients(network, x)
    with torch.autocast(device, dtype=dtype):
        loss, found = gradients(network, x)
    assert all(gradient.isfinite().all() for gradient in found)
    tolerance = {torch.float16: 0.02, torch.bfloat16: 0.15}[dtype]
    assert loss.item() == pytest.approx(expected_loss.item(), rel=tolerance)
    assert difference(found, expected) < tolerance


@pytest.mark.gpu
def test_cuda_gives_the_gradients_of_the_cpu():
    network = build(options=DEEP)
    _, expected = gradients(network, batch("cpu"))
    _, found = gradients(network.to("cuda"), batch("cuda"))
    assert difference([gradient.cpu() for gradient in found], expected) < 1e-4


@devices_slow_on_cpu
def test_compiled_training_steps_are_those_without_compiling(device, monkeypatch):
    """nnU-Net's torch.compile of network and Dice loss; on CUDA in mixed precision with a scaled loss."""
    setting, where = SETTINGS["tiny"].with_sizes(patch_size=(16, 16, 16)), torch.device(device)
    steps = []
    for compiled in (False, True):
        torch.manual_seed(0)
        steps.append(TrainingStep(FULL, setting, where, make_loss(2, compiled), compiled))
    start = [parameter.detach().clone() for parameter in steps[0].network.parameters()]
    for step in steps:
        for _ in range(3):
            step()
    plain, compiled = (
        [p.detach() - s for p, s in zip(step.network.parameters(), start, strict=True)] for step in steps
    )
    assert difference(compiled, plain) < {"cpu": 0.01, "cuda": 0.05}[device]


@devices
def test_channels_last_gives_the_same_outputs(device):
    network, x = build().to(device).eval(), batch(device)
    with torch.no_grad():
        expected = network(x)
        found = network.to(memory_format=torch.channels_last_3d)(x.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@devices
def test_checkpointing_takes_less_memory_for_the_same_gradients(device):
    plain = build(options=DEEP).to(device)
    thrifty = build(options={**DEEP, "checkpointing": True}).to(device)
    thrifty.load_state_dict(plain.state_dict())
    x = batch(device, side=32)
    found, peaks = [], []
    for network in (plain, thrifty):
        found.append(gradients(network, x)[1])
        peaks.append(peak_bytes(lambda network=network: gradients(network, x), torch.device(device)))
    assert difference(found[1], found[0]) < 1e-4
    assert peaks[1] < 0.8 * peaks[0]


@devices
def test_the_planners_estimate_foretells_the_peak(device):
    """As many bytes a value counted as in nnU-Net's default network, by which nnU-Net's limits were measured."""
    sizes = {"cpu": ("small", (32, 32, 32)), "cuda": ("iseg", (96, 128, 192))}
    name, patch = sizes[device]
    setting, where = SETTINGS[name].with_sizes(patch_size=patch, batch_size=2), torch.device(device)
    bytes_a_value = {}
    for network in (BASELINE, FULL):
        step = TrainingStep(network, setting, where, make_loss(len(setting.strides) - 1, False), compiled=False)
        step()  # the first one makes the momentum
        step.optimizer.zero_grad(set_to_none=True)
        with torch.device("meta"):
            counted = build_for_benchmark(network, setting, True).compute_conv_feature_map_size(patch)
        bytes_a_value[network] = peak_bytes(step, where) / counted
    assert bytes_a_value[FULL] == pytest.approx(bytes_a_value[BASELINE], rel=0.2)


@devices
def test_attention_runs_on_a_kernel_without_an_n_by_n_matrix(device):
    network, x = build(features=(16, 32, 64)).to(device), batch(device)
    on_cuda = [ProfilerActivity.CUDA] if device == "cuda" else []
    with (
        profile(activities=[ProfilerActivity.CPU, *on_cuda]) as profiler,
        torch.autocast(device, enabled=bool(on_cuda)),
    ):
        network(x).float().sum().backward()
    names = {event.key for event in profiler.key_averages()}
    chosen = {name.removeprefix("aten::") for name in names if "_scaled_dot_product_" in name}
    if device == "cpu":
        assert "_scaled_dot_product_flash_attention_for_cpu_backward" in chosen
    else:
        assert chosen & {"_scaled_dot_product_flash_attention_backward", "_scaled_dot_product_cudnn_attention_backward"}
    assert not {name for name in chosen if "math" in name}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Five small cases, preprocessed, with the configuration ``3d_tiny``."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("cuda")
        folders = set_folders(root, patch)
        patch.setenv("nnUNet_extTrainer", str(EXT_TRAINER_FOLDER))
        patch.setenv("nnUNet_def_n_proc", "1")
        patch.setenv("nnUNet_compile", "f")
        folders.name = prepare(folders, patch)
        patch.setenv("nnUNet_n_proc_DA", "0")
        yield folders


@pytest.fixture
def trainer_of(dataset, monkeypatch):
    """A function that makes a trainer ready for its first step."""
    monkeypatch.setattr(nnUNetTrainer, "plot_network_architecture", lambda self: None)

    def make(name, device):
        trainer = get_trainer_from_args(dataset.name, "3d_tiny", 0, name, device=torch.device(device))
        trainer.disable_checkpointing = True
        trainer.on_train_start()
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        return trainer

    return make


def losses(trainer, steps):
    return [float(trainer.train_step(next(trainer.dataloader_train))["loss"]) for _ in range(steps)]


@devices_slow_on_cpu
@pytest.mark.parametrize("name", trainers.__all__)
def test_no_trainer_meets_nan(trainer_of, name, device):
    trainer = trainer_of(name, device)
    found = losses(trainer, STEPS[device])
    assert np.isfinite(found).all()
    assert all(value.isfinite().all() for value in trainer.network.state_dict().values() if value.is_floating_point())
    if device == "cuda":
        assert np.mean(found[-50:]) < np.mean(found[:50])


@devices
def test_a_seed_gives_the_same_weights_and_batches_again(trainer_of, device):
    """The bits after a step are the same on a CPU alone: on CUDA cuDNN chooses its algorithms by speed."""
    found = []
    for _ in range(2):
        sequence = np.random.SeedSequence([1, 0])
        seed_everything(sequence)
        with seeded_nnunet(sequence):
            trainer = trainer_of("nnUNetTrainerDualAgg", device)
            initial = [parameter.detach().clone() for parameter in trainer.network.parameters()]
            found.append((initial, next(trainer.dataloader_train)["data"], losses(trainer, 3)))
    (first, data, one), (second, again, other) = found
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(data, again)
    assert other == one if device == "cpu" else other == pytest.approx(one, rel=0.02)


@pytest.mark.gpu
def test_segment_gives_almost_the_labels_of_the_cpu(tmp_path):
    write_complete_model(tmp_path / "model", patch_size=(24, 24, 24))
    plans = json.loads((tmp_path / "model" / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["spacing"] = [4.0, 4.0, 4.0]
    (tmp_path / "model" / "plans.json").write_text(json.dumps(plans))
    images = write_infant(tmp_path / "infant")
    volumes = []
    for device in ("cpu", "cuda"):
        model = load_model(tmp_path / "model", device, progress=False)
        (result,) = segment(images, tmp_path / device, model, progress=False)
        volumes.append(result.volumes)
    assert volumes[1] == pytest.approx(volumes[0], rel=0.02, abs=1)
