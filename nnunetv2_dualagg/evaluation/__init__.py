"""Metrics, statistics and figures that compare segmentation methods."""
