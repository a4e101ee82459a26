"""Run nnU-Net's console scripts in this process: the same entry points, without the seconds that each import takes."""

import functools
import json
import sys
from importlib.metadata import entry_points
from pathlib import Path
from unittest import mock

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def run_command(line, *more):
    """The words of a line, and ``more`` behind them, as typed in a shell; an exit code other than 0 is an error."""
    name, *arguments = [*line.split(), *more]
    (script,) = entry_points(group="console_scripts", name=name)
    with mock.patch.object(sys, "argv", [name, *map(str, arguments)]):
        code = script.load()()
    assert not code, f"{name} exits with {code}"


def shorten_epochs(monkeypatch, iterations):
    """Epochs of fewer iterations than nnU-Net's 250, for every trainer."""
    stock = nnUNetTrainer.__init__

    @functools.wraps(stock)  # nnU-Net reads the names of the arguments
    def init(self, *args, **kwargs):
        stock(self, *args, **kwargs)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = iterations, 2

    monkeypatch.setattr(nnUNetTrainer, "__init__", init)


def add_tiny_configuration(plans_file: Path, name="3d_tiny", inherits_from="3d_fullres"):
    """A configuration that trains an epoch in seconds: 16^3 patches, three stages (nnU-Net's loss needs that many)."""
    plans = json.loads(plans_file.read_text())
    parent = plans["configurations"][inherits_from]
    architecture = json.loads(json.dumps(parent["architecture"]))
    dimension = len(parent["patch_size"])
    architecture["arch_kwargs"] |= {
        "n_stages": 3,
        "features_per_stage": [8, 16, 16],
        "kernel_sizes": [[3] * dimension] * 3,
        "strides": [[1] * dimension, [2] * dimension, [2] * dimension],
        "n_conv_per_stage": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
    }
    plans["configurations"][name] = {
        "inherits_from": inherits_from,
        "patch_size": [16] * dimension,
        "batch_size": 2,
        "architecture": architecture,
    }
    plans_file.write_text(json.dumps(plans))
