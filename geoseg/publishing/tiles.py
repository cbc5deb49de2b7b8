"""Vector tiles of footprints. GDAL writes them, and does not tell of one that a failing disk has lost: so they are read back."""

from __future__ import annotations

import gzip
import json
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from geoseg.errors import GeosegError
from geoseg.footprints.measure import transform_polygons
from geoseg.footprints.polygons import Polygons
from geoseg.footprints.write.formats import set_gdal_options, write_batches
from geoseg.footprints.write.geopackage import BUILDINGS
from geoseg.footprints.write.spool import GEOMETRY
from geoseg.io.atomic import Delivery, replace_file
from geoseg.publishing.parquet import BOX
from geoseg.publishing.places import HALF_M, MERCATOR, encode_hilbert
from geoseg.raster.grid import WGS84

log = logging.getLogger(__name__)

ZOOMS = range(8, 15)
"""From a city on one screen, to a house of 20 pixels; maps draw larger scales from the last one."""
STEPS = 4096
"""Into so many steps GDAL divides the side of a tile."""
LEAST_STEPS = 4
"""A footprint of so many steps each way is drawn for sure; of a smaller one nothing may be left by rounding."""
ROWS_AT_ONCE = 65_536
TOLD = (
    "name", "description", "version", "type", "format", "minzoom", "maxzoom", "bounds", "center", "vector_layers",
)  # fmt: skip
"""What GDAL writes into the description of tiles, and maps are set up by."""
FULL = "At least one tile exceeded"
DAMAGES = (EOFError, OSError, ValueError, KeyError, TypeError, struct.error, zlib.error)

Numbers = NDArray[np.uint64]


def write_tiles(files: Sequence[Path], out: Path, title: str, delivery: Delivery) -> None:
    """Write vector tiles of the footprints in GeoParquet files, for looking at in a browser."""
    dropped = {BOX, "sources", GEOMETRY}
    names = [name for name in pq.read_schema(files[0]).names if name not in dropped]
    expected: list[Numbers] = []

    def read() -> Iterator[pa.RecordBatch]:
        for path in files:
            for batch in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE, columns=[*names, GEOMETRY]):
                expected.append(find_tiles(shapely.from_wkb(batch.column(GEOMETRY).to_numpy(False))))
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

    schema = pa.schema(
        [*(pq.read_schema(files[0]).field(name) for name in names),
         pa.field(GEOMETRY, pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})]
    )  # fmt: skip
    # In threads, GDAL loses footprints in silence where it cannot write to its own file beside.
    with replace_file(out, delivery) as unfinished, set_gdal_options(GDAL_NUM_THREADS="1"):
        with tell_of_full_tiles(out):
            write_batches(
                schema, read(), unfinished, layer=BUILDINGS, driver="PMTiles", geometry_name=GEOMETRY, geometry_type="Unknown",
                crs="EPSG:4326", dataset_options={"NAME": title, "MINZOOM": str(ZOOMS[0]), "MAXZOOM": str(ZOOMS[-1])},
            )  # fmt: skip
        check_tiles(unfinished, np.unique(np.concatenate(expected)), names, out)


@contextmanager
def tell_of_full_tiles(out: Path) -> Iterator[None]:
    """Say in one line which limit of a tile GDAL kept; it is a Python warning, with the line of a library, otherwise."""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.filterwarnings("always", FULL, RuntimeWarning)
        yield
    for remark in remarks:
        words = str(remark.message)
        if words.startswith(FULL):
            log.warning(f"{out}: {words[0].lower()}{words[1:]}")
        else:
            warnings.warn_explicit(remark.message, remark.category, remark.filename, remark.lineno)


def find_tiles(shapes: Polygons) -> Numbers:
    """The tiles in which one of some footprints (in degrees) is drawn for sure, by their numbers in a PMTiles file."""
    shapes = transform_polygons(shapes, WGS84, MERCATOR)
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    compact = (shapely.area(shapes) > sides.prod(axis=1) / 4) & (np.abs(boxes).max(axis=1) < HALF_M)
    points = shapely.point_on_surface(shapes)
    found = []
    for zoom in ZOOMS:
        step_m = 2 * HALF_M / 2**zoom / STEPS
        drawn = compact & (sides.min(axis=1) >= LEAST_STEPS * step_m)
        found.append(np.unique(number_tiles(points[drawn], zoom)))
    return np.concatenate(found)


