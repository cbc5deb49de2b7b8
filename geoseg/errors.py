"""The errors that geoseg raises, in one small tree. The library raises them; only the command line prints them.

A message is one line and gives the file, the value and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

PARAMETER_FIRST = re.compile(r"`(\w+)`")


SECRET_PARTS = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?:[^\s/?#]*@)?(?P<place>[^\s?#\"'|,;)\]]*)(?:[?#][^\s\"'|,;)\]]*)?",
    re.IGNORECASE,
)
"""User and password before the host; a signature or a key behind `?` or `#`."""
SECRET_OPTIONS = re.compile(r"(/vsicurl)\?[^\s\"'|,;)\]]*", re.IGNORECASE)
"""GDAL's way of giving headers and the address together."""


def hide_secrets(text: str) -> str:
    """A text in which addresses have nothing but scheme, host and path."""
    return SECRET_PARTS.sub(r"\g<scheme>\g<place>", SECRET_OPTIONS.sub(r"\1", text))


class GeosegError(Exception):
    """A failure while working: the command ends with exit code 1. Secrets in addresses are cut from its message."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(hide_secrets(message))

    @property
    def parameter(self) -> str | None:
        """The parameter that is wrong, where the message begins with one: `min_area_m2` -3: give zero or more."""
        match = PARAMETER_FIRST.match(str(self))
        return match[1] if match else None


class InputError(GeosegError):
    """Misuse, or input that cannot be used: the command ends with exit code 2."""

    exit_code = 2


class WriteError(GeosegError):
    """A file that could not be written: the disk is at fault, so that nothing that was to be written may be done without."""


TORCH_PACKAGES = {"torch", "segmentation_models_pytorch", "timm", "onnx", "onnxscript"}
"""What a GPU, training and converting models need, and running them on a CPU does not."""
INSTALL_TORCH = 'pip install "geoseg[torch]"'
INSTALL_HUB = 'pip install "geoseg[hub]"'


@contextmanager
def explain_missing_torch(purpose: str) -> Iterator[None]:
    """Say in one line what is not installed for some purpose, and the command that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TORCH_PACKAGES:
            raise
        raise InputError(f"{purpose} needs {error.name}, which is not installed: {INSTALL_TORCH}") from error


LONGEST_REASON = 160


def shorten_error(error: Exception) -> str:
    """An error of another library as a part of one line; of one that the system raised its words, not its number."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(said.split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"
