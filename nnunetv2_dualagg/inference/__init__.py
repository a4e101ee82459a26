"""Trained models: which of them this installation can use, and their export."""
