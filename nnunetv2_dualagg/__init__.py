"""Dual aggregation network for nnU-Net v2.

A 3-D U-Net whose encoder down-samples through dilated convolution pyramids and whose decoder carries parallel
spatial and channel self-attention, after the iSeg-2019 paper on infant brain MRI. ``docs/method.md`` states which
choices are the paper's and which are ours.
"""

from importlib.metadata import version

__version__ = version("nnunetv2_dualagg")
