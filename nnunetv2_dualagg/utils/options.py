"""Types of command line options that check their ranges; argparse puts the option's name before their messages."""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable

from nnunetv2_dualagg.utils.names import is_name


def whole(low: int, high: int = 10**9) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``."""

    def parse(text: str) -> int:
        try:
            value = int(text) if len(text) < 20 else None
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise ArgumentTypeError(f"found {text[:50]!r}; expected a whole number from {low} to {high}")
        return value

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """A number above ``low`` and up to ``high``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low < value <= high:
            raise ArgumentTypeError(f"found {text[:50]!r}; expected a number above {low:g} and up to {high:g}")
        return value

    return parse


def name(text: str) -> str:
    """A name as :func:`names.is_name` takes it."""
    if not is_name(text):
        raise ArgumentTypeError(f"found {text[:100]!r}; expected letters, digits and . + - _ without '..' and '__'")
    return text


def fold(text: str) -> int | str:
    """The number of a fold, or ``all``."""
    return text if text == "all" else whole(0, 9999)(text)


PROCESSES = whole(1, 1024)
VOXELS = whole(1, 4096)
