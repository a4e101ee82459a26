"""Fetch Baby Open Brains from its public bucket: every file verified, and complete or absent."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nnunetv2_dualagg.dataset_conversion.bobs.layout import AGES
from nnunetv2_dualagg.dataset_conversion.bobs.origin import BOBS
from nnunetv2_dualagg.dataset_conversion.bobs.registry import ARCHIVE, BASE_URL, RemoteFile, load_registry, of_ages
from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import new_file, remove_abandoned

RETRIES = 3

_CHUNK = 1 << 16
_TIMEOUT = (20, 60)  # s, to connect and between two pieces
_AS_IT_IS = {"Accept-Encoding": "identity"}
_MISSING = (403, 404, 410)  # the bucket says 403 for a file that is not there


def download_bobs(
    output: Path,
    ages: Iterable[int] | None = None,
    url: str = BASE_URL,
    registry: Sequence[RemoteFile] | None = None,
    retries: int = RETRIES,
) -> Path:
    """Fetch sessions of Baby Open Brains, and say on the screen how much will come and on what terms.

    A file appears in ``output`` when it is complete and its SHA-256 is right, so an interrupted download resumes where
    it stopped when called again. Files that are there are verified too, and fetched again if they are wrong.

    Args:
        output: the folder, made if it is missing; the bucket's folders go into it, and ``origin.json``.
        ages: in months, 1 to 8; None for all sessions.
        url: the bucket, or a mirror of it.
        registry: the files there are; None for those that are known to the package.
        retries: how often to try once more when a file does not come well.

    Returns:
        ``output``.

    Raises:
        UserError: there is no such age, no room on the disk, no connection, or a file is missing or stays wrong.
    """
    output, url = Path(output), url.rstrip("/") + "/"
    ages = None if ages is None else sorted(set(ages))
    if wrong := set(ages or []) - set(AGES):
        raise UserError(f"there are no sessions of {min(wrong)} months; expected some of {AGES[0]} to {AGES[-1]}")
    wanted = of_ages(load_registry() if registry is None else registry, ages)
    output.mkdir(parents=True, exist_ok=True)
    for line in _announcement(wanted, output):
        print(line)
    _check_room(wanted, output)
    BOBS.write(output)
    _fetch(wanted, output, url, retries)
    return output


def _announcement(wanted: Sequence[RemoteFile], output: Path) -> Iterator[str]:
    sessions = {file.session for file in wanted if file.session}
    infants = {subject for subject, _ in sessions}
    here = sum(file.size for file in wanted if _is_there(file, output))
    yield f"{BOBS.name}: {BOBS.description}"
    yield f"Licence: {BOBS.licence}. You may use and share it if you cite:"
    yield f"  {BOBS.citation}"
    total = _size(sum(file.size for file in wanted))
    yield f"{len(sessions)} sessions of {len(infants)} infants: {len(wanted)} files, {total}"
    if here:
        yield f"{_size(here)} of it are in {output} already and will only be verified"


def _is_there(file: RemoteFile, output: Path) -> bool:
    path = output / file.path
    return path.is_file() and path.stat().st_size == file.size


def _check_room(wanted: Sequence[RemoteFile], output: Path) -> None:
    needed = sum(file.size for file in wanted if not _is_there(file, output))
    free = shutil.disk_usage(output).free
    if needed > free:
        raise UserError(f"{output} has {_size(free)} free; expected {_size(needed)} for the download")


def _fetch(wanted: Sequence[RemoteFile], output: Path, url: str, retries: int) -> None:
    import pooch

    files = {file.path: file for file in wanted}
    level = pooch.get_logger().level
    pooch.get_logger().setLevel("WARNING")  # the progress bar says enough
    try:
        with tqdm(total=sum(file.size for file in wanted), unit="B", unit_scale=True, desc="BOBs") as bar:
            for path, file in files.items():
                before, target = bar.n, output / path
                if not (_is_there(file, output) and pooch.file_hash(str(target), alg="sha256") == file.sha256):
                    # pooch's own temporary files would stay after a kill; a workplace is removed by the next command
                    with new_file(target, overwrite=True) as part, _telling(url, file, output, 1 + retries):
                        store = pooch.create(part.parent, url, registry={path: file.sha256}, retry_if_failed=retries)
                        fetched = Path(store.fetch(path, downloader=_Downloader(url, files, bar)))
                        _usual_permissions(fetched)
                        fetched.rename(part)
                else:
                    remove_abandoned(target.parent)
                bar.update(before + file.size - bar.n)  # a file that was there has not moved the bar
    finally:
        pooch.get_logger().setLevel(level)


class _Downloader:
    """Fetches one file for pooch, which verifies it, puts it in its place and tries again if it is wrong."""

    def __init__(self, url: str, files: Mapping[str, RemoteFile], bar: tqdm) -> None:
        self.url, self.files, self.bar = url, files, bar

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        import requests

        file, received = self.files[url.removeprefix(self.url)], 0
        try:
            with (
                requests.get(url, stream=True, timeout=_TIMEOUT, headers=_AS_IT_IS) as response,
                open(output_file, "wb") as target,
            ):
                if response.status_code in _MISSING:  # trying again would not help
                    raise UserError(
                        f"{url} does not exist (status {response.status_code}); expected {_size(file.size)}"
                    )
                response.raise_for_status()
                for chunk in response.iter_content(_CHUNK):
                    received += len(chunk)
                    if received > file.size:
                        raise ValueError(f"received more than {file.size} bytes")
                    target.write(chunk)
                    self.bar.update(len(chunk))
            if received < file.size:
                raise ValueError(f"received {received} bytes; expected {file.size}")
        except (ValueError, requests.RequestException):
            self.bar.update(-min(received, file.size))
            raise


@contextmanager
def _telling(url: str, file: RemoteFile, output: Path, attempts: int) -> Iterator[None]:
    """One sentence for what the network or the server did."""
    import requests

    try:
        yield
    except (requests.ConnectionError, requests.Timeout) as error:
        raise UserError(
            f"{url}{file.path} cannot be fetched ({_reason(error)}); expected a connection to the internet. What "
            f"has arrived is kept: type the same command again. By hand: download {url}{ARCHIVE} on another computer, "
            f"unzip it into {output}, and continue with convert_bobs"
        ) from error
    except requests.RequestException as error:
        raise UserError(
            f"{url}{file.path} cannot be fetched ({_reason(error)}); type the same command again"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{url}{file.path} is not the expected file, tried {attempts} times ({_reason(error)}); "
            f"nothing of it was kept"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _usual_permissions(path: Path) -> None:
    """Give a file the permissions that the user's other files have; temporary ones are for him alone."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def _size(number: int) -> str:
    for unit, digits in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= digits:
            return f"{number / digits:.2f} {unit}"
    return f"{number} bytes"
