"""``workflow``: a whole experiment, on a laptop or a cluster."""

import argparse
import shlex
from pathlib import Path

HELP = "train, predict and compare methods x folds x seeds with Snakemake, on one computer or a SLURM cluster"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-o",
        type=Path,
        required=True,
        metavar="DIR",
        help="the experiment's folder; config.yaml, Snakefile and profiles are written if they are missing",
    )
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument("--dry-run", action="store_true", help="show the jobs that would run and estimate the hours")
    todo.add_argument("--run", dest="start", action="store_true", help="run them, or resume an earlier run")
    parser.add_argument(
        "-profile", default="local", metavar="NAME", help="local (default), slurm, or a folder: how Snakemake runs jobs"
    )


def run(args: argparse.Namespace) -> None:
    """Write the files, or run."""
    from nnunetv2_dualagg.workflow import run as workflow

    lines = workflow.write_workflow(args.o)
    if args.dry_run:
        workflow.dry_run(args.o)
    elif args.start:  # args.run is this function
        workflow.run(args.o, args.profile)
    else:
        print("\n".join(lines))
        print(f"Next: edit {args.o / 'config.yaml'}, then type")
        command = f"  nnUNetv2_dualagg workflow -o {shlex.quote(str(args.o))}"
        print(f"{command} --dry-run\n{command} --run")
