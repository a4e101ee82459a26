"""Weights for ``-pretrained_weights``: those that nnU-Net loads are accepted, others refused with a sentence."""

import sys
from pathlib import Path

import pytest
import torch
from architecture_networks import build
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from nnunetv2_dualagg.trainers.pretrained import check_pretrained_weights, pretrained_weights_option
from nnunetv2_dualagg.utils.errors import UserError

FEATURES = (8, 16, 16)


def write_checkpoint(file, network):
    torch.save({"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainerDualAgg"}, file)
    return file


def test_weights_that_nnunet_loads_are_accepted(tmp_path):
    file = write_checkpoint(tmp_path / "checkpoint_final.pth", build())
    for network in (build(), torch.compile(build(), backend="eager"), build(classes=3)):
        check_pretrained_weights(network, file)
        load_pretrained_weights(network, file)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            {"modalities": 1, "features": (8, 16, 16)},
            r"is for images with 1 input channel\(s\), but this dataset has 2; ",
        ),
        ({"features": (8, 8, 8)}, r"has encoder\.\S+ of shape \(8, .*\), but this network \(16, .*; .*same plans"),
        (
            {"options": {"attention": False}, "features": (8, 16, 16)},
            r"weights of another network, trained by nnUNetTrainerDualAgg: \d+ of the",
        ),
    ],
)
def test_weights_that_nnunet_cannot_load_are_refused(tmp_path, other, sentence):
    file = write_checkpoint(tmp_path / "checkpoint_final.pth", build(**{"features": FEATURES, **other}))
    network = build(features=FEATURES)
    with pytest.raises(AssertionError):
        load_pretrained_weights(network, file)
    with pytest.raises(UserError, match=sentence) as refusal:
        check_pretrained_weights(network, file)
    assert str(file) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("has", "words"), [(True, "with the foreground channel"), (False, "without the foreground")])
def test_weights_with_and_without_the_foreground_channel_are_told_apart(tmp_path, has, words):
    old, new = (build(options={"foreground_channel": on}) for on in (has, not has))
    file = write_checkpoint(tmp_path / "checkpoint_final.pth", old)
    with pytest.raises(UserError, match=f"was trained {words}"):
        check_pretrained_weights(new, file)
    check_pretrained_weights(build(classes=3, options={"foreground_channel": has}), file)


def test_weights_of_nnunets_network_are_weights_of_another_network(tmp_path):
    weights = {"encoder.stages.0.0.convs.0.conv.weight": torch.zeros(8, 2, 3, 3, 3)}
    torch.save({"network_weights": weights, "trainer_name": "nnUNetTrainer"}, tmp_path / "checkpoint_final.pth")
    with pytest.raises(UserError, match="weights of another network, trained by nnUNetTrainer: "):
        check_pretrained_weights(build(options={"foreground_channel": True}), tmp_path / "checkpoint_final.pth")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    torch.save(build().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"weights\.pth has no network_weights; expected a checkpoint of nnU-Net"):
        check_pretrained_weights(build(), tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("219 3d_fullres 0 -tr T -pretrained_weights a/b.pth --npz", Path("a/b.pth")),
        ("219 3d_fullres 0 -p nnUNetPlans -num_gpus 2 --c", None),
        ("-q tests", None),
    ],
)
def test_the_file_is_read_from_the_command_line(monkeypatch, line, file):
    monkeypatch.setattr(sys, "argv", ["nnUNetv2_train", *line.split()])
    assert pretrained_weights_option() == file
