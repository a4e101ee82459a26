"""A tiny model that can predict, as a folder and as one file; and the raw parts of such a file."""

import json

import torch
from architecture_networks import randomise
from trained_model import DATASET_JSON, plans, write_model

from nnunetv2_dualagg.inference.bundle import build_network
from nnunetv2_dualagg.planning.networks import builder_of

RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
PLAIN_UNET = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


def complete_plans(patch_size=(16, 16, 16), **kwargs):
    """Plans with all that preprocessing and export need."""
    content = plans(patch_size, **kwargs)
    configuration = content["configurations"]["3d_fullres"]
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        configuration[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        configuration[f"resampling_fn_{what}_kwargs"] = {**RESAMPLING, "order": order, "is_seg": what == "seg"}
    intensities = {"mean": 500.0, "median": 510.0, "std": 120.0, "percentile_00_5": 200.0, "percentile_99_5": 700.0}
    content["foreground_intensity_properties_per_channel"] = {"0": intensities, "1": intensities}
    return content


def write_complete_model(folder, folds=(0,), trainer="nnUNetTrainerDualAgg", **kwargs):
    """A model folder of a trainer, with random weights; returns the network of each fold."""
    kwargs.setdefault("features", (8, 8, 8))
    content = complete_plans(**kwargs)
    write_model(folder, content, folds, trainer)
    known = builder_of(trainer)
    networks = []
    for fold in folds if known else ():
        network = build_network({"plans": content, "configuration": "3d_fullres", "dataset": DATASET_JSON}, known)
        randomise(network)
        file = folder / f"fold_{fold}" / "checkpoint_final.pth"
        checkpoint = torch.load(file, weights_only=False)
        torch.save({**checkpoint, "network_weights": network.state_dict()}, file)
        networks.append(network.eval())
    return networks


def split(data):
    """A safetensors file's header and what is behind it."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def with_content(data, change):
    """The file with its description changed by a function that returns the new one or changes it in place."""
    header, body = split(data)
    content = json.loads(header["__metadata__"]["model"])
    changed = change(content)
    header["__metadata__"]["model"] = json.dumps(content if changed is None else changed)
    return join(header, body)
