"""What can be asked about where the work is done: in worker processes, on other machines, in shares."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from geoseg.options import RESOURCES, ZERO_OR_MORE, Options, define_option

PLACES = ("workers", "dask", "shard")
"""The options that say where, and not what: no byte of the results depends on them."""


@dataclass(frozen=True, kw_only=True)
class WorkerOptions(Options):
    """Which processes do the work."""

    workers: int | None = define_option(
        None,
        "Worker processes on this machine; 0 does all in one.  [default: 0]",
        ZERO_OR_MORE,
        group=RESOURCES,
        metavar="N",
    )
    dask: str | None = define_option(
        None,
        "Give the work to the workers of this Dask scheduler; they must see the same folders.",
        group=RESOURCES,
        metavar="tcp://HOST:8786",
    )

    def without_places(self) -> Self:
        """What is asked, wherever it is done."""
        there = {field.name for field in fields(self)}
        return replace(self, **{name: None for name in PLACES if name in there})


@dataclass(frozen=True, kw_only=True)
class ShardOptions(WorkerOptions):
    """Which processes do the work, and which share of it."""

    shard: str | None = define_option(
        None,
        "Do one share of the work only, here the third of a hundred; the same command without --shard does what is missing, and finishes.",
        group=RESOURCES,
        metavar="3/100",
    )
