"""What a command gives back in Python: where its files are, the figures, and the layers, read when asked for."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.cluster.shards import Shard
from geoseg.io.atomic import replace_text
from geoseg.progress import format_count, list_names

if TYPE_CHECKING:
    import geopandas as gpd

MOST_SHOWN = 5000
"""A map of more footprints makes a notebook heavy."""


@dataclass(frozen=True)
class FootprintCounts:
    """What came of the footprints of a raster. Where nobody knows how large a pixel is, `area_px` tells instead of `area_m2`."""

    footprints: int
    dropped: int
    area_m2: float | None
    area_crs: str
    regions: int | None = None
    area_px: float | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        left_out = "area_px" if self.area_px is None else "area_m2"
        return {name: value for name, value in asdict(self).items() if name != left_out}

    def __str__(self) -> str:
        parts = [format_count(self.footprints, "footprint"), self.describe_area()]
        parts += [f"{format_count(self.dropped, 'smaller one')} left out"] if self.dropped else []
        parts += [format_count(self.regions, "region")] if self.regions is not None else []
        return ", ".join(parts)

    def describe_area(self) -> str:
        """For people, with its unit."""
        return f"{self.area_m2:,.1f} m²" if self.area_px is None else f"{self.area_px:,.0f} pixels"


class TemporaryFolder:
    """A folder that is there as long as this object is."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="geoseg-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class FootprintResult:
    """Footprints that were written to a file. `out` is none where only rasters were asked for."""

    out: Path | None
    counts: FootprintCounts | None
    folder: TemporaryFolder | None = None
    """What keeps the files, where the user did not name them."""

    @property
    def count(self) -> int:
        """How many buildings there are."""
        return self.counts.footprints if self.counts else 0

    @property
    def area_m2(self) -> float | None:
        """What they cover, in true square metres; none where nobody knows how large a pixel is."""
        return self.counts.area_m2 if self.counts else 0.0

    @property
    def area_px(self) -> float | None:
        """What they cover in pixels of a picture; none where it is known in square metres."""
        return self.counts.area_px if self.counts else None

    @cached_property
    def buildings(self) -> gpd.GeoDataFrame | None:
        """The footprints; none where only rasters were asked for."""
        from geoseg.footprints.write.reading import read_buildings

        return read_buildings(self.out) if self.out else None

    @cached_property
    def regions(self) -> gpd.GeoDataFrame | None:
        """The statistics per region; none where no regions were given."""
        if self.out is None or self.counts is None or self.counts.regions is None:
            return None
        from geoseg.footprints.write.reading import read_regions

        return read_regions(self.out)

    def list_figures(self) -> dict[str, str]:
        """The figures for people."""
        if self.counts is None:
            return {}
        figures = {"Buildings": f"{self.count:,}", "Area": self.counts.describe_area()}
        if self.counts.regions is not None:
            figures["Regions"] = f"{self.counts.regions:,}"
        return figures

    def _repr_html_(self) -> str:
        """How Jupyter shows it: the figures, and a map of the footprints where they are not too many."""
        rows = {**self.list_figures(), **({"File": str(self.out)} if self.out and not self.folder else {})}
        return format_html_table(rows) + self._draw_map()

    def _draw_map(self) -> str:
        if self.out is None or not 0 < self.count <= MOST_SHOWN or not self.out.exists():
            return ""
        from geoseg.reports.webmap import make_map_frame

        assert self.buildings is not None
        return make_map_frame(self.buildings, self.regions)


def format_html_table(rows: dict[str, str]) -> str:
    """Names and values as a small table."""
    cells = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<table>{cells}</table>"


@dataclass(frozen=True)
class ShareResult:
    """What a share of the work has left in the folder of parts."""

    shard: str
    folder: Path
    strips: int
    """In all shares."""
    mine: int
    missing: tuple[int, ...]
    """The strips that no share has done yet, numbered from 1 on."""
    seconds: float

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        return {**asdict(self), "folder": str(self.folder), "missing": list(self.missing)}

    def __str__(self) -> str:
        there = self.strips - len(self.missing)
        left = (
            f"missing: {list_names(list(map(str, self.missing)))}" if self.missing else "nothing is missing"
        )
        return (
            f"{self.folder}: share {self.shard} is done ({format_count(self.mine, 'strip')}); {there:,} of "
            f"{format_count(self.strips, 'strip')} there, {left}. The same command without --shard finishes the work"
        )


def note_share(shard: Shard, folder: Path, mine: int, there: Sequence[bool], seconds: float) -> ShareResult:
    """Say in the folder of parts that a share is done, by whom and how fast; `there` tells which strips are."""
    missing = tuple(number for number, is_there in enumerate(there, start=1) if not is_there)
    facts = {"shard": str(shard), "strips": mine, "seconds": round(seconds, 1), "host": socket.gethostname()}
    replace_text(folder / f"{shard.name}.json", json.dumps(facts))
    return ShareResult(str(shard), folder, len(there), mine, missing, seconds)
