import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from trained_model import DATASET_JSON, plans

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.architectures import DualAggUNet


def class_path(network):
    return f"{network.__module__}.{network.__qualname__}"


def make_plans(network=PlainConvUNet, **arch_kwargs):
    made = plans((16, 16, 16), network_class=class_path(network))
    architecture = made["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    architecture.update(arch_kwargs)
    if network is ResidualEncoderUNet:
        del architecture["n_conv_per_stage"]
        architecture["n_blocks_per_stage"] = [1, 3, 4]
    return made


def build(trainer, made, deep_supervision=True):
    manager = PlansManager(made)
    return trainer.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 2, 4, deep_supervision)


@pytest.mark.parametrize("network", [PlainConvUNet, ResidualEncoderUNet])
def test_the_network_comes_from_the_plans_of_any_unet(network):
    built = build(trainers.nnUNetTrainerDualAgg, make_plans(network))
    assert isinstance(built, DualAggUNet)
    outputs = built(torch.randn(1, 2, 16, 16, 16))
    assert [tuple(output.shape) for output in outputs] == [(1, 4, 16, 16, 16), (1, 4, 8, 8, 8)]


def test_options_of_the_network_may_stand_in_the_plans():
    built = build(trainers.nnUNetTrainerDualAgg, make_plans(DualAggUNet, attention=False))
    assert not [name for name, _ in built.named_parameters() if "attention" in name]


def test_plans_of_another_kind_of_network_are_refused():
    made = make_plans()
    architecture = made["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.primus.Primus"
    with pytest.raises(ValueError, match=r"plans of a U-Net .* but the plans 'nnUNetPlans' are for .*Primus"):
        build(trainers.nnUNetTrainerDualAgg, made)


@pytest.mark.parametrize(
    ("name", "epochs"),
    [
        ("nnUNetTrainerDualAgg", 1000),
        ("nnUNetTrainerDualAgg_1epoch", 1),
        ("nnUNetTrainerDualAgg_5epochs", 5),
        ("nnUNetTrainerDualAgg_50epochs", 50),
        ("nnUNetTrainerDualAgg_250epochs", 250),
    ],
)
def test_length_of_training(name, epochs, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    made = make_plans() | {"continue_training": False}
    trainer = getattr(trainers, name)(made, "3d_fullres", 0, DATASET_JSON, torch.device("cpu"))
    assert trainer.num_epochs == epochs
    assert trainer.initial_lr == 1e-2
