import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

SCRIPT = Path(__file__).parents[1] / "scripts" / "outside_and_holes.py"


def last_row(table):
    return [word.strip() for word in table.strip().splitlines()[-1].strip("|").split("|")]


def test_a_case_counted_by_hand(tmp_path):
    reference = np.zeros((10, 10, 10), np.uint8)
    reference[2:7, 2:7, 2:6] = 2  # 100 voxels
    prediction = reference.copy()
    prediction[0, 0, :3] = 1  # outside
    prediction[3, 3, 3] = 0  # a hole
    prediction[4, 4, 4] = 3  # another tissue: neither
    for name, data in (("ref", reference), ("pred one", prediction)):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / name / "case.nii.gz")
    line = [sys.executable, SCRIPT, "-ref", tmp_path / "ref", "-pred", f"ours={tmp_path / 'pred one'}"]
    ended = subprocess.run(line, capture_output=True, text=True, check=True)
    assert last_row(ended.stdout) == ["ours", "3.0", "3.0", "1.0", "1.0"]
    line.append(f"ours={tmp_path / 'ref'}")  # a second run of the method, without a mistake
    ended = subprocess.run(line, capture_output=True, text=True, check=True)
    assert last_row(ended.stdout) == ["ours", "1.5", "3.0", "0.5", "1.0"]
    line[-1] = "ours"
    ended = subprocess.run(line, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "Error: -pred ours is not understood, expected NAME=DIR\n"
