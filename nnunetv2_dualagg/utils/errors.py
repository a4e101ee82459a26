"""The exception for a mistake of the user, not of the program, and the hint for a missing package."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Bad input, described in one sentence: the file, what was found and what was expected.

    The command line prints it without a traceback and exits with code 1.
    """


def needs_extra(what: str, packages: str, extra: str) -> UserError:
    """What to say where packages of an extra are not installed.

    Args:
        what: what is to be done, such as "the export".
        packages: the packages, in words.
        extra: the extra that brings them.
    """
    return UserError(f'{what} needs {packages}; type: pip install "nnunetv2-dualagg[{extra}]"')


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Put whatever other people's code raises on foreign files into one sentence.

    Args:
        where: which file, and what cannot be done with it.

    Raises:
        UserError: in place of any exception except those that the command line turns into a sentence anyway.
    """
    try:
        yield
    except (UserError, OSError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
