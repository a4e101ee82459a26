import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

SCRIPT = Path(__file__).parents[1] / "scripts" / "outside_and_holes.py"


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
    row = ended.stdout.strip().splitlines()[-1]
    assert [word.strip() for word in row.strip("|").split("|")] == ["ours", "3.0", "3.0", "1.0", "1.0"]
