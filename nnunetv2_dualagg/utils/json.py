"""Reading JSON files: the one place where foreign text becomes data of a known form."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nnunetv2_dualagg.utils.errors import UserError
from nnunetv2_dualagg.utils.faults import sentence
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
        UserError: the content has another form; the sentence names the first place.
    """
    try:
        _adapter(form).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise UserError(f"{where}: {sentence(error, 'its content')}") from error
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply") from error


@lru_cache
def _adapter(form: Any) -> TypeAdapter:
    return TypeAdapter(form)
