import pandas as pd
import pytest

from nnunetv2_dualagg import cli


@pytest.mark.slow
def test_both_networks_learn_and_a_second_run_repeats_nothing(tmp_path, capfd):
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    scores = pd.read_csv(tmp_path / "comparison" / "metrics.csv")
    assert (scores.groupby("method")["dice"].mean() > 0.7).all()
    assert (tmp_path / "comparison" / "segmentations.png").stat().st_size > 10_000
    assert (tmp_path / "segmented" / "iSeg_024_0000_preview.png").stat().st_size > 10_000
    volumes = pd.read_csv(tmp_path / "segmented" / "iSeg_024_0000_volumes.tsv", sep="\t")
    assert (volumes["volume_ml"] > 50).all()
    written = {file: file.stat().st_mtime for file in tmp_path.rglob("*.nii.gz")}
    capfd.readouterr()
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    assert capfd.readouterr().out.count("(done already)") == 9
    assert {file: file.stat().st_mtime for file in tmp_path.rglob("*.nii.gz")} == written
