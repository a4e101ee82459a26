import csv

import pandas as pd
import pytest

from nnunetv2_dualagg.evaluation.metrics.aggregate import KEYS, aggregate
from nnunetv2_dualagg.evaluation.report.tables import make_tables
from nnunetv2_dualagg.utils.tables import NO_VALUE, as_latex, as_markdown, write_table


def summarise(table):
    return aggregate(table).summary


def scores(tissues=("CSF", "GM", "WM"), method="ours"):
    """Two sites with two cases each; dice 0.5, 0.7 at BCP and 0.6, 0.8 at Emory, HD 1 to 4, ASD a tenth of it."""
    rows = []
    for index, (site, dice) in enumerate((("BCP", 0.5), ("BCP", 0.7), ("Emory", 0.6), ("Emory", 0.8)), start=1):
        for tissue in tissues:
            keys = {"case": f"c{index}", "site": site, "method": method, "run": "x", "tissue": tissue}
            rows.append(keys | dict.fromkeys(KEYS, 0.0) | {"dice": dice, "hd": index, "asd": index / 10})
    return pd.DataFrame(rows)


def tables(table):
    return {found.name: found.frame for found in make_tables(summarise(table))}


def test_table_1_is_all_cases_and_the_published_rows():
    frame = tables(scores())["table1"]
    ours = frame[frame["method"] == "ours"].iloc[0]
    assert ours["data"].item() == "this comparison"
    assert ours[("CSF", "Dice")] == "0.650 ± 0.129"
    assert ours[("WM", "HD [mm]")] == "2.50 ± 1.29"
    assert ours[("GM", "ASD [mm]")] == "0.250 ± 0.129"
    paper = frame[frame["method"] == "Lei et al."].iloc[0]
    assert paper["data"].item() == "iSeg-2017 testing"
    assert (paper[("CSF", "Dice")], paper[("GM", "Dice")], paper[("WM", "ASD [mm]")]) == ("0.959", "0.926", "0.353")
    assert paper[("CSF", "HD [mm]")] == NO_VALUE  # the challenge's MHD is another metric


def test_table_2_is_per_site():
    frame = tables(scores())["table2"]
    ours = frame[frame["data"] == "this comparison"]
    assert ours["site"].tolist() == ["BCP", "Emory", "all sites"]
    assert ours[("CSF", "Dice")].tolist() == ["0.600 ± 0.141", "0.700 ± 0.141", "0.650 ± 0.129"]
    assert set(frame["data"]) == {"this comparison", "iSeg-2019 testing"}
    assert frame.set_index("method").loc["WYF", ("WM", "Dice")] == "0.850"


def test_table_3_is_dice_in_percent_with_the_mean():
    frame = tables(scores())["table3"].set_index("method")
    assert frame.loc["ours", "mean"] == "65.0 ± 12.9"
    full = frame.loc["Lei et al., full model"]
    assert full[["CSF", "WM", "GM", "mean"]].tolist() == ["95.3", "91.3", "92.4", "92.9"]


def test_published_rows_come_after_ours():
    for name, frame in tables(scores(method="a")).items():
        if name.startswith("table"):
            ours = (frame["data"] == "this comparison").tolist()
            assert ours == sorted(ours, reverse=True)
            assert not all(ours)


def test_other_tissues_have_no_published_rows():
    for name, frame in tables(scores(tissues=("liver", "tumour"))).items():
        if name.startswith("table"):
            assert set(frame["data"]) == {"this comparison"}


def test_all_metrics_have_a_column_and_empty_cases_are_told():
    table = scores()
    table.loc[(table["tissue"] == "WM") & (table["case"] == "c1"), "asd"] = float("nan")
    frame = tables(table)["all_metrics"].set_index(["site", "tissue", "method"])
    assert len(frame.columns) == len(KEYS)
    assert frame.loc[("BCP", "WM", "ours"), "ASD [mm]"] == "0.200 (1 empty)"
    assert frame.loc[("BCP", "WM", "ours"), "Dice"] == "0.600 ± 0.141"


def test_a_class_that_is_always_empty_has_no_number():
    frame = tables(scores().assign(asd=float("nan")))["table1"]
    assert frame.loc[0, ("WM", "ASD [mm]")] == NO_VALUE


@pytest.mark.parametrize("name", ["dice", "table1", "table2", "table3", "all_metrics"])
def test_files_hold_the_cells(tmp_path, name):
    table = next(table for table in make_tables(summarise(scores())) if table.name == name)
    write_table(table, tmp_path)
    with open(tmp_path / f"{name}.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == table.frame.astype(str).to_numpy().tolist()
    markdown = (tmp_path / f"{name}.md").read_text(encoding="utf-8").splitlines()
    assert [cell.strip() for cell in markdown[2].strip("|").split("|")] == rows[0]
    assert [cell.strip() for cell in markdown[4].strip("|").split("|")] == rows[1]
    latex = (tmp_path / f"{name}.tex").read_text(encoding="utf-8")
    assert latex.count(r"\\") == len(rows) - 1 + table.frame.columns.nlevels
    assert latex.index(r"\toprule") < latex.index(r"\midrule") < latex.index(r"\bottomrule")
    assert r"$\pm$" in latex


def test_names_are_escaped():
    table = make_tables(summarise(scores(method="50%_a|b & <c>")))[0]
    assert r"50\%\_a|b \& <c>" in as_latex(table)
    assert r"50%_a\|b & <c>" in as_markdown(table.frame)
