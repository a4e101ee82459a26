"""The one pattern for names that become parts of paths and of commands."""

import re

from nnunetv2_dualagg.utils.errors import UserError

NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_+-]|\.(?!\.)){0,99}")
_DATASET = re.compile(rf"Dataset\d{{3}}_{NAME.pattern}")
_RESERVED = {"dataset", "dataset_fingerprint", "splits_final"}


def is_name(text: object) -> bool:
    """Whether a text may name a method, an ensemble, a trainer, plans, a configuration or a dataset.

    Such a name is no path, no option and no shell text, and it has no ``__``, at which nnU-Net splits names again.
    """
    return isinstance(text, str) and NAME.fullmatch(text) is not None and "__" not in text


def is_dataset(text: str) -> bool:
    """Whether a text may be the full name of a dataset."""
    return _DATASET.fullmatch(text) is not None and "__" not in text


def check_name(text: object, what: str) -> None:
    """Refuse what is no name.

    Args:
        text: the name.
        what: what it names, for the sentence.

    Raises:
        UserError: it is none.
    """
    if not is_name(text):
        raise UserError(
            f"{what} is {text!r}; expected a name of letters, digits and . + - _, which begins with a letter, a digit "
            "or _ and has neither '..' nor '__'"
        )


def is_text(name: str) -> bool:
    """Whether a file's name is text that can be written to a table; Linux allows any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.isprintable()


def check_plans_name(text: str) -> None:
    """Refuse a name under which plans would replace another file of nnU-Net's.

    Raises:
        UserError: it is no name, or a name that nnU-Net has given to another file.
    """
    check_name(text, "the plans' name")
    if text in _RESERVED:
        raise UserError(f"the plans' name is {text}, which nnU-Net uses for another file; choose another one")
