import csv
import re

import numpy as np
import pytest
from evaluation_data import layers, write_comparison, write_dataset_json, write_image
from PIL import Image

from nnunetv2_dualagg.cli import main
from nnunetv2_dualagg.commands.compare import parse_folders
from nnunetv2_dualagg.evaluation.compare import compare
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import MARK


def rows(file):
    with open(file, encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.fixture
def known(tmp_path):
    """Planes of one voxel that method "b" shifts by 1 and "a" by 2 voxels of 2 mm; six cases at two sites."""
    write_dataset_json(tmp_path, {"background": 0, "plane": 1})
    for case in range(6):
        reference = np.zeros((9, 5, 5), np.uint8)
        reference[3] = 1
        write_image(tmp_path / "labelsTr" / f"c{case}.nii.gz", reference, spacing=(1, 1, 2))
        for method, shift in (("a", 2), ("b", 1)):
            write_image(tmp_path / method / f"c{case}.nii.gz", np.roll(reference, shift, axis=0), spacing=(1, 1, 2))
    sites = ", ".join(f'"c{case}": "{"north" if case < 2 else "south"}"' for case in range(6))
    (tmp_path / "sites.json").write_text(f"{{{sites}}}")
    return tmp_path


def test_known_distances_are_in_every_table(known):
    folders = {"a": known / "a", "b": known / "b"}
    found = compare(known / "labelsTr", folders, known / "out", sites=known / "sites.json")
    out = known / "out"

    for row in rows(out / "metrics.csv"):
        distance = {"a": 4, "b": 2}[row["method"]]
        assert [float(row[key]) for key in ("asd", "hd95", "hd", "mhd")] == [distance] * 4
        assert (float(row["dice"]), float(row["rvd"])) == (0, 0)
        assert float(row["volume_ml"]) == float(row["reference_ml"]) == pytest.approx(25 * 2 / 1000)

    summary = {(r["site"], r["method"], r["tissue"], r["metric"]): r for r in rows(out / "summary.csv")}
    assert {site for site, *_ in summary} == {"north", "south", "all sites"}
    for site, cases in (("north", "2"), ("south", "4"), ("all sites", "6")):
        row = summary[site, "a", "plane", "hd"]
        assert (row["cases"], float(row["mean"]), float(row["sd"]), float(row["median"])) == (cases, 4, 0, 4)

    statistics = [r for r in rows(out / "statistics.csv") if r["site"] == "all sites" and r["metric"] == "asd"]
    (row,) = statistics
    assert (row["method"], row["baseline"]) == ("b", "a")
    assert [float(row[key]) for key in ("difference", "low", "high")] == [-2, -2, -2]
    assert (row["wins"], row["ties"], row["losses"]) == ("6", "0", "0")
    assert float(row["p"]) == float(row["p_holm"]) == pytest.approx(2 / 2**6)

    for name, cell in (("table1", "plane ASD [mm]"), ("table2", "plane ASD [mm]"), ("all_metrics", "ASD [mm]")):
        cells = {(row.get("site", "all sites"), row["method"]): row[cell] for row in rows(out / f"{name}.csv")}
        assert cells["all sites", "a"] == "4.000 ± 0.000"
        assert cells["all sites", "b"] == "2.000 ± 0.000"
        for ending in ("md", "tex"):
            text = (out / f"{name}.{ending}").read_text(encoding="utf-8")
            assert "4.000" in text
            assert "2.000" in text
    assert {row["plane"] for row in rows(out / "table3.csv")} == {"0.0 ± 0.0"}
    assert {row["plane"] for row in rows(out / "dice.csv")} == {"0.000 ± 0.000"}
    (row,) = [r for r in rows(out / "differences.csv") if (r["site"], r["metric"]) == ("all sites", "ASD [mm]")]
    assert (row["difference"], row["95 % interval"]) == ("-2.000", "-2.000 to -2.000")

    assert found.mean_dice == {"a": 0, "b": 0}
    assert found.conclusions == (
        "all sites, 6 cases, Dice: no winner between b and a in plane: the interval includes zero.",
    )
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "all sites, 6 cases, ASD [mm]: b is better than a in plane (-2.000" in report


def test_the_figures_are_pictures(tmp_path):
    root = write_comparison(tmp_path)
    compare(root / "labelsTs", {"default": root / "default"}, root / "out", images=root / "imagesTs")
    pictures = sorted(file.name for file in (root / "out").glob("*.png"))
    assert pictures == [
        "boxplots_asd.png",
        "boxplots_dice.png",
        "boxplots_hd95.png",
        "segmentations.png",
        "volumes.png",
    ]
    for name in pictures:
        with Image.open(root / "out" / name) as picture:
            assert min(picture.size) > 200
            assert len(picture.convert("L").getcolors()) > 10  # not blank


def run(root, *options, predictions=("default=default", "dualagg=dualagg")):
    places = [item.replace("=", f"={root}/", 1) for item in predictions]
    return main(["compare", "-ref", str(root / "labelsTs"), "-pred", *places, "-o", str(root / "out"), *options])


def test_command_prints_the_table_and_what_may_be_concluded(tmp_path, capsys):
    root = write_comparison(tmp_path)
    assert run(root, "-sites", str(root / "sites.json"), "-images", str(root / "imagesTs"), "-np", "1") == 0
    printed = capsys.readouterr().out
    assert re.search(r"\| Stanford +\| 1 +\| dualagg +\| 0\.\d{3} ", printed)
    assert "only 3 cases, 6 are needed" in printed
    assert (root / "out" / "report.html").is_file()


def test_a_single_method_without_sites_and_images_will_do(tmp_path, capsys):
    root = write_comparison(tmp_path)
    assert run(root, predictions=["default=default"]) == 0
    assert "only one method" in capsys.readouterr().out
    assert not (root / "out" / "differences.csv").exists()


def test_seeds_are_runs_of_one_method(tmp_path):
    root = write_comparison(tmp_path, methods=("default", "seed0", "seed1"))
    assert run(root, predictions=["default=default", "dualagg=seed0", "dualagg=seed1"]) == 0
    summary = rows(root / "out" / "summary.csv")
    spreads = {row["method"]: (row["runs"], row["run_sd"] != "") for row in summary if row["metric"] == "dice"}
    assert spreads == {"default": ("1", False), "dualagg": ("2", True)}


def broken_image(root):
    image = np.where(layers(0) == 1, np.nan, 1).astype(np.float32)
    write_image(root / "imagesTs" / "iSeg_001_0000.nii.gz", image)
    return "iSeg_001_0000.nii.gz holds voxels that are NaN"


def other_grid(root):
    write_image(root / "dualagg" / "iSeg_001.nii.gz", layers(0), spacing=(1, 1, 1))
    return "iSeg_001.nii.gz has spacing"


def unknown_label(root):
    write_image(root / "dualagg" / "iSeg_001.nii.gz", layers(0) * 2)
    return "iSeg_001.nii.gz holds the label values 4, 6"


def missing_case(root):
    (root / "default" / "iSeg_001.nii.gz").unlink()
    return "case iSeg_001 of method default is in 0 of"


@pytest.mark.parametrize("fault", [broken_image, other_grid, unknown_label, missing_case])
def test_faults_are_one_sentence_and_leave_nothing(tmp_path, capsys, fault):
    root = write_comparison(tmp_path)
    message = fault(root)
    before = sorted(root.iterdir())
    assert run(root, "-images", str(root / "imagesTs")) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error")]
    assert message in line
    assert sorted(root.iterdir()) == before


def test_cases_that_were_left_out_are_told(tmp_path, capsys):
    root = write_comparison(tmp_path)
    message = missing_case(root)
    assert run(root, "--skip-missing") == 0
    assert message in capsys.readouterr().out
    assert message in (root / "out" / "report.html").read_text(encoding="utf-8")
    assert {row["case"] for row in rows(root / "out" / "metrics.csv")} == {"iSeg_000", "iSeg_002"}


def test_only_an_earlier_comparison_is_replaced(tmp_path, capsys):
    root = write_comparison(tmp_path, cases=1)
    assert run(root) == 0
    assert run(root) == 1
    assert "exists already" in capsys.readouterr().err
    assert run(root, "--overwrite") == 0
    (root / "out" / MARK).unlink()
    assert run(root, "--overwrite") == 1
    assert "was not made by nnUNetv2_dualagg compare" in capsys.readouterr().err


def test_predictions_are_name_and_folder():
    found = parse_folders(["a=x", "b=y=z", "a=w"], "-pred")
    assert {name: [str(folder) for folder in folders] for name, folders in found.items()} == {
        "a": ["x", "w"],
        "b": ["y=z"],
    }
    for item in ("folder", "=folder", "a="):
        with pytest.raises(UserError, match="NAME=DIR"):
            parse_folders([item], "-pred")
