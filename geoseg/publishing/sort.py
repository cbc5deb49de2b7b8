"""Sorts tables that are larger than memory: runs of sorted rows on disk, merged block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

RUN_ROWS = 500_000
"""Rows that are sorted in memory at once: with outlines of houses some 150 MB."""
BLOCK_ROWS = 4_096
"""Rows of each run in memory while runs are merged: a hundred million rows, 200 runs, take 250 MB."""
KEYS = ("key", "sequence")
"""The order of rows: by the first, and where that is the same, by the second, which no two rows share."""


class ExternalSorter:
    """Takes tables with the columns `key` and `sequence` in any order, and gives their rows back in order."""

    def __init__(self, folder: Path, run_rows: int = RUN_ROWS, block_rows: int = BLOCK_ROWS) -> None:
        self._folder = folder
        self._run_rows = run_rows
        self._block_rows = block_rows
        self._waiting: list[pa.Table] = []
        self._runs: list[Path] = []

    def append(self, table: pa.Table) -> None:
        """Take some rows; tables have the same columns every time."""
        self._waiting.append(table)
        if sum(each.num_rows for each in self._waiting) >= self._run_rows:
            self._store()

    def merge(self) -> Iterator[pa.Table]:
        """All rows in order, some at a time."""
        self._store()
        runs = [SortedRun(path) for path in self._runs]
        while runs := [run for run in runs if run.fill()]:
            limit = min(run.last for run in runs)
            yield pa.concat_tables([run.take(limit) for run in runs]).sort_by(
                [(name, "ascending") for name in KEYS]
            )

    def _store(self) -> None:
        """Write the rows that wait as a run."""
        rows = sum(each.num_rows for each in self._waiting)
        if not rows:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting = []
        table = table.sort_by([(name, "ascending") for name in KEYS])
        path = self._folder / f"run-{len(self._runs):06}.arrow"
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema, options=options) as out,
        ):
            out.write_table(table, max_chunksize=self._block_rows)
        self._runs.append(path)


class SortedRun:
    """A run on disk, of which one block is in memory."""

    def __init__(self, path: Path) -> None:
        self._source = pa.OSFile(str(path))
        self._blocks = pa.ipc.open_stream(self._source)
        self._block: pa.Table | None = None

    def fill(self) -> bool:
        """Have a block in memory; false, and the file closed, at the end."""
        if self._block is not None and self._block.num_rows:
            return True
        batch = next(self._blocks, None)
        self._block = None if batch is None else pa.Table.from_batches([batch])
        if batch is None:
            self._source.close()
        return batch is not None

    @property
    def last(self) -> tuple[int, int]:
        """The place in the order of the last row in memory."""
        assert self._block is not None
        key, sequence = (self._block.column(name)[-1].as_py() for name in KEYS)
        return key, sequence

    def take(self, limit: tuple[int, int]) -> pa.Table:
        """The rows in memory up to a place in the order."""
        assert self._block is not None
        key, sequence = (np.asarray(self._block.column(name)) for name in KEYS)
        count = int(((key < limit[0]) | ((key == limit[0]) & (sequence <= limit[1]))).sum())
        taken, self._block = self._block.slice(0, count), self._block.slice(count)
        return taken
