"""``--help`` answers at once: nothing heavy is imported for it."""

import subprocess
import sys

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
