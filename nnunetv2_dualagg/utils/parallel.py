"""Work on many cases at a time, in processes or threads, with a progress bar."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

from nnunetv2_dualagg.utils.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_num_processes() -> int:
    """As many processes as there are processors, at most 8 as in nnU-Net."""
    return min(8, os.cpu_count() or 1)


def run_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], num_processes: int, unit: str = "case"
) -> list[Result]:
    """Apply a function to all items and show a progress bar.

    Args:
        function: can be pickled, if there is more than one process.
        items: likewise.
        num_processes: 1 stays in this process.
        unit: what the progress bar counts.

    Returns:
        The results by the order of the items. A failure is raised, the first by that order, once no worker runs on.

    Raises:
        UserError: a worker was killed.
    """
    num_processes = min(num_processes, len(items))
    if num_processes <= 1:
        return _listed(map(function, items), len(items), unit)
    pool = ProcessPoolExecutor(num_processes, get_context("spawn"))  # safe beside threads, and the same everywhere
    try:
        with _ctrl_c_ignored():
            results = pool.map(function, items)  # starts the workers
        return _listed(results, len(items), unit)
    except BrokenProcessPool as error:
        raise UserError("a worker process was killed, probably for lack of memory; give a smaller -np") from error
    finally:
        pool.shutdown(cancel_futures=True)


def run_threads(
    function: Callable[[Item], Result], items: Sequence[Item], num_threads: int, title: str, unit: str = "case"
) -> list[Result]:
    """Apply a function that leaves Python's lock free to all items, and show a progress bar.

    Args:
        function: what to do.
        items: with what.
        num_threads: how many items to work on at a time.
        title: what the progress bar says.
        unit: what it counts.

    Returns:
        The results by the order of the items. A failure is raised at once; what has not started then never starts.
    """
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc=title, unit=unit):
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def _listed(results: Iterable[Result], total: int, unit: str) -> list[Result]:
    return list(tqdm(results, total=total, unit=unit))


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """For the workers, which inherit it: Ctrl-C is then left to this process, which stops them in good order."""
    if threading.current_thread() is not threading.main_thread():  # then signals go elsewhere
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
