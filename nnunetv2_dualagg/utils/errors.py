"""The one exception that stands for a mistake of the user, not of the program, and the hint for a missing package."""


class UserError(Exception):
    """Bad input, told in one sentence: the file, what was found and what was expected.

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
