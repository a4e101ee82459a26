import subprocess
import sys
from pathlib import Path

import pytest
from infant_images import affine, save, tissues

from nnunetv2_dualagg.inference.bundle import read_bundle
from nnunetv2_dualagg.inference.model import INSTALLED

SCRIPT = Path(__file__).parents[1] / "scripts" / "train_shipped_model.py"


def run(*words):
    done = subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_script_trains_packs_and_tests_and_repeats_nothing(tmp_path):
    for number in range(8):
        save(tissues(number), affine("RAS"), tmp_path / "maps" / f"brain-{number}.nii.gz")
    words = ["-maps", tmp_path / "maps", "-o", tmp_path / "work", "--num_training", 5, "--spacing", 4, "--patch", 16]
    words += ["--features", 4, 8, 8, "--epochs", 1]
    assert "(done already)" not in run(*words)
    bundle = read_bundle(tmp_path / "work" / INSTALLED.name)
    assert bundle.content["trainer"] == "nnUNetTrainerDualAggSynthetic_1epoch"
    assert bundle.content["mirroring_axes"] is None
    assert "never validated on infants" in bundle.content["description"]
    assert (tmp_path / "work" / "comparison" / "dice.md").is_file()
    assert run(*words).count("(done already)") == 7
