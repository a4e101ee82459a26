import re

import numpy as np
import pytest
from iseg_files import CODING_2017, brain, files_in, write_image, write_iseg, write_subject

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.dataset_conversion.iseg.report import check_iseg


def lines_of(report):
    return report.splitlines()


def test_tells_what_the_folders_hold_and_writes_nothing(tmp_path, capsys):
    folders, arrays = write_iseg(tmp_path, numbers=(1, 2, 11, 24, 30, 35), spacing=(1, 1, 2), order=">")
    before = files_in(tmp_path)
    assert cli.main(["convert_iseg", "--check", "-np", "1", "-i", *map(str, folders)]) == 0
    report = capsys.readouterr().out
    assert files_in(tmp_path) == before
    assert report.startswith("0 problems\n")
    assert "iSeg-2019 (recognised from names or numbers): 6 subjects" in report
    assert "training: 2 (1-2); 2 MAP\n" in report
    assert "validation: 1 (11); 1 MAP\n" in report
    assert "testing: 3 (24, 30, 35); 1 BCP (inferred), 1 Stanford (inferred), 1 Emory (inferred)\n" in report
    label, t1, _ = arrays[1]
    rows = {tuple(line.split()[:2]): line for line in lines_of(report)}
    assert len([key for key in rows if len(key) == 2 and key[0].isdecimal() and key[1] in ("T1", "T2", "label")]) == 14
    row = rows["1", "T1"]
    assert all(text in row for text in ("12 x 14 x 10", "1 x 1 x 2", "int16", f"0 to {t1.max()}"))
    assert f"{np.mean(label == 0):.1%}" in row
    row = rows["1", "label"]
    volumes = [f"{np.sum(label == tissue) * 2 / 1000:.1f}" for tissue in (1, 2, 3)]
    assert all(text in row for text in ("uint8", "0 to 3", "1.000", ", ".join(volumes)))


def test_problems_come_first_and_all_of_them(tmp_path, capsys):
    folders, _ = write_iseg(tmp_path, numbers=(1, 2, 24))
    (tmp_path / "iSeg-2019-Training/subject-1-T1.img").unlink()
    write_image(tmp_path / "iSeg-2019-Training/subject-1-label", brain()[0] * 9)
    write_image(tmp_path / "iSeg-2019-Testing/subject-24-T2", brain()[1][1:])
    (tmp_path / "iSeg-2019-Training/subject-2-T2.hdr").unlink()
    assert cli.main(["convert_iseg", "--check", "-np", "1", "-i", *map(str, folders)]) == 1
    lines = lines_of(capsys.readouterr().out)
    assert lines[0] == "5 problems"
    told = "\n".join(lines[1:6])
    for sentence in (
        r"subject-2-T2\.img has no header",
        r"subject 2 has no T2",
        r"subject-1-T1\.hdr has no voxels",
        r"subject-1-label\.hdr holds the values 0, 9, 18, 27; expected",
        r"subject-24-T2\.hdr has shape",
    ):
        assert re.search(sentence, told), told


def test_remarks_on_oddities_that_can_be_converted(tmp_path):
    write_subject(tmp_path / "iSeg-2019-Training", 1, coding=CODING_2017)
    write_subject(tmp_path / "iSeg-2019-Training", 12, coding=CODING_2017, spacing=(0, 0, 0))
    t2 = brain(seed=12)[2]
    t2[:6] = 0  # half of the brain is lost
    write_image(tmp_path / "iSeg-2019-Training/subject-12-T2", t2)
    problems, report = check_iseg([tmp_path], num_processes=1)
    assert problems == []
    for remark in (
        "iSeg-2019's training subjects 2-10 are missing",
        "iSeg-2019 has no training subjects 12",
        "the labels hold 0, 10, 150, 250 as iSeg-2017's, not as iSeg-2019's",
        "subject-12-T1.hdr states no plausible spacing; 1 mm is assumed",
        "subject-12-T2.hdr does not cover the brain of the first image well",
    ):
        assert remark in report
    assert "subject-1-T1.hdr" not in report


@pytest.mark.parametrize(("coding", "year"), [(CODING_2017, 2017), (None, 2019)])
def test_guesses_the_year(tmp_path, coding, year):
    write_subject(tmp_path / "data", 1, coding=coding)
    assert f"iSeg-{year} (guessed from the label values): 1 subjects" in check_iseg([tmp_path / "data"])[1]
    assert "iSeg-2017 (given)" in check_iseg([tmp_path / "data"], year=2017)[1]


def test_looks_only_at_what_would_be_converted(tmp_path):
    write_iseg(tmp_path, numbers=(1,))
    (tmp_path / "iSeg-2019-Training/subject-1-T2.img").write_bytes(b"")
    assert len(check_iseg([tmp_path], num_processes=1)[0]) == 1
    assert check_iseg([tmp_path], modalities=["T1"], num_processes=1)[0] == []
