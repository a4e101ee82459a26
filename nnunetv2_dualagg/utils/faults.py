"""What pydantic finds wrong, in one sentence."""

import re
from typing import Any

from pydantic import ValidationError

_EXPECTED = {
    "model_type": "keys with values",
    "dict_type": "keys with values",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a word",
    "list_type": "a list",
}
_OF_UNIONS = re.compile(r"str|int|float|Site|constrained-\w+|(list|literal)\[.*\]|\[key\]")
"""What pydantic puts into the place of a fault where a value may be of several types, or where a key is at fault."""


def sentence(error: ValidationError, root: str) -> str:
    """The deepest fault as ``WHERE is VALUE; expected ...``, and how many more there are.

    Args:
        error: what pydantic raised.
        root: what to call the whole input.
    """
    faults = error.errors(include_url=False, include_context=False)
    # where a value may be of several types, the type that it comes closest to fails last
    chosen = max(faults, key=lambda fault: len(fault["loc"]))
    place = _place(chosen["loc"])
    told = [chosen]
    if chosen["type"] == "missing":
        text = f"{_place(chosen['loc'][:-1]) or root} lacks {chosen['loc'][-1]}"
    elif chosen["type"] == "extra_forbidden":
        text = f"{_place(chosen['loc'][:-1]) or root} has the unknown key {chosen['loc'][-1]}"
    elif chosen["type"] == "value_error":
        reason = chosen["msg"].removeprefix("Value error, ")
        text = f"{place} {reason}" if place else reason
    else:
        told = [fault for fault in faults if _place(fault["loc"]) == place]
        expected = " or ".join(dict.fromkeys(map(_expected, told)))
        text = f"{place or root} is {_short(chosen['input'])}; expected {expected}"
    more = len(faults) - len(told)
    return text + (f" (and {more} more)" if more else "")


def _place(location: tuple[int | str, ...]) -> str:
    """``("methods", "plain", "num_gpus")`` -> ``methods: plain: num_gpus``; the types that unions add are left out."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not _OF_UNIONS.fullmatch(part):
            text += f": {part}" if text else part
    return text


def _expected(fault: Any) -> str:
    message = fault["msg"].removeprefix("Input should be ")
    return _EXPECTED.get(fault["type"], message)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
