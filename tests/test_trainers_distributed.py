"""nnU-Net's training on two devices, as far as it runs without a GPU: its trainer in two gloo processes on the CPU."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module
from torch.nn.parallel import DistributedDataParallel
from trained_model import DATASET_JSON, plans

from nnunetv2_dualagg.trainers import nnUNetTrainerDualAgg

CPU = torch.device("cpu")
PLAIN_UNET = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


def make_trainer(tmp_path, monkeypatch, batch_dice):
    """nnU-Net's trainer, initialised; in a process group it wraps its network in DistributedDataParallel."""
    for name in ("results", "preprocessed"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path))
    made = plans((16, 16, 16), network_class=PLAIN_UNET) | {"continue_training": False}
    made["configurations"]["3d_fullres"]["batch_dice"] = batch_dice
    data = tmp_path / made["dataset_name"] / made["configurations"]["3d_fullres"]["data_identifier"]
    data.mkdir(parents=True, exist_ok=True)
    (data / "iSeg_001.b2nd").touch()  # nnU-Net recognises the kind of dataset by the files' ending
    trainer = nnUNetTrainerDualAgg(made, "3d_fullres", 0, DATASET_JSON, CPU)
    trainer.device, trainer.grad_scaler = CPU, None  # nnU-Net takes a GPU for granted in a process group
    monkeypatch.setattr(trainer_module, "DDP", lambda network, device_ids: DistributedDataParallel(network))
    torch.manual_seed(0)
    trainer.initialize()
    return trainer


def batch(samples):
    """Samples 0 and 1 have different images and labels; targets are there at each resolution of the outputs."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(2, 2, 16, 16, 16, generator=generator)
    target = (data[:, :1] + data[:, 1:]).clamp(0, 3).round()
    target[1] = target[1].clamp(max=1)  # so that Dice of a sample and Dice of the batch differ
    return {"data": data[samples], "target": [target[samples], target[samples][..., ::2, ::2, ::2]]}


def train(trainer, samples):
    """Two training steps, a step of validation; returns the weights and the log."""
    if trainer.local_rank == 0:  # DistributedDataParallel sends the rule to the others
        network = getattr(trainer.network, "module", trainer.network)
        network.known_background.set_rule(outside=True, inside=False)
    trainer.network.train()
    trainer.lr_scheduler.step(0)
    trainer.on_train_epoch_end([trainer.train_step(batch(samples)) for _ in range(2)])
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        trainer.on_validation_epoch_end([trainer.validation_step(batch(samples))])
    trainer.set_deep_supervision_enabled(False)
    assert trainer.network(batch(samples)["data"]).shape == (len(samples), 4, 16, 16, 16)
    log = {key: trainer.logger.get_value(key, None) for key in ("train_losses", "val_losses", "mean_fg_dice")}
    network = getattr(trainer.network, "module", trainer.network)
    return copy.deepcopy(network.state_dict()), log


def train_one_of_two(rank, tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=rank, world_size=2)
    for batch_dice in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            trainer = make_trainer(tmp_path, patch, batch_dice)
        assert isinstance(trainer.network, DistributedDataParallel)
        assert trainer.batch_size == 1
        torch.save(train(trainer, [rank]), tmp_path / f"{rank}_{batch_dice}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two processes")
    mp.spawn(train_one_of_two, args=(folder,), nprocs=2)
    return folder


@pytest.mark.parametrize("batch_dice", [False, True])
def test_two_processes_train_as_one_with_both_samples(trained_by_two, tmp_path, monkeypatch, batch_dice):
    weights, log = train(make_trainer(tmp_path, monkeypatch, batch_dice), [0, 1])
    for rank in range(2):
        found, found_log = torch.load(trained_by_two / f"{rank}_{batch_dice}.pt", weights_only=False)
        torch.testing.assert_close(found, weights, rtol=1e-3, atol=1e-5)
        assert found["known_background.rule"].tolist() == [1, 0, 0]
        for key, values in log.items():
            assert found_log[key] == pytest.approx(values, rel=1e-4)
