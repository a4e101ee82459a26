"""Reading JSON files: the one place where what a stranger wrote becomes data of a known form."""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.files import regular_file


def read_json(file: Path, form: Any = Any) -> Any:
    """The content of a JSON file.

    Args:
        file: the file.
        form: what the content has to be: a type or a model of :mod:`utils.forms`.

    Returns:
        Plain lists and dicts, with everything that is in the file.

    Raises:
        UserError: the file is no JSON, or its content is of another form.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(regular_file(file).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not valid JSON: {error}") from error
    check_form(content, form, str(file))
    return content


def check_form(content: Any, form: Any, where: str) -> None:
    """Compare content with a form.

    Args:
        content: what was read.
        form: see :func:`read_json`.
        where: the file, for the sentence.

    Raises:
        UserError: the content is of another form; the sentence tells the first place where.
    """
    try:
        _adapter(form).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        fault = max(error.errors(include_url=False, include_context=False), key=lambda fault: len(fault["loc"]))
        place = ".".join(str(part) for part in fault["loc"] if not _OF_UNIONS.fullmatch(str(part)))
        if fault["type"] == "missing":
            raise UserError(f"{where} lacks {place}") from error
        expected = fault["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        found = "" if fault["type"] == "value_error" else f" is {_short(fault['input'])}"
        raise UserError(f"{where}: {place or 'its content'}{found}; {expected}") from error
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply") from error


_OF_UNIONS = re.compile(r"str|int|float|Site|constrained-\w+|list\[.*\]")
"""What pydantic puts into the place of a fault where a value may be of several types."""


@lru_cache
def _adapter(form: Any) -> TypeAdapter:
    return TypeAdapter(form)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
