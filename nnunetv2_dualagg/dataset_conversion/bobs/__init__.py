"""Baby Open Brains (BOBs): T1, T2 and expert-corrected segmentations of infants of 1 to 8 months."""
