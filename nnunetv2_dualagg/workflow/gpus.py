"""``python -m nnunetv2_dualagg.workflow.gpus N COMMAND ...``: run a command on GPUs that no other such command uses.

nnU-Net takes the first GPU it sees. On a computer with several, Snakemake starts as many jobs as there are GPUs but
does not say which is whose; this does, with a lock per GPU, which ends with the process that holds it. Where no more
GPUs are visible than the command may have, as in a SLURM job, it just runs the command.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """The GPUs that CUDA may use here, by the names that CUDA_VISIBLE_DEVICES has for them."""
    if VARIABLE in os.environ:
        return [name for name in os.environ[VARIABLE].split(",") if name]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


@contextmanager
def free_gpus(number: int, gpus: Sequence[str], locks: Path) -> Iterator[list[str]]:
    """Reserve GPUs, waiting until enough are free.

    Args:
        number: how many.
        gpus: their names; at least ``number``.
        locks: folder for the lock files, the same for all commands that share the GPUs.
    """
    locks.mkdir(parents=True, exist_ok=True)
    while True:
        with ExitStack() as stack:
            mine = []
            for gpu in gpus:
                try:
                    stack.enter_context(FileLock(locks / gpu, blocking=False))
                except Timeout:
                    continue
                mine.append(gpu)
                if len(mine) == number:
                    yield mine
                    return
        time.sleep(1)


def main() -> int:
    """Run the command and return its exit code."""
    number, command = int(sys.argv[1]), sys.argv[2:]
    gpus = visible_gpus()
    if len(gpus) <= number:
        return subprocess.call(command)
    with free_gpus(number, gpus, Path("done/gpus")) as mine:
        print(f"{VARIABLE}={','.join(mine)}", flush=True)
        return subprocess.call(command, env=os.environ | {VARIABLE: ",".join(mine)})


if __name__ == "__main__":
    sys.exit(main())
