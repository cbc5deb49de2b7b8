"""The audit of a data set: what it holds, and everything that would spoil training on it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from geoseg.narrator import QUIET, Narrator
from geoseg.prepare.audit.findings import PAGE, RECORD, Audit, PooledShift
from geoseg.prepare.audit.look import Look, Traces, look_at
from geoseg.prepare.audit.page import write_page
from geoseg.prepare.audit.shared import GroundSearch
from geoseg.prepare.audit.shift import Pool
from geoseg.prepare.dataset import Dataset, Item
from geoseg.prepare.making import Workshop


def audit(dataset: Dataset, workers: int | None = None, narrator: Narrator = QUIET) -> Audit:
    """Look through a data set; leaves `audit.png` to look at and `audit.json` beside `dataset.toml`.

    Of each image about two kilobytes are kept, so that sets of hundreds of thousands of images can be audited.
    """
    bench = Workshop(dataset.folder, workers, narrator=narrator)
    calls = [{"dataset": bare(dataset), "item": item} for item in dataset.items]
    with TemporaryDirectory(prefix=".audit-", dir=dataset.folder) as folder:
        search, pools = GroundSearch(Path(folder)), Pools(dataset.items)
        looks: list[Look] = []
        for look, traces in bench.each_done("Auditing", look_at, calls):
            if traces:
                search.add(len(looks), look, traces)
                pools.add(len(looks), look, traces)
            looks.append(look)
        audited = Audit(dataset, tuple(looks), tuple(search.found(looks)), tuple(pools.shifts()))
    write_results(audited)
    warn_of_leaks(audited, narrator)
    return audited


def bare(dataset: Dataset) -> Dataset:
    """The data set without its items, light enough to send along with each of them."""
    return replace(dataset, items=())


class Pools:
    """Small images whose labels are looked at together: those of one place, and of the whole set where each has its own."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._sizes = Counter(item.place for item in items)
        self._pools: dict[tuple[str | None, tuple[int, ...], float], Pool] = {}

    def add(self, index: int, look: Look, traces: Traces) -> None:
        found = traces.agreement
        if found is None or (look.shift and look.shift.tells):
            return
        place = self._items[index].place
        gsd_m = float(f"{look.gsd_m:.2g}")
        key = (place if self._sizes[place] > 1 else None, found.surface.shape, gsd_m)
        self._pools.setdefault(key, Pool(gsd_m)).add(index, found)

    def shifts(self) -> Iterator[PooledShift]:
        for (place, _, _), pool in self._pools.items():
            if offset := pool.offset_m:
                yield PooledShift(place, tuple(pool.items), *offset)


def warn_of_leaks(audited: Audit, narrator: Narrator) -> None:
    """Nobody is to miss that figures will flatter, even where nobody reads on."""
    if audited.leaks:
        narrator.warn(
            f"{audited.dataset.folder}: {audited.leaks} pairs of items show the same ground in two splits, so that "
            f"figures would flatter; run geoseg prepare audit {audited.dataset.folder} --fix"
        )


def write_results(audited: Audit) -> None:
    record = audited.dataset.folder / RECORD
    unfinished = record.with_name(f".{RECORD}.{os.getpid()}")
    unfinished.write_text(json.dumps(audited.summary, indent=1, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(record)
    write_page(audited, audited.dataset.folder / PAGE)
