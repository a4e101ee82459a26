import random
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from signal import SIGINT, SIGKILL, SIGTERM

import pytest
import torch
import yaml
from short_trainer import SHORT
from workflow_files import Run, small_config, write_raw_dataset, write_small_workflow

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.workflow.run import dry_run, write_workflow

needs_snakemake = pytest.mark.skipif(find_spec("snakemake") is None, reason="Snakemake (Python 3.11) is not installed")

MODEL = f"{SHORT}__nnUNetPlans__3d_tiny"


def files(folder):
    """All files but Snakemake's own; nnU-Net's logs have the time in their names."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    names = (str(file) for file in found if ".snakemake" not in file.parts)
    return sorted({re.sub(r"training_log_\S+", "training_log", name) for name in names})


def times(folder):
    return {
        file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file() and ".snakemake" not in file.parts
    }


def test_files_are_written_and_edited_ones_are_kept(tmp_path, capsys):
    assert cli.main(["workflow", "-o", str(tmp_path)]) == 0
    written = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    assert written == ["Snakefile", "config.yaml", "profiles/local/config.yaml", "profiles/slurm/config.yaml"]
    assert f"nnUNetv2_dualagg workflow -o {tmp_path} --run" in capsys.readouterr().out
    (tmp_path / "config.yaml").write_text("mine")
    (tmp_path / "Snakefile").unlink()
    lines = write_workflow(tmp_path)
    assert f"kept    {tmp_path / 'config.yaml'}" in lines
    assert f"written {tmp_path / 'Snakefile'}" in lines
    assert (tmp_path / "config.yaml").read_text() == "mine"


@pytest.mark.parametrize("profile", ["local", "slurm"])
def test_the_profiles_limit_what_writes_to_common_files(tmp_path, profile):
    write_workflow(tmp_path)
    options = yaml.safe_load((tmp_path / "profiles" / profile / "config.yaml").read_text())
    assert "planning=1" in options["resources"]
    assert options["rerun-triggers"] == ["mtime"]
    assert options["retries"] >= 1


@needs_snakemake
def test_a_dry_run_counts_the_jobs_and_writes_nothing(tmp_path, capsys):
    folder = tmp_path / "with space"
    config = small_config(seeds=[0, 1, 2], folds=[0, 1], ensembles={"both": ["plain", "resenc"]})
    write_small_workflow(folder, config)
    before = files(folder)
    assert cli.main(["workflow", "-o", str(folder), "--dry-run"]) == 0
    output = capsys.readouterr().out
    jobs = dict(line.split() for line in output.split("-------\n")[1].split("\n\n")[0].splitlines())
    assert jobs == {
        "phantom": "1",
        "convert": "1",
        "fingerprint": "1",
        "plan": "2",
        "configuration": "2",
        "splits": "1",
        "preprocess": "1",  # both plans use the same data
        "train": "12",
        "predict": "6",
        "ensemble": "3",
        "compare": "1",
        "compare_validation": "1",
        "curves": "1",
        "all": "1",
        "total": "34",
    }
    assert "plain                       6 x 1000 epochs" in output
    assert files(folder) == before


def test_faults_are_told_before_anything_starts(tmp_path, capsys):
    write_small_workflow(tmp_path, small_config(device="gpu"))
    for option in ("--run", "--dry-run"):
        assert cli.main(["workflow", "-o", str(tmp_path), option]) == 1
        assert "device is 'gpu'; expected 'cuda'" in capsys.readouterr().err
    write_small_workflow(tmp_path, small_config())
    assert cli.main(["workflow", "-o", str(tmp_path), "--run", "-profile", "lokal"]) == 1
    assert "lokal/config.yaml does not exist; expected local, slurm or a folder" in capsys.readouterr().err


def test_without_snakemake_the_extra_is_named(tmp_path, monkeypatch):
    write_small_workflow(tmp_path, small_config())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "nnunetv2-dualagg\[workflow\]"'):
        dry_run(tmp_path)


def finish(folder, environment):
    with Run(folder, environment) as run:
        assert run.wait() == 0, run.output


def raw_config(tmp_path, **changes):
    raw = tmp_path / "raw"
    return small_config(
        dataset={"raw": str(write_raw_dataset(raw) if not raw.exists() else next(raw.iterdir()))}, **changes
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run from beginning to end: two methods and their ensemble."""
    root = tmp_path_factory.mktemp("uninterrupted")
    folder = root / "experiment"
    environment = write_small_workflow(folder, raw_config(root, seeds=[0], ensembles={"both": ["plain", "resenc"]}))
    finish(folder, environment)
    return folder, environment


@pytest.mark.slow
@needs_snakemake
def test_everything_is_trained_predicted_and_compared(uninterrupted):
    folder, _ = uninterrupted
    metrics = (folder / "comparison" / "metrics.csv").read_text()
    for name in ("plain", "resenc", "both"):
        assert f"predictions/seed_0/{name}" in metrics
    assert (folder / "comparison_validation" / "report.html").is_file()
    assert (folder / "curves" / "curves.png").is_file()
    assert not list(folder.rglob("*.part"))


@pytest.mark.slow
@needs_snakemake
def test_a_second_run_repeats_nothing_and_another_seed_trains_only_itself(uninterrupted):
    folder, environment = uninterrupted
    before = times(folder)
    finish(folder, environment)
    assert times(folder) == before
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "seeds": [0, 1]}, sort_keys=False))
    finish(folder, environment)
    after = times(folder)
    again = ("comparison", "comparison_validation", "curves", "logs", "config.yaml")
    changed = {file.relative_to(folder) for file in before if after.get(file) != before[file]}
    assert {file.parts[0] for file in changed} <= set(again)
    folds = [next(folder.glob(f"nnUNet_results/seed_{seed}/*/{MODEL}/fold_0/checkpoint_final.pth")) for seed in (0, 1)]
    one, other = (torch.load(file, weights_only=False)["network_weights"] for file in folds)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
@needs_snakemake
def test_five_interruptions_end_in_the_same_files(uninterrupted, tmp_path):
    expected, _ = uninterrupted
    folder = tmp_path / "experiment"
    seeds = yaml.safe_load((expected / "config.yaml").read_text())["seeds"]  # one test adds one
    config = raw_config(tmp_path, ensembles={"both": ["plain", "resenc"]}, seeds=seeds)
    environment = write_small_workflow(folder, config)
    chance = random.Random()
    moments = sorted(chance.sample(range(15), 5))  # after so many of the 21 jobs, and some seconds into the next ones
    finished = 0
    # Ctrl-C, the end of a session, and a power failure, which leaves Snakemake's lock.
    for moment, number in zip(moments, (SIGINT, SIGKILL, SIGTERM, SIGINT, SIGKILL), strict=True):
        with Run(folder, environment) as run:
            run.wait_for(lambda run=run, more=moment - finished: run.finished >= more)
            time.sleep(chance.uniform(0, 10))
            run.interrupt(number)
            assert run.wait() != 0, f"finished before it was interrupted, {moments}"
            finished += run.finished
        if number == SIGKILL:
            subprocess.run([sys.executable, "-m", "snakemake", "--unlock"], cwd=folder, env=environment, check=True)
    finish(folder, environment)
    assert [file for file in files(folder) if not file.endswith(".damaged")] == files(expected)
    for checkpoint in folder.glob("nnUNet_results/seed_*/*/*/fold_0/checkpoint_final.pth"):
        assert torch.load(checkpoint, weights_only=False)["current_epoch"] == 2
