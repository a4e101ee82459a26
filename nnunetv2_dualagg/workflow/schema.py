"""Dataclasses from what YAML gives, with an error that says what is wrong where."""

import re
from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from nnunetv2_dualagg.utils.errors import UserError

_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a word",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    Mapping: "lines of 'key: value'",
    type(None): "null",
}


def make(kind: type, options: Any, where: str, *args: Any) -> Any:
    """A dataclass from the options of the same names.

    Args:
        kind: the dataclass; its annotations say what the options have to be.
        options: what was read from YAML.
        where: what to call it in an error.
        args: values of the first fields.

    Raises:
        UserError: the options have an unknown key, lack one, or a value is of another kind.
    """
    options = mapping(options, where)
    known = [f.name for f in fields(kind)][len(args) :]
    unknown = [str(key) for key in options if key not in known]
    if unknown:
        raise UserError(f"{where} has the unknown key {unknown[0]}; expected some of {', '.join(known)}")
    hints = get_type_hints(kind)
    for key, value in options.items():
        if not _fits(value, hints[key]):
            expected = " or ".join(_WORDS[_kind(hint)] for hint in _kinds(hints[key]))
            raise UserError(f"{where}: {key} is {value!r}; expected {expected}")
    try:
        return kind(*args, **options)
    except TypeError as error:
        missing = ", ".join(re.findall(r"'(\w+)'", str(error)))
        raise UserError(f"{where} lacks {missing}") from error


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """The value, if it is a mapping.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, Mapping):
        raise UserError(f"{where} is {value!r}; expected lines of 'key: value'")
    return value


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


def _kind(hint: Any) -> Any:
    return get_origin(hint) or hint


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from YAML is what the annotation of a dataclass's field says; lists are looked into."""
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    if not isinstance(value, (int, float) if hint is float else _kind(hint)):
        return False
    return not isinstance(value, list) or all(_fits(item, get_args(hint)[0]) for item in value)
