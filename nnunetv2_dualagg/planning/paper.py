"""The paper's setting as a configuration of nnU-Net's plans."""

from collections.abc import Sequence
from typing import Any

PAPER_CONFIGURATION = "3d_paper"


def paper_configuration(network_class_name: str) -> dict[str, Any]:
    """``3d_paper``: patches of 32x32x32 voxels, batches of 5, on the data of ``3d_fullres``.

    The paper says no more about the network than patch, batch, kernels and dilations. The rest is that of the code
    it builds on (Wang et al., "Non-local U-Nets for Biomedical Image Segmentation", AAAI 2020): three stages of 32,
    64 and 128 channels, one residual block per stage, added skip connections, batch normalisation and ReLU6, attention
    on the way up to 16x16x16. All options are spelt out, to be read and changed in the plans file.

    Args:
        network_class_name: dotted path of the network.
    """
    return {
        "inherits_from": "3d_fullres",
        "batch_size": 5,
        "patch_size": [32, 32, 32],
        "architecture": {
            "network_class_name": network_class_name,
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": [32, 64, 128],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3], [3, 3, 3], [3, 3, 3]],
                "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
                # The stem is one convolution: a whole residual block follows it, then one DCP block per stage.
                "n_conv_per_stage": [3, 1, 1],
                "n_conv_per_stage_decoder": [2, 2],
                "conv_bias": True,
                "norm_op": "torch.nn.modules.batchnorm.BatchNorm3d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.ReLU6",
                "nonlin_kwargs": {"inplace": True},
                "dcp": True,
                "attention": True,
                "attention_stages": [1],
                "max_key_tokens": 32**3,
                "concat_skips": False,
                "residual": True,
                "undilated_share": None,
                "foreground_channel": False,
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }


def suits_paper(spacing: Sequence[float]) -> bool:
    """Whether cubic patches and kernels make sense for a voxel size: nnU-Net's own bound, a factor below 2."""
    return max(spacing) / min(spacing) < 2
