"""nnU-Net plans for the dual aggregation network, and cross-validation splits."""
