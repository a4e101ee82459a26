"""Small networks, layers and comparisons that the tests of the architectures share."""

import torch
from torch import nn

from nnunetv2_dualagg.architectures import DualAggUNet
from nnunetv2_dualagg.architectures.layers import LayerFactory

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def layers(dim=3):
    """The layers of nnU-Net's plans."""
    return LayerFactory(
        CONV[dim],
        conv_bias=True,
        norm_op=NORM[dim],
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def arch_kwargs(dim=3, features=(8, 16, 32), kernel=3, strides=None, n_conv=2):
    """The arch_kwargs of a PlainConvUNet in nnU-Net's plans, with its classes imported."""
    n = len(features)
    return {
        "n_stages": n,
        "features_per_stage": list(features),
        "conv_op": CONV[dim],
        "kernel_sizes": [[kernel] * dim] * n if isinstance(kernel, int) else kernel,
        "strides": strides or [[1] * dim] + [[2] * dim] * (n - 1),
        "n_conv_per_stage": [n_conv] * n,
        "n_conv_per_stage_decoder": [n_conv] * (n - 1),
        "conv_bias": True,
        "norm_op": NORM[dim],
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }


def build(modalities=2, classes=4, randomised=True, options=None, **plans):
    """A DualAggUNet; ``plans`` go to :func:`arch_kwargs`, ``options`` to the network itself."""
    network = DualAggUNet(modalities, num_classes=classes, **arch_kwargs(**plans), **(options or {}))
    if randomised:
        randomise(network)
    return network


def randomise(module):
    """Norms and attention scales start at 1 and 0, which would hide what they multiply."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3 + (1 if name.endswith("weight") else 0))


def assert_equal_to(reference, output, tolerance=1e-5):
    """Values agree to ``tolerance``, absolutely for values below 1 and relatively above."""
    torch.testing.assert_close(output.double(), reference, rtol=tolerance, atol=tolerance)
