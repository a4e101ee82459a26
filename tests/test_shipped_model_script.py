import subprocess
import sys
from pathlib import Path

import pytest
from infant_images import affine, save, tissues

from nnunetv2_dualagg.inference.bundle import INSTALLED, read_bundle

SCRIPTS = Path(__file__).parents[1] / "scripts"


def run(script, *words):
    command = [sys.executable, SCRIPTS / script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    for number in range(8):
        save(tissues(number), affine("RAS"), folder / f"brain-{number}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, maps):
    """What the script wrote, and its output, first and repeated."""
    work = tmp_path_factory.mktemp("trained") / "work"
    words = ["-maps", maps, "-o", work, "--num_training", 5, "--spacing", 4, "--patch", 16]
    words += ["--features", 4, 8, 8, "--epochs", 1]
    return work, [run("train_shipped_model.py", *words) for _ in range(2)]


@pytest.mark.slow
def test_the_script_trains_packs_and_tests_and_repeats_nothing(trained):
    work, (first, second) = trained
    assert "(done already)" not in first
    assert second.count("(done already)") == 7
    bundle = read_bundle(work / INSTALLED.name)
    assert bundle.content["trainer"] == "nnUNetTrainerDualAggSynthetic_1epoch"
    assert bundle.content["mirroring_axes"] is None
    assert "never validated on infants" in bundle.content["description"]
    assert (work / "comparison" / "dice.md").is_file()


@pytest.mark.slow
def test_a_training_starts_from_the_model(tmp_path, trained, maps):
    model = trained[0] / INSTALLED.name
    words = ["-maps", maps, "-o", tmp_path / "gain", "-m", model, "--num_training", 3, "--num_testing", 1]
    words += ["--epochs", 1, "--seeds", 0]
    assert "from_the_model" in run("pretraining_gain.py", *words)
    logs = [log.read_text() for log in (tmp_path / "gain" / "logs").iterdir()]
    assert sum("pretrained weights from file" in log for log in logs) == 1
    scores = (tmp_path / "gain" / "comparison" / "dice.csv").read_text()
    assert "from_nothing" in scores
    assert run("pretraining_gain.py", *words).count("(done already)") == 9 + 1
