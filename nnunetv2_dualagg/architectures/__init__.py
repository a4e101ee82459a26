"""The network, in plain PyTorch; nothing here knows nnU-Net."""

from nnunetv2_dualagg.architectures.dualagg_unet import DualAggUNet

__all__ = ["DualAggUNet"]
