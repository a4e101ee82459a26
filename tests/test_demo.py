import pandas as pd
import pytest

from nnunetv2_dualagg import cli


@pytest.mark.slow
def test_both_networks_learn_and_a_second_run_repeats_nothing(tmp_path, capfd):
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    scores = pd.read_csv(tmp_path / "comparison" / "metrics.csv")
    assert (scores.groupby("method")["dice"].mean() > 0.7).all()
    assert (tmp_path / "comparison" / "segmentations.png").stat().st_size > 10_000
    written = {file: file.stat().st_mtime for file in tmp_path.rglob("*.nii.gz")}
    capfd.readouterr()
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    assert capfd.readouterr().out.count("(done already)") == 8
    assert {file: file.stat().st_mtime for file in tmp_path.rglob("*.nii.gz")} == written
