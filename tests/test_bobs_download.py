import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from iseg_files import files_in
from loopback_server import Server

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.dataset_conversion.bobs import download
from nnunetv2_dualagg.dataset_conversion.bobs.download import download_bobs
from nnunetv2_dualagg.dataset_conversion.bobs.origin import BOBS
from nnunetv2_dualagg.dataset_conversion.bobs.registry import BASE_URL, RemoteFile, load_registry, of_ages
from nnunetv2_dualagg.utils.errors import UserError

SCRIPT = Path(__file__).parents[1] / "scripts" / "make_bobs_registry.py"
KINDS = ("T1w", "T2w", "desc-aseg_dseg")


def path_of(subject, age, kind):
    return f"sub-{subject}/ses-{age}mo/anat/sub-{subject}_ses-{age}mo_space-INFANTMNIacpc_{kind}.nii.gz"


FILES = {
    "phenotype/sessions.tsv": b"session_id\tage\n",
    **{
        path_of(subject, age, kind): f"{subject} {age} {kind} ".encode() * 20_000
        for subject, age in (("11", 6), ("11", 3), ("22", 6))
        for kind in KINDS
    },
}
REGISTRY = [RemoteFile(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in FILES.items()]
ONE = path_of("11", 6, "T2w")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", lambda _: None)  # pooch waits before it tries again
    with Server(FILES) as server:
        yield server


def fetch(folder, server, **options):
    return download_bobs(folder, url=server.url, registry=REGISTRY, **options)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in files_in(folder) if name != "origin.json"}


def test_all_files_come_and_say_what_they_are(tmp_path, server, capsys):
    assert contents(fetch(tmp_path / "bobs", server)) == FILES
    said = capsys.readouterr().out
    assert BOBS.licence in said
    assert BOBS.citation in said
    total = sum(map(len, FILES.values())) / 1e6
    assert f"3 sessions of 2 infants: 10 files, {total:.2f} MB" in said
    assert json.loads((tmp_path / "bobs" / "origin.json").read_text())["licence"] == BOBS.licence
    other = tmp_path / "other"
    other.touch()
    assert {f.stat().st_mode for f in (tmp_path / "bobs").rglob("*") if f.is_file()} == {other.stat().st_mode}


def test_only_some_ages(tmp_path, server):
    got = contents(fetch(tmp_path / "bobs", server, ages=[3]))
    assert set(got) == {"phenotype/sessions.tsv", *(path_of("11", 3, kind) for kind in KINDS)}


def test_what_is_there_is_verified_and_not_fetched_again(tmp_path, server, capsys):
    fetch(tmp_path, server, ages=[3])
    spoilt = tmp_path / path_of("11", 3, "T1w")
    spoilt.write_bytes(bytes(len(FILES[path_of("11", 3, "T1w")])))  # of the right size
    server.requests.clear()
    capsys.readouterr()
    assert contents(fetch(tmp_path, server)) == FILES
    assert server.requests == Counter(
        [path_of("11", 3, "T1w"), *(path_of(s, 6, kind) for s in ("11", "22") for kind in KINDS)]
    )
    assert f"{tmp_path} already and will only be verified" in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["truncate", "drop", "corrupt", "longer", 500, 503])
def test_a_fault_that_passes_is_overcome(tmp_path, server, fault):
    server.faults[ONE] = [fault, fault]
    assert contents(fetch(tmp_path, server)) == FILES
    assert server.requests[ONE] == 3


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("truncate", "is not the expected file, tried 3 times .* bytes; expected"),
        ("drop", r"cannot be fetched \(.*type the same command again"),
        ("corrupt", "is not the expected file, tried 3 times .*hash"),
        ("longer", "is not the expected file, tried 3 times .*more than"),
        (500, r"cannot be fetched \(500"),
    ],
)
def test_a_fault_that_stays_names_the_file_and_leaves_no_half_of_it(tmp_path, server, fault, sentence):
    server.faults[ONE] = [fault] * 9
    with pytest.raises(UserError, match=f"{server.url}{ONE} {sentence}"):
        fetch(tmp_path, server, retries=2)
    assert server.requests[ONE] == 3
    before = contents(tmp_path)
    assert before
    assert before.items() <= FILES.items()  # what came before is whole, and nothing else is there
    server.faults.clear()
    assert contents(fetch(tmp_path, server)) == FILES


