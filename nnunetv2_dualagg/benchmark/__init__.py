"""Speed and memory of the network beside nnU-Net's own, at the same plans, patch and batch."""
