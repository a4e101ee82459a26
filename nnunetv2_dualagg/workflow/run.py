"""Writing the workflow's files and starting Snakemake."""

import importlib.util
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_dualagg.utils.errors import UserError, needs_extra
from nnunetv2_dualagg.utils.files import new_file, remove_abandoned
from nnunetv2_dualagg.workflow.config import read_config
from nnunetv2_dualagg.workflow.estimate import estimate
from nnunetv2_dualagg.workflow.experiment import Experiment

if TYPE_CHECKING:
    from importlib.abc import Traversable

TEMPLATES = files("nnunetv2_dualagg.workflow") / "files"


def write_workflow(output: Path) -> list[str]:
    """Write the Snakefile, the configuration and the profiles, but for files that are there already.

    Args:
        output: the workflow's folder.

    Returns:
        A line for each file: written, or kept because it is there.
    """
    lines = []
    for template, name in _templates(TEMPLATES, ""):
        target = output / name
        if target.exists():
            remove_abandoned(target.parent)
            lines.append(f"kept    {target}")
            continue
        with new_file(target) as part:
            part.write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
        lines.append(f"written {target}")
    return lines


def _templates(folder: "Traversable", prefix: str) -> "list[tuple[Traversable, str]]":
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{prefix}{entry.name}"
        found += _templates(entry, f"{name}/") if entry.is_dir() else [(entry, name)]
    return found


def dry_run(output: Path) -> None:
    """Print the jobs that would run, and how long the trainings among them would take on a GPU.

    Raises:
        UserError: ``config.yaml`` is wrong, Snakemake is not installed, or it finds a fault.
    """
    experiment = Experiment(read_config(output / "config.yaml"), output)
    command = _command(["--profile", str(_profile(output, "local")), "--dry-run", "--quiet", "host", "rules", "reason"])
    done = subprocess.run(command, cwd=output, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"Snakemake finds a fault in {output}: {' '.join((done.stdout + done.stderr).split())[-1000:]}")
    # Snakemake's API returns no counts either: it prints the same table, to loggers that it sets up itself.
    _, found, jobs = done.stdout.rpartition("Job stats:\n")
    print(f"Jobs left:\n{jobs.split(chr(10) * 2)[0]}" if found else "Nothing is left to do.")
    print(f"\n{estimate(experiment)}")


def run(output: Path, profile: str) -> None:
    """Run the workflow with Snakemake until everything is done or nothing more can be done.

    Args:
        output: the workflow's folder.
        profile: ``local``, ``slurm`` or a folder with a ``config.yaml`` of Snakemake's options.

    Raises:
        UserError: ``config.yaml`` is wrong, Snakemake is not installed, or a job failed.
    """
    experiment = Experiment(read_config(output / "config.yaml"), output)
    process = subprocess.Popen(_command(["--profile", str(_profile(output, profile))]), cwd=output)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # Ctrl-C has reached Snakemake too: it stops its jobs and unlocks the folder
        raise
    if code:
        raise UserError(f"Snakemake ended with exit code {code}; its output above names the failed jobs and their logs")
    missing = [target for target in experiment.targets() if not (output / target).is_dir()]
    if missing:  # Snakemake may stop early after it has repaired what a crash left
        raise UserError(f"{output / missing[0]} has not been made yet; type the same command again")
    print(f"Done: {', '.join(str(output / target) for target in experiment.targets())}")
    if not experiment.data.references():
        print("The predictions are not compared, since config.yaml gives no references for them.")


def _profile(output: Path, name: str) -> Path:
    own = output / "profiles" / name
    folder = own if own.is_dir() else Path(name)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder / 'config.yaml'} does not exist; expected local, slurm or a folder with that file")
    return folder.resolve()


def _command(arguments: list[str]) -> list[str]:
    if importlib.util.find_spec("snakemake") is None:
        raise needs_extra("the workflow", "Snakemake and Python 3.11 or later", "workflow")
    return [sys.executable, "-m", "snakemake", *arguments]
