"""The workflow on a real SLURM of one node, which the test starts; one training is killed in the middle."""

import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import slurm_cluster
import torch
import yaml
from short_trainer import SHORT
from workflow_files import Run, small_config, write_raw_dataset, write_small_workflow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(slurm_cluster.missing() is not None, reason=slurm_cluster.missing() or ""),
    pytest.mark.skipif(find_spec("snakemake") is None, reason="Snakemake (Python 3.11) is not installed"),
]

MODEL = f"{SHORT}__nnUNetPlans__3d_tiny"
EPOCHS = 4


@pytest.fixture
def cluster():
    # Sockets have short names: pytest's own folders may be too deep.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, slurm_cluster.slurm(Path(folder)) as environment:
        yield environment


def test_a_training_that_is_cancelled_is_submitted_again_and_goes_on(tmp_path, cluster):
    raw = write_raw_dataset(tmp_path / "raw")
    config = small_config(dataset={"raw": str(raw)}, methods={"plain": {"trainer": SHORT, "configuration": "3d_tiny"}})
    folder = tmp_path / "experiment"
    environment = write_small_workflow(folder, config) | {"SHORT_EPOCHS": str(EPOCHS), "SHORT_PAUSE": "6"}
    environment |= {name: cluster[name] for name in ("SLURM_CONF", "PATH")}
    _hurry(folder / "profiles" / "slurm" / "config.yaml")
    folds = [folder / f"nnUNet_results/seed_{seed}" / raw.name / MODEL / "fold_0" for seed in (0, 1)]

    with Run(folder, environment, "-profile", "slurm") as run:
        run.wait_for((folds[0] / "checkpoint_latest.pth").is_file)
        subprocess.run(["scancel", _training_of_seed(0, cluster)], env=cluster, check=True)
        assert run.wait() == 0, run.output

    assert (folder / "comparison" / "report.html").is_file()
    assert "Trying to restart job" in run.output
    logs = [sorted(fold.glob("training_log_*.txt")) for fold in folds]
    assert [len(of_fold) for of_fold in logs] == [2, 1]  # the other training was left alone
    first, second = (set(_epochs(log)) for log in logs[0])
    assert first | second == set(range(EPOCHS))
    assert 0 not in second  # resumed, not restarted
    for fold in folds:
        checkpoint = torch.load(fold / "checkpoint_final.pth", weights_only=False)
        assert len(checkpoint["logging"]["train_losses"]) == EPOCHS
    assert subprocess.run(["squeue", "-h"], env=cluster, capture_output=True, check=True).stdout == b""


def _hurry(profile):
    """The profile for a tiny cluster without accounting: small requests, frequent looks at the queue."""
    options = yaml.safe_load(profile.read_text())
    options |= {
        "slurm-no-account": True,
        "slurm-status-command": "squeue",
        "slurm-init-seconds-before-status-checks": 3,
        "seconds-between-status-checks": 3,
        "latency-wait": 20,
        "default-resources": {"mem_mb": "1000 * attempt", "runtime": "10 * attempt"},
    }
    for resources in options["set-resources"].values():
        resources["mem_mb"] = "1000 * attempt"
    profile.write_text(yaml.safe_dump(options))


def _training_of_seed(seed, cluster):
    """The number of the SLURM job, which carries rule and wildcards in its comment."""
    jobs = subprocess.run(["squeue", "-h", "-o", "%i %k"], env=cluster, capture_output=True, text=True, check=True)
    (line,) = [line for line in jobs.stdout.splitlines() if f"rule_train_wildcards_{seed}_" in line]
    return line.split()[0]


def _epochs(log):
    return [
        int(line.split("Epoch ")[1])
        for line in log.read_text().splitlines()
        if ": Epoch " in line and "time" not in line
    ]
