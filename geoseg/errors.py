"""What can go wrong, in one small tree. The library raises these; only the command line prints them.

A message is one line and gives the file, the value and the remedy.
"""


class GeosegError(Exception):
    """A failure while working: the command ends with exit code 1."""

    exit_code = 1


class InputError(GeosegError):
    """Misuse, or input that cannot be used: the command ends with exit code 2."""

    exit_code = 2
