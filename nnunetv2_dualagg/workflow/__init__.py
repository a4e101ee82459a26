"""A whole experiment, methods x folds x seeds, as a Snakemake workflow."""

from importlib.resources import files

RULES = str(files("nnunetv2_dualagg.workflow") / "rules.smk")
"""What the Snakefile in an experiment's folder includes."""
