"""``--help`` answers at once, and ``segment`` waits for nothing that it does not need."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from infant_images import write_infant

START_UP = Path(__file__).parents[1] / "scripts" / "start_up.py"
HEAVY = {
    "SimpleITK",
    "batchgenerators",
    "jsonschema",
    "matplotlib",
    "monai",
    "nibabel",
    "nilearn",
    "nnunetv2",
    "numpy",
    "onnx",
    "pandas",
    "pydantic",
    "requests",
    "safetensors",
    "scipy",
    "snakemake",
    "torch",
    "tqdm",
}
HELP_OF_ALL = """
import sys
from nnunetv2_dualagg.cli import COMMANDS, main
for words in ([], *([name] for name in COMMANDS)):
    try:
        main([*words, "--help"])
    except SystemExit as end:
        assert end.code == 0, words
print(*sys.modules, file=sys.stderr)
"""


def test_help_imports_nothing_heavy():
    ended = subprocess.run([sys.executable, "-c", HELP_OF_ALL], capture_output=True, text=True, check=True)
    assert "usage: nnUNetv2_dualagg segment" in ended.stdout
    imported = {module.partition(".")[0] for module in ended.stderr.split()}
    assert "argparse" in imported
    assert not imported & HEAVY


IMAGES_FIRST = """
import sys
from nnunetv2_dualagg.inference import segment
assert "torch" not in sys.modules  # images are aligned while it is being imported
from nnunetv2_dualagg.inference import load_model
print(*load_model().channels)
print(*sys.modules, file=sys.stderr)
"""


def test_segment_imports_neither_training_nor_plotting():
    ended = subprocess.run([sys.executable, "-c", IMAGES_FIRST], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["T1", "T2"]
    imported = set(ended.stderr.split())
    assert "nnunetv2.inference.predict_from_raw_data" in imported
    assert not imported & {"matplotlib", "nnunetv2.training.nnUNetTrainer.nnUNetTrainer", "nnunetv2_dualagg.trainers"}


@pytest.mark.slow
def test_the_seconds_of_segment_are_told(tmp_path):
    t1, t2 = write_infant(tmp_path / "infant")
    line = [sys.executable, str(START_UP), "-i", str(t1), str(t2), "-repeats", "1"]
    ended = subprocess.run(line, capture_output=True, text=True, check=True)
    helped, first, last, end = map(float, re.findall(r"(\d+\.\d+) \(", ended.stdout))
    assert 0 < helped < first <= last < end


def test_a_failing_segment_is_told(tmp_path):
    t1, _ = write_infant(tmp_path / "infant")
    line = [sys.executable, str(START_UP), "-i", str(t1), "-repeats", "1"]
    ended = subprocess.run(line, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "the model needs 2" in ended.stderr
    assert "Traceback" not in ended.stderr
