"""The one exception that stands for a mistake of the user, not of the program."""


class UserError(Exception):
    """Bad input, told in one sentence: the file, what was found and what was expected.

    The command line prints it without a traceback and exits with code 1.
    """
