"""Intensity transforms that nnU-Net and batchgeneratorsv2 do not have."""
