"""The same work on many cases, in several processes and with a progress bar."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

from tqdm import tqdm

from nnunetv2_dualagg.errors import UserError

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
    with _mapper(min(num_processes, len(items))) as mapper:
        return list(tqdm(mapper(function, items), total=len(items), unit=unit))


@contextmanager
def _mapper(num_processes: int) -> Iterator[Callable[..., Iterator[Any]]]:
    if num_processes <= 1:
        yield map
        return
    # "spawn" is safe beside threads and the same everywhere. Ctrl-C is left to this process, which stops the workers.
    ignore_ctrl_c = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
    pool = ProcessPoolExecutor(num_processes, get_context("spawn"), **ignore_ctrl_c)
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise UserError("a worker process was killed, probably for lack of memory; give a smaller -np") from error
    finally:
        pool.shutdown(cancel_futures=True)
