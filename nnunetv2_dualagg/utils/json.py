"""Reading JSON files."""

import json
from pathlib import Path
from typing import Any

from nnunetv2_dualagg.utils.errors import UserError


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: the file is no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}") from error
