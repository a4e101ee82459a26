from collections import Counter
from pathlib import Path

import pytest

from nnunetv2_dualagg.dataset_conversion.iseg.challenge import known_subjects, read_sites, site_of, split_of, year_of
from nnunetv2_dualagg.dataset_conversion.iseg.layout import Subject
from nnunetv2_dualagg.utils.errors import UserError


def subjects(*numbers, folder="x"):
    return [Subject(number, {"T1": Path(folder) / f"subject-{number}-T1.hdr"}) for number in numbers]


@pytest.mark.parametrize(
    ("folder", "number", "year"),
    [
        ("data/iSeg-2017-Training", 1, 2017),
        ("data/iseg2019/Testing", 1, 2019),
        ("ISEG_2017", 11, 2017),
        ("iSeg-2019/iSeg-2017-Training", 1, 2017),  # the innermost counts
        ("data", 24, 2019),
        ("data", 23, None),
        ("2017", 1, None),
    ],
)
def test_recognises_the_year(folder, number, year):
    assert year_of(subjects(number, folder=folder), [folder]) == year


def test_refuses_two_years():
    with pytest.raises(UserError, match=r"2017.*2019.*one year"):
        year_of(subjects(1, folder="iSeg-2017-Training") + subjects(24, folder="iSeg-2019-Testing"), [])


def test_splits_by_number():
    splits = {
        year: Counter(split_of(subject, year) for subject in subjects(*range(1, last + 1)))
        for year, last in ((2017, 23), (2019, 39))
    }
    assert splits == {
        2017: {"training": 10, "testing": 13},
        2019: {"training": 10, "validation": 13, "testing": 16},
    }
    assert split_of(Subject(40), 2019) is None
    assert split_of(Subject(24), 2017) is None
    assert split_of(Subject(40, folder_split="testing"), 2019) == "testing"
    assert known_subjects(2019, "testing") == range(24, 40)
    assert known_subjects(2017, "testing") == range(11, 24)
    assert not known_subjects(2017, "validation")


def test_sites_by_number():
    sites = Counter(site_of(number, 2019, split_of(Subject(number), 2019)) for number in range(1, 40))
    assert sites == {("MAP", False): 23, ("BCP", True): 6, ("Stanford", True): 5, ("Emory", True): 5}
    assert site_of(40, 2019, "testing") == ("unknown", True)
    assert site_of(3, 2019, "testing") == ("unknown", True)
    assert site_of(15, 2017, "testing") == ("MAP", True)


def test_reads_the_users_table_of_sites(tmp_path):
    file = tmp_path / "sites.csv"
    file.write_bytes("\ufeffsite, subject,note\r\nOslo,24,x\r\n\r\n Bergen , 030,\r\n".encode())
    assert read_sites(file) == {24: "Oslo", 30: "Bergen"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("24,BCP\n", "columns 24,BCP"),
        ("", "columns"),
        ("subject,site\n24,BCP\n24,Emory\n", "line 3"),
        ("subject,site\nsubject-24,BCP\n", "line 2"),
        ("subject,site\n24,\n", "line 2"),
        ("subject,site\n24\n", "line 2"),
        ("subject,site\n24,\udcff\n", "not text"),
    ],
)
def test_refuses_a_bad_table_of_sites(tmp_path, text, found):
    file = tmp_path / "sites.csv"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=f"sites.csv.*{found}.*expected"):
        read_sites(file)
