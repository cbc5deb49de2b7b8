"""Records sorted apart by a key, on disk when there are many: all of one key come together, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTS = 64
WAITING = 2_000_000


class Shelf:
    """Takes records (a structured array) with a key each, and gives back parts that hold all records of their keys."""

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        self._folder = folder
        self._dtype = dtype
        self._waiting: list[tuple[NDArray[Any], NDArray[np.uint8]]] = []
        self._count = 0

    def add(self, records: NDArray[Any], keys: NDArray[np.uint32]) -> None:
        self._waiting.append((records, part_of(keys)))
        self._count += len(records)
        if self._count > WAITING:
            self._put_away()

    def parts(self) -> Iterator[NDArray[Any]]:
        """The records, part by part; nothing is written to disk where all of them are few."""
        if not self._folder.exists():
            yield self._taken()[0]
            return
        self._put_away()
        for file in sorted(self._folder.iterdir()):
            yield np.fromfile(file, self._dtype)
            file.unlink()

    def _taken(self) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        records = [each for each, _ in self._waiting] or [np.empty(0, self._dtype)]
        parts = [each for _, each in self._waiting] or [np.empty(0, np.uint8)]
        self._waiting, self._count = [], 0
        return np.concatenate(records), np.concatenate(parts)

    def _put_away(self) -> None:
        records, parts = self._taken()
        self._folder.mkdir(exist_ok=True)
        order = np.argsort(parts, kind="stable")
        bounds = np.searchsorted(parts[order], np.arange(PARTS + 1))
        for part in range(PARTS):
            with (self._folder / f"{part:02}").open("ab") as file:
                records[order[bounds[part] : bounds[part + 1]]].tofile(file)


def part_of(keys: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Which part a key belongs to, spread evenly whatever the keys are like."""
    mixed = keys.astype(np.uint32) * np.uint32(2654435761)
    parts: NDArray[np.uint8] = (mixed >> np.uint32(26)).astype(np.uint8)
    return parts
