"""A trained model's folder as nnU-Net leaves it, with random weights."""

import json

import torch
from architecture_networks import randomise
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunetv2_dualagg.architectures.network_options import network_options
from nnunetv2_dualagg.utils.layers import DUALAGG_UNET

DATASET_JSON = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "CSF": 1, "GM": 2, "WM": 3},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def plans(patch_size, features=(8, 16, 32), network_class=DUALAGG_UNET):
    """A plans.json with the one configuration 3d_fullres."""
    n = len(features)
    return {
        "dataset_name": "Dataset001_Test",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "NibabelIO",
        "label_manager": "LabelManager",
        "experiment_planner_used": "ExperimentPlanner",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {},
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(patch_size),
                "spacing": [1.0, 1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"] * 2,
                "use_mask_for_norm": [True, True],
                "batch_dice": False,
                "architecture": {
                    "network_class_name": network_class,
                    "arch_kwargs": {
                        "n_stages": n,
                        "features_per_stage": list(features),
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[3, 3, 3]] * n,
                        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (n - 1),
                        "n_conv_per_stage": [2] * n,
                        "n_conv_per_stage_decoder": [2] * (n - 1),
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def build_network(plans):
    """The DualAggUNet of the plans' configuration with random weights and the whole rule, in eval mode."""
    configuration = plans["configurations"]["3d_fullres"]
    architecture = configuration["architecture"]
    kwargs = architecture["arch_kwargs"]
    if architecture["network_class_name"] != DUALAGG_UNET:  # what our trainers add to the plans of other U-Nets
        kwargs = network_options(kwargs, configuration["use_mask_for_norm"]) | kwargs
    network = get_network_from_plans(
        DUALAGG_UNET, kwargs, architecture["_kw_requires_import"], 2, 4, deep_supervision=False
    )
    randomise(network)
    if network.known_background is not None:
        network.known_background.set_rule(outside=True, inside=True)
    return network.eval()


def write_model(folder, plans, folds=(0,), trainer="nnUNetTrainer"):
    """Write the folder; returns the network of each fold."""
    networks = [build_network(plans) for _ in folds]
    for fold, network in zip(folds, networks, strict=True):
        (folder / f"fold_{fold}").mkdir(parents=True)
        checkpoint = {
            "trainer_name": trainer,
            "init_args": {"configuration": "3d_fullres"},
            "inference_allowed_mirroring_axes": (0, 1, 2),
            "network_weights": network.state_dict(),
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    return networks
