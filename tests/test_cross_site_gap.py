import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from nnunetv2_dualagg.utils.errors import UserError

SCRIPT = Path(__file__).parents[1] / "scripts" / "cross_site_gap.py"
spec = importlib.util.spec_from_file_location("cross_site_gap", SCRIPT)
gap = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gap)

DICE = {"default": (0.80, 0.70), "ours": (0.83, 0.76), "at_a": (0.90, 0.60), "at_b": (0.50, 0.80)}
ORACLES = {"A": "at_a", "B": "at_b"}


@pytest.fixture
def scores():
    """Two cases per site, two tissues and two runs around the given means."""
    rows = [
        {"method": method, "site": site, "case": f"{site}{case}", "run": run, "tissue": tissue, "dice": mean + off}
        for method, means in DICE.items()
        for site, mean in zip("AB", means, strict=True)
        for (case, off), run, tissue in itertools.product(((0, -0.02), (1, 0.02)), (0, 1), ("GM", "WM"))
    ]
    return pd.DataFrame(rows)


def test_share_of_the_gap(scores):
    table = gap.gap_table(scores, "default", ORACLES).set_index("method")
    assert list(table.index) == ["default", "ours", "oracle of each site"]
    assert table.loc["oracle of each site"].tolist() == ["0.900", "0.800", "0.850", "100%"]
    assert table.loc["default", "gap closed"] == "0%"
    assert table.loc["ours"].tolist() == ["0.830", "0.760", "0.795", "45%"]  # 0.045 of 0.1


@pytest.mark.parametrize(
    ("baseline", "oracles", "sentence"),
    [
        ("none", ORACLES, "has no method none; expected one of default, ours, at_a, at_b"),
        ("default", {"C": "at_a"}, "has no site C; expected one of A, B"),
        ("ours", {"A": "default"}, "no gap to close"),
    ],
)
def test_what_is_not_there(scores, baseline, oracles, sentence):
    with pytest.raises(UserError, match=sentence):
        gap.gap_table(scores, baseline, oracles)


def test_from_the_command_line(scores, tmp_path):
    def run(*words):
        return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)

    options = ["-baseline", "default", "-oracles", "A=at_a", "B=at_b"]
    missing = run(tmp_path, *options)
    assert missing.returncode == 1
    assert missing.stderr.startswith(f"Error: {tmp_path / 'metrics.csv'} does not exist")
    for content, sentence in (("", "is no table"), ("method,dice\n", "has no column site")):
        (tmp_path / "metrics.csv").write_text(content)
        wrong = run(tmp_path, *options)
        assert wrong.returncode == 1
        assert f"{tmp_path / 'metrics.csv'} {sentence}" in wrong.stderr
        assert "Traceback" not in wrong.stderr
    scores.to_csv(tmp_path / "metrics.csv", index=False)
    assert "| ours " in run(tmp_path, *options).stdout
    assert run(tmp_path, *options[:3], "A").stderr == "Error: -oracles is A; expected SITE=METHOD ...\n"
