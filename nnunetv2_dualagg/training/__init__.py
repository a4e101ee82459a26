"""Around nnU-Net's training: with a seed, resumed after a kill, its curves, and whether nnU-Net finds the trainers."""
