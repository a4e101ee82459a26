"""What pydantic finds wrong, in one sentence."""

from typing import Any

from pydantic import ValidationError

_EXPECTED = {
    "model_type": "lines of 'key: value'",
    "dict_type": "lines of 'key: value'",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a word",
    "list_type": "a list",
}


def sentence(error: ValidationError, root: str = "the file") -> str:
    """The first fault as ``WHERE is VALUE; expected ...``, and how many more there are.

    Args:
        error: what pydantic raised.
        root: what to call the whole input.
    """
    faults = error.errors(include_url=False)
    first = faults[0]
    place = _place(first["loc"])
    where = place or root
    if first["type"] == "missing":
        text = f"{_place(first['loc'][:-1]) or root} lacks {first['loc'][-1]}"
    elif first["type"] == "extra_forbidden":
        text = f"{_place(first['loc'][:-1]) or root} has the unknown key {first['loc'][-1]}"
    elif first["type"] == "value_error":
        reason = first["msg"].removeprefix("Value error, ")
        text = f"{place} {reason}" if place else reason
    else:
        same = [fault for fault in faults if _place(fault["loc"]) == place]  # one for each type of a union
        text = f"{where} is {first['input']!r}; expected {' or '.join(dict.fromkeys(map(_expected, same)))}"
        faults = [first, *(fault for fault in faults if fault not in same)]
    more = len(faults) - 1
    return text + (f" (and {more} more)" if more else "")


def _place(location: tuple[int | str, ...]) -> str:
    """``("methods", "plain", "num_gpus")`` -> ``methods: plain: num_gpus``; the types that unions add are left out."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in ("str", "list[str]") and not part.startswith("literal["):
            text += f": {part}" if text else part
    return text


def _expected(fault: Any) -> str:
    message = fault["msg"].removeprefix("Input should be ")
    return _EXPECTED.get(fault["type"], message)
