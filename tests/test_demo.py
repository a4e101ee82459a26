import json

import pandas as pd
import pytest
from trained_model import plans

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.demo import CONFIGURATION, _add_configuration


def test_the_demos_configuration_is_added_to_the_plans_and_the_rest_is_kept(tmp_path):
    file = tmp_path / "nnUNetPlans.json"
    before = plans((64, 64, 64), features=(32, 64, 128, 256), network_class="PlainConvUNet")
    file.write_text(json.dumps(before))
    _add_configuration(file)
    after = json.loads(file.read_text())
    added = after["configurations"].pop(CONFIGURATION)
    assert after == before
    assert added["inherits_from"] == "3d_fullres"
    assert added["architecture"]["arch_kwargs"]["features_per_stage"] == [16, 32, 64]
    assert added["architecture"]["arch_kwargs"]["norm_op"] == "torch.nn.modules.instancenorm.InstanceNorm3d"


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
