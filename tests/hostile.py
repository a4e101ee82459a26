"""Running commands in the way they must survive: killed at any moment, on a full disk, with any bytes as input.

Commands run in a forked child, which has all imports already, so that one takes as long as its work.
"""

import hashlib
import io
import json
import os
import random
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
import yaml
from packed_model import with_content

from nnunetv2_dualagg import cli
from nnunetv2_dualagg.utils.files import MARK


class Child:
    """A command in a process group of its own.

    Args:
        arguments: those of ``nnUNetv2_dualagg``.
        most_bytes: how large a file may grow, as if the disk were full then.
    """

    def __init__(self, arguments, most_bytes: int | None = None) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reader)
            self._work(writer, most_bytes)
        os.close(writer)

    def _work(self, writer: int, most_bytes: int | None) -> None:
        code = 70
        try:
            os.setsid()
            torch.set_num_threads(1)  # the threads of the parent, which it may have used, are not there
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(writer, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
            code = cli.main(self.arguments)
            sys.stderr.flush()
        except SystemExit as error:
            code = error.code
            sys.stderr.flush()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)

    def kill(self) -> None:
        """SIGKILL for the whole group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # not yet a group
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float = 900) -> tuple[int, str]:
        """The exit code, negative after a signal, and what the command wrote to stderr."""
        parts, deadline = [], time.monotonic() + timeout
        while True:
            if not select.select([self.reader], [], [], max(0, deadline - time.monotonic()))[0]:
                self.kill()
                os.waitpid(self.pid, 0)
                raise AssertionError(f"{self.arguments} hangs")
            part = os.read(self.reader, 65536)
            if not part:
                break
            parts.append(part)
        os.close(self.reader)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return code, b"".join(parts).decode(errors="replace")


def run(arguments, **options) -> tuple[int, str]:
    """Run a command to its end."""
    return Child(arguments, **options).wait()


def assert_one_sentence(code: int, errors: str, on_stdout: bool = False) -> None:
    """The end of a command that was given something bad: done, or refused for a reason that was foreseen."""
    assert code in (0, 1, 2), errors[-3000:]
    assert "Traceback" not in errors, errors[-3000:]
    assert cli.FAULT not in errors, errors[-3000:]
    if code and not on_stdout:
        assert "rror: " in errors.splitlines()[-1], errors[-3000:]


def digests(folder: Path) -> dict[str, str]:
    """Relative path -> digest of each file."""
    if folder.is_file():
        return {"": hashlib.sha256(folder.read_bytes()).hexdigest()}
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != MARK)
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


JUNK = (None, [], {}, "", "x", "../x", "a__b", -1, 0, 1e308, 2**70, True, [None], [[]], {"a": 1}, "os.system", "\ud800")


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """A file with something cut, flipped, inserted, removed, repeated or overwritten."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place = rng.randrange(max(1, len(data)))
        if rng.random() < 0.4:
            place = rng.randrange(max(1, min(len(data), 400)))  # where headers are
        kind = rng.randrange(7)
        if kind == 0:
            del data[place:]
        elif kind == 1 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[place:place] = rng.randbytes(rng.choice((1, 2, 8, 400)))
        elif kind == 3:
            del data[place : place + rng.choice((1, 2, 8, 400))]
        elif kind == 4:
            data[place : place + 4] = rng.choice((b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
        elif kind == 5:
            data += data[place : place + 1000]
        else:
            data[place : place + 2] = rng.choice((b"\x01\x00", b"\xff\x7f", b"\x00\x80", b"\xff\xff", b"\x00\x00"))
    return bytes(data)


def mutate_file(file: Path, good: bytes, rng: random.Random) -> bytes:
    """Damage a file: its bytes, or, where its format is known, what it says."""
    if rng.random() < 0.2:
        return mutate_bytes(good, rng)
    if file.suffix == ".json":
        return json.dumps(mutate_json(json.loads(good), rng)).encode()
    if file.suffix == ".yaml":
        return yaml.safe_dump(mutate_json(yaml.safe_load(good), rng)).encode()
    if file.suffix == ".safetensors":
        return with_content(good, lambda content: mutate_json(content, rng))
    if file.suffix == ".pth":
        buffer = io.BytesIO()
        torch.save(mutate_json(torch.load(io.BytesIO(good)), rng), buffer)
        return buffer.getvalue()
    return mutate_bytes(good, rng)


def mutate_json(content, rng: random.Random):
    """Content as of JSON with a value replaced, removed or added somewhere, at any depth."""
    if isinstance(content, (dict, list)) and content and rng.random() < 0.85:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = rng.choice(keys)
        changed = content.copy()
        roll = rng.random()
        if roll < 0.7:
            changed[key] = mutate_json(content[key], rng)
        elif roll < 0.85:
            del changed[key]
        elif isinstance(changed, dict):
            changed[rng.choice(("", "x", "../x", "a__b", "\ud800"))] = rng.choice(JUNK)
        else:
            changed.append(rng.choice(JUNK))
        return changed
    return rng.choice(JUNK)