@pytest.mark.parametrize("status", [403, 404])
def test_a_missing_file_is_not_asked_for_again(tmp_path, server, status):
    server.faults[ONE] = [status]
    with pytest.raises(UserError, match=f"{ONE} does not exist .status {status}"):
        fetch(tmp_path, server)
    assert server.requests[ONE] == 1
    assert ONE not in contents(tmp_path)


def test_without_internet_it_says_what_to_do_by_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with Server({}) as closed:
        url = closed.url
    assert cli.main(["download_bobs", "-o", str(tmp_path / "bobs"), "-ages", "6", "-url", url]) == 1
    error = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("Error"))
    assert f"download {url}V1.0.zip on another computer, unzip it into {tmp_path / 'bobs'}" in error
    assert files_in(tmp_path / "bobs") == ["origin.json"]


def test_a_full_disk_is_told_before(tmp_path, server, monkeypatch):
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"has 1\.00 kB free; expected .* MB"):
        fetch(tmp_path, server)
    assert server.requests == {}


@pytest.mark.parametrize("ages", [[0], [6, 9]])
def test_ages_that_do_not_exist(tmp_path, ages):
    with pytest.raises(UserError, match=r"no sessions of [09] months; expected some of 1 to 8"):
        download_bobs(tmp_path, ages)


def test_ctrl_c_leaves_whole_files_only(tmp_path, server):
    program = (
        "import sys; from nnunetv2_dualagg import cli; from nnunetv2_dualagg.dataset_conversion.bobs import download\n"
        "def slow(self, url, file, pooch):\n"
        "    open(file, 'wb').write(b'half')\n"
        "    print('begun', flush=True)\n"
        "    __import__('time').sleep(60)\n"
        "download._Downloader.__call__ = slow\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "download_bobs", "-o", str(tmp_path / "bobs"), "-url", server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    while process.stdout.readline().strip() != "begun":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.rstrip().endswith("Interrupted.")
    assert files_in(tmp_path / "bobs") == ["origin.json"]


def test_the_package_knows_every_file_of_the_bucket():
    registry = load_registry()
    sessions = Counter(file.session for file in registry if file.session)
    assert set(sessions.values()) == {3}
    assert Counter(age for _, age in sessions) == dict(zip(range(1, 9), (7, 7, 10, 8, 10, 9, 10, 10), strict=True))
    assert len({subject for subject, _ in sessions}) == 51
    assert len(of_ages(registry, [5, 6, 7])) == 3 * 29 + 1
    assert BASE_URL.startswith("https://")


def run_script(table, target):
    return subprocess.run([sys.executable, SCRIPT, table, "-o", target], capture_output=True, text=True, check=False)


def test_the_script_makes_the_list_of_the_package(tmp_path):
    table = tmp_path / "files.tsv"
    rows = [f"{file.path}\t{file.size}\t{file.sha256}" for file in reversed(load_registry())]
    table.write_text("\n".join(["path\tbytes\tsha256", f"V1.0.zip\t9\t{'0' * 64}", *rows]))
    done = run_script(table, tmp_path / "registry.tsv")
    assert "214 files, 71 sessions, 51 infants" in done.stdout
    assert (tmp_path / "registry.tsv").read_text() == Path(download.__file__).with_name("registry.tsv").read_text()


def test_the_script_refuses_what_cannot_be_right(tmp_path):
    table = tmp_path / "files.tsv"
    table.write_text(f"path\tbytes\tsha256\n{ONE}\t5\tabc\nsub-1/other.nii.gz\t5\t{'0' * 64}\n")
    done = run_script(table, tmp_path / "registry.tsv")
    assert done.returncode == 1
    for words in ("the SHA-256 'abc'", "sub-1/other.nii.gz is neither", "sub-11/ses-6mo has 1 files; expected 3"):
        assert words in done.stderr
    assert not (tmp_path / "registry.tsv").exists()