def number_tiles(points: NDArray[np.object_], zoom: int) -> Numbers:
    """The numbers of the tiles in which points lie. Each zoom goes on along a Hilbert curve that begins in the north-west."""
    turned = shapely.get_coordinates(points) * [1, -1]
    return encode_hilbert(turned, zoom) + np.uint64((4**zoom - 1) // 3)


def check_tiles(path: Path, expected: Numbers, names: Sequence[str], out: Path) -> None:
    """Refuse a file of tiles, which is to lie at `out`, that lacks a tile or what it is to tell of itself, or is damaged."""
    try:
        runs = [np.arange(number, number + count, dtype=np.uint64) for number, count in read_tiles(path)]
        untold = list_untold(read_description(path), names)
    except DAMAGES as error:
        raise GeosegError(f"{out}: was damaged while it was written ({error}); {REMEDY}") from error
    lost = np.setdiff1d(expected, np.concatenate([*runs, np.empty(0, np.uint64)]))
    if len(lost):
        raise GeosegError(
            f"{out}: {len(lost):,} of {len(expected):,} tiles got lost while it was written; {REMEDY}"
        )
    if untold:
        raise GeosegError(f"{out}: no longer tells its {untold[0]}, lost while it was written; {REMEDY}")


REMEDY = "see that the disk is in order, and run again"


def read_description(path: Path) -> Any:
    """What a PMTiles file tells of itself."""
    with path.open("rb") as file:
        return json.loads(unpack(file, *struct.unpack("<24x2Q", file.read(40))))


def list_untold(description: Any, names: Sequence[str]) -> list[str]:
    """What a file of tiles does not tell of itself: GDAL leaves out what it could not put down for a moment."""
    layers = {layer["id"]: layer["fields"] for layer in description.get("vector_layers", [])}
    untold = [name for name in TOLD if name not in description]
    return untold + [f"column {name}" for name in names if name not in layers.get(BUILDINGS, {})]


def read_tiles(path: Path) -> Iterator[tuple[int, int]]:
    """The tiles of a PMTiles file (version 3), all of which are unpacked: the number of each, and how many are alike from there."""
    with path.open("rb") as file:
        root, size, _, _, leaves, _, tiles, _ = struct.unpack("<8x8Q", file.read(72))
        yield from read_directory(file, (root, size), leaves, tiles)


def read_directory(
    file: BinaryIO, place: tuple[int, int], leaves: int, tiles: int
) -> Iterator[tuple[int, int]]:
    """The tiles of a directory and of those below it. What it lists is counted from where leaves and tiles begin."""
    for number, count, offset, size in parse_directory(unpack(file, *place)):
        if count:
            unpack(file, tiles + offset, size)
            yield number, count
        else:
            yield from read_directory(file, (leaves + offset, size), leaves, tiles)


def unpack(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    packed = file.read(size)
    if len(packed) < size:
        raise EOFError("it ends too early")
    return gzip.decompress(packed)


def parse_directory(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Entries: the number of the first tile, how many are alike, and where they lie. None means a directory below."""
    count, *values = parse_varints(content)
    steps, counts, sizes, places = np.reshape(values, (4, count)).tolist()
    number = offset = size = 0
    for step, count, next_size, place in zip(steps, counts, sizes, places, strict=True):
        number += step
        offset, size = place - 1 if place else offset + size, next_size
        yield number, count, offset, size


def parse_varints(content: bytes) -> list[int]:
    """Whole numbers of seven bits a byte, the lowest first; in the last byte of each, the eighth bit is not set."""
    octets = np.frombuffer(content, np.uint8)
    stops = np.flatnonzero(octets < 128) + 1
    starts = np.concatenate([[0], stops[:-1]])
    places = np.arange(stops[-1]) - np.repeat(starts, stops - starts)
    parts = (octets[: stops[-1]].astype(np.uint64) & np.uint64(127)) << (7 * places).astype(np.uint64)
    values: list[int] = np.add.reduceat(parts, starts).tolist()
    return values
