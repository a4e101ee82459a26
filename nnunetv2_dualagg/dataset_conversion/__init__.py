"""Data sets in and out of nnU-Net's raw format: iSeg-2017, iSeg-2019, Baby Open Brains and the phantom."""
