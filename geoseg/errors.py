"""The errors that geoseg raises, in one small tree. The library raises them; only the command line prints them.

A message is one line and gives the file, the value and the remedy.
"""

from __future__ import annotations


class GeosegError(Exception):
    """A failure while working: the command ends with exit code 1."""

    exit_code = 1


class InputError(GeosegError):
    """Misuse, or input that cannot be used: the command ends with exit code 2."""

    exit_code = 2


LONGEST_REASON = 160


def shorten_error(error: Exception) -> str:
    """An error of another library as a part of one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"
