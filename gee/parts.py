"""The finished tiles of one layer, one file each: the files are the journal that a stopped export goes on from."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import IO

from geoseg.errors import GeosegError
from geoseg.raster.grid import Window

TILE_NAME = re.compile(r"(\d+)_(\d+)_(\d+)_(\d+)\.tif")


@dataclass(frozen=True)
class Parts:
    """A folder of tiles, named by where they lie. The folder's own name carries the hash of what they show."""

    folder: Path

    def path(self, window: Window) -> Path:
        """The file of a tile."""
        return self.folder / f"{window.row}_{window.col}_{window.height}_{window.width}.tif"

    def finished(self) -> dict[Window, Path]:
        """Every tile that was kept."""
        tiles = {}
        for path in self.folder.glob("*.tif"):
            if match := TILE_NAME.fullmatch(path.name):
                tiles[Window(*map(int, match.groups()))] = path
        return tiles

    def keep(self, window: Window, content: bytes) -> None:
        """Write a tile so that it is there whole or not at all, whatever happens."""
        write_whole(self.path(window), content)

    def clear(self) -> None:
        """Forget the tiles: they are in the finished file."""
        rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out. The system itself lifts the lock of a run that was killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                lock(file)
            except OSError:
                raise GeosegError(
                    f"{self.folder} is in use by another geoseg export; wait for it, or export to another --out"
                ) from None
            yield


def lock(file: IO[str]) -> None:
    """Take a file for this process alone, or raise OSError."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, see it on disk, then move it there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise GeosegError(
            f"{path} cannot be written: {error.strerror}; make room and run the same command again to go on"
        ) from None
