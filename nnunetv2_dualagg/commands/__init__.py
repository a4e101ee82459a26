"""The subcommands of ``nnUNetv2_dualagg``: option parsing only; the work is done by the Python API."""
