import json
import subprocess
import sys
from pathlib import Path

from nnunetv2_dualagg.cli import main

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark_occasions.py"


def occasions(*files):
    return subprocess.run([sys.executable, SCRIPT, *files], capture_output=True, text=True, check=False)


def test_ratios_of_several_occasions_and_their_median(tmp_path):
    file = tmp_path / "0.json"
    tiny = ["benchmark", "-o", str(file), "-device", "cpu", "-setting", "tiny", "-repeats", "1", "-volume_repeats", "1"]
    assert main([*tiny, "--ratios_only"]) == 0
    result = json.loads(file.read_text())
    assert list(result["ratios"]) == ["PlainConvUNet", "ResidualEncoderUNet", "DualAggUNet"]
    assert "parts" not in result
    files = []
    for i, ratio in enumerate((1.1, 1.4, 1.2)):
        result["ratios"]["DualAggUNet"]["step_seconds"] = ratio
        files.append(tmp_path / f"{i}.json")
        files[-1].write_text(json.dumps(result))
    shown = occasions(*files)
    assert shown.returncode == 0
    (row,) = [line for line in shown.stdout.splitlines() if "DualAggUNet" in line and "training step" in line]
    assert [cell.strip() for cell in row.split("|")[3:5]] == ["1.20x", "1.10, 1.40, 1.20"]


def test_another_file_is_refused(tmp_path):
    file = tmp_path / "other.json"
    file.write_text("{}")
    shown = occasions(file)
    assert shown.returncode == 1
    assert shown.stderr.startswith(f"Error: {file} has no ratios; expected")
