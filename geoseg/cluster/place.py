"""A folder that this machine and its workers share, and the way to tell that they do.

A worker that does not see the folder, or another version of geoseg, would waste hours: every task looks first. The note in
the folder also tells workers that nobody waits for them any more.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoseg import __version__
from geoseg.errors import GeosegError, InputError
from geoseg.io.atomic import explain_write_errors
from geoseg.io.trust import is_trusted

NOTE = ".at-work-"


@dataclass(frozen=True)
class SharedPlace:
    """What a task is told of where it belongs; any process can have it."""

    folder: Path
    token: str
    version: str = __version__
    is_trusted: bool = False
    threads: int | None = None
    """For a worker, where whoever started it settled them."""

    def check(self) -> None:
        """Refuse to work with another version, out of sight of the folder, or when nobody waits for it any more."""
        if self.version != __version__:
            raise GeosegError(
                f"{name_process()} has geoseg {__version__}, and {self.version} asks it to work; install the same version on all machines"
            )
        if not self.is_there():
            raise InputError(
                f"{name_process()} does not see the folder {self.folder} as the machine does that asks it to work; give "
                "outputs in a folder that all machines share, by the same path"
            )

    def is_there(self) -> bool:
        """Whether this process sees the note of the one that asks."""
        return (self.folder / f"{NOTE}{self.token}").exists()


def name_process() -> str:
    """What people may know this process by."""
    return f"the worker {os.getpid()} on {socket.gethostname()}"


@contextmanager
def name_worker_in_errors() -> Iterator[None]:
    """Say on which machine something is wrong."""
    try:
        yield
    except GeosegError as error:
        raise type(error)(f"{name_process()}: {error}") from error


@contextmanager
def share_place(folder: Path, threads: int | None = None, *, alone: bool = True) -> Iterator[SharedPlace]:
    """Let workers know the folder by a note in it, as long as this block lasts.

    Whoever has the folder alone takes away the notes of killed runs, so that their workers stop.
    """
    for earlier in folder.glob(f"{NOTE}*") if alone else ():
        earlier.unlink(missing_ok=True)
    place = SharedPlace(folder.absolute(), uuid.uuid4().hex, is_trusted=is_trusted(), threads=threads)
    note = folder / f"{NOTE}{place.token}"
    with explain_write_errors(note):
        note.touch()
    try:
        yield place
    finally:
        note.unlink(missing_ok=True)
