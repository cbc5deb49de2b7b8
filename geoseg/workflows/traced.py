"""What was traced of strips, kept in a folder of parts: one process makes it, another one joins it.

Nothing but numbers and text lies in a part, so that reading one runs no code.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.footprints.features import FeatureBatch
from geoseg.footprints.trace.pieces import ComponentRuns, OutlinePieces, PixelComponents
from geoseg.io.atomic import replace_file
from geoseg.workflows.tracer import MaskRows, StripTracer

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]
DAMAGES = (OSError, ValueError, KeyError, EOFError, BadZipFile, shapely.errors.ShapelyError)
PIECES, COMPONENTS, RUNS, COLUMNS = "pieces.", "components.", "runs.", "columns."


@dataclass(frozen=True)
class TracedParts:
    """A folder of what a tracer makes of strips."""

    tracer: StripTracer
    folder: Path

    def find(self, row: int) -> Path:
        """Where the part of the strip is that begins in a row."""
        return self.folder / f"traced-{row:09}.npz"

    def has(self, row: int) -> bool:
        return self.find(row).exists()

    def keep(self, strip: MaskRows) -> None:
        """Trace a strip and keep what comes of it, unless that is there."""
        if self.has(strip.row):
            return
        traced = self.tracer.trace(strip)
        self.folder.mkdir(exist_ok=True)
        with replace_file(self.find(strip.row)) as unfinished:
            np.savez(unfinished, **pack_traced(*traced))

    def drop(self, rows: Iterable[int]) -> None:
        """Take away what was traced of the strips that begin in some rows."""
        for row in rows:
            self.find(row).unlink(missing_ok=True)

    def trace(self, strip: MaskRows) -> tuple[FeatureBatch, OutlinePieces]:
        """What comes of a strip: as it is kept, else traced now."""
        part = self.find(strip.row)
        if part.exists():
            try:
                with part.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                    return unpack_traced(dict(arrays), self.crs)
            except DAMAGES:
                log.warning(f"{part}: damaged, and traced again")
        return self.tracer.trace(strip)

    @property
    def crs(self) -> CRS | None:
        """The CRS of the footprints; none where they have no place."""
        builder = self.tracer.builder
        return builder.crs if builder.grid.is_placed else None


def pack_traced(batch: FeatureBatch, pieces: OutlinePieces) -> dict[str, Any]:
    """The rows of a strip and its unfinished pieces as arrays."""
    columns = {name: batch.rows[name].to_numpy() for name in batch.rows.columns if name != "geometry"}
    shapes = shapely.to_wkb(np.asarray(batch.rows.geometry.array))
    return {
        **{f"{COLUMNS}{name}": pack_column(values) for name, values in columns.items()},
        "order": batch.order,
        "dropped": np.array(batch.dropped),
        "wkb": np.frombuffer(b"".join(shapes), np.uint8),
        "wkb_sizes": np.array([len(shape) for shape in shapes], np.int64),
        **pack_fields(PIECES, pieces, but=("components", "runs")),
        **pack_fields(COMPONENTS, pieces.components),
        **pack_fields(RUNS, pieces.runs),
    }


def pack_column(values: NDArray[Any]) -> NDArray[Any]:
    """A column without objects: text of one width, empty where there is none."""
    if values.dtype != object:
        return values
    return np.array(["" if value is None else value for value in values], np.str_)


def pack_fields(prefix: str, table: Any, but: tuple[str, ...] = ()) -> dict[str, NDArray[Any]]:
    names = [field.name for field in fields(table) if field.name not in but]
    return {f"{prefix}{name}": np.asarray(getattr(table, name)) for name in names}


def unpack_traced(arrays: Arrays, crs: CRS | None) -> tuple[FeatureBatch, OutlinePieces]:
    """The rows of a strip and its unfinished pieces, as they were packed."""
    ends = np.cumsum(arrays["wkb_sizes"])
    content = arrays["wkb"].tobytes()
    shapes = [content[end - size : end] for end, size in zip(ends, arrays["wkb_sizes"], strict=True)]
    columns = {name: unpack_column(values) for name, values in pick(arrays, COLUMNS).items()}
    rows = gpd.GeoDataFrame(columns, geometry=shapely.from_wkb(np.array(shapes, dtype=object)), crs=crs)
    pieces = {name: v.item() if v.ndim == 0 else v for name, v in pick(arrays, PIECES).items()}
    return (
        FeatureBatch(rows, arrays["order"], int(arrays["dropped"])),
        OutlinePieces(
            **pieces,
            components=PixelComponents(**pick(arrays, COMPONENTS)),
            runs=ComponentRuns(**pick(arrays, RUNS)),
        ),
    )


def unpack_column(values: NDArray[Any]) -> NDArray[Any]:
    return np.array([str(text) or None for text in values], object) if values.dtype.kind == "U" else values


def pick(arrays: Arrays, prefix: str) -> dict[str, Any]:
    """The arrays whose names begin alike, by the rest of their names."""
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
