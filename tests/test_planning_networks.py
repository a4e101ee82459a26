"""Models are read without trainers; they have to get the networks that the trainers train."""

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from packed_model import complete_plans

from nnunetv2_dualagg import trainers
from nnunetv2_dualagg.planning.networks import builder_of


def of(build):
    manager = PlansManager(complete_plans())
    torch.manual_seed(0)
    return build(manager, manager.get_configuration("3d_fullres"), 2, 4, False)


@pytest.mark.parametrize("name", [*trainers.__all__, "nnUNetTrainer", "nnUNetTrainerDualAggNoDCP_20epochs"])
def test_each_trainer_has_the_network_that_it_trains(name):
    trainer = nnUNetTrainer if name == "nnUNetTrainer" else getattr(trainers, name)
    build = builder_of(name)
    assert build is not None
    expected, found = of(trainer.build_network_architecture), of(build)
    assert type(found) is type(expected)
    assert str(found) == str(expected)
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=0, atol=0)  # options included


@pytest.mark.parametrize("name", ["nnUNetTrainerOfSomebody", "", "os", "nnUNetTrainer_", "nnUNetTrainer_0epochs"])
def test_other_names_are_unknown(name):
    assert builder_of(name) is None
