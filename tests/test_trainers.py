import pickle

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from trained_model import DATASET_JSON, plans

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.architectures.attention import DualAttention
from nnunetv2_dualagg.architectures.dcp import DilatedPyramid


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


@pytest.fixture
def make_trainer(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))

    def make(name, **arch_kwargs):
        made = make_plans(**arch_kwargs) | {"continue_training": False}
        return getattr(trainers, name)(made, "3d_fullres", 0, DATASET_JSON, torch.device("cpu"))

    return make


@pytest.mark.parametrize(
    ("name", "epochs", "learning_rate"),
    [
        ("nnUNetTrainerDualAgg", 1000, 1e-2),
        ("nnUNetTrainer_40epochs", 40, 1e-2),
        ("nnUNetTrainerDualAgg_1epoch", 1, 1e-2),
        ("nnUNetTrainerDualAggNoDCP_20epochs", 20, 1e-2),
        ("nnUNetTrainerDualAggDA5_250epochs", 250, 1e-2),
        ("nnUNetTrainerDualAggPaper", 116, 3.3e-3),
        ("nnUNetTrainerDualAggPaperBaseline_3epochs", 3, 3.3e-3),
    ],
)
def test_length_of_training(name, epochs, learning_rate, make_trainer):
    trainer = make_trainer(name)
    assert trainer.num_epochs == epochs
    assert trainer.initial_lr == learning_rate
    assert trainer.my_init_kwargs.keys() == {"plans", "configuration", "fold", "dataset_json", "device"}


def test_trainer_of_another_length_is_one_class_and_survives_pickling():
    trainer = trainers.nnUNetTrainerDualAgg_7epochs
    assert trainer is trainers.nnUNetTrainerDualAgg_7epochs
    assert issubclass(trainer, trainers.nnUNetTrainerDualAgg)
    assert pickle.loads(pickle.dumps(trainer)) is trainer


@pytest.mark.parametrize(
    "name",
    [
        "nnUNetTrainerDualAgg_0epochs",
        "nnUNetTrainerDualAgg_5epoch",
        "nnUNetTrainerDualAgg_epochs",
        "nnUNetTrainerDualAgg_5epochs_5epochs",
        "nnUNetTrainerOfSomebody_5epochs",
        "nnUNetTrainerDA5_5epochs",
    ],
)
def test_names_that_are_no_trainers(name):
    assert not hasattr(trainers, name)


@pytest.mark.parametrize(
    ("name", "attention", "pyramids"),
    [
        ("nnUNetTrainerDualAgg", True, True),
        ("nnUNetTrainerDualAggNoAttention", False, True),
        ("nnUNetTrainerDualAggNoDCP", True, False),
        ("nnUNetTrainerDualAggBaseline", False, False),
        ("nnUNetTrainerDualAggDA5", True, True),
        ("nnUNetTrainerDualAggPaperNoAttention", False, True),
        ("nnUNetTrainerDualAggPaperNoDCP", True, False),
        ("nnUNetTrainerDualAggPaperBaseline", False, False),
    ],
)
def test_ablations(name, attention, pyramids):
    modules = list(build(getattr(trainers, name), make_plans()).modules())
    assert any(isinstance(module, DualAttention) for module in modules) is attention
    assert any(isinstance(module, DilatedPyramid) for module in modules) is pyramids


def test_paper_optimises_with_adam_at_a_constant_rate_and_decays_kernels_only(make_trainer):
    trainer = make_trainer("nnUNetTrainerDualAggPaper")
    trainer.network = torch.nn.Sequential(torch.nn.Conv3d(2, 4, 3), torch.nn.BatchNorm3d(4))
    optimizer, scheduler = trainer.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in trainer.network.named_parameters()} == {
        "0.weight": 2e-6,
        "0.bias": 0,
        "1.weight": 0,
        "1.bias": 0,
    }
    for epoch in (0, 57, 115):
        scheduler.step(epoch)
        assert {group["lr"] for group in optimizer.param_groups} == {3.3e-3}


def test_paper_trains_by_cross_entropy_on_one_output_without_augmentation_or_mirroring(make_trainer):
    trainer = make_trainer("nnUNetTrainerDualAggPaper")
    logits, target = torch.randn(2, 4, 5, 5, 5), torch.randint(0, 4, (2, 1, 5, 5, 5))
    expected = torch.nn.functional.cross_entropy(logits, target[:, 0])
    torch.testing.assert_close(trainer._build_loss()(logits, target), expected)
    *_, patch_size, mirror_axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert (list(patch_size), mirror_axes, trainer.inference_allowed_mirroring_axes) == ([16, 16, 16], None, None)
    transforms = trainer.get_training_transforms(patch_size, (0, 0), None, mirror_axes, False)
    image = torch.randn(2, 16, 16, 16)
    transformed = transforms(image=image.clone(), segmentation=torch.zeros(1, 16, 16, 16))
    assert torch.equal(transformed["image"], image)
