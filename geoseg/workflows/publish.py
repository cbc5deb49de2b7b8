"""From the footprints of many scenes to one data set of a country: sorted, without duplicates, in files by place."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.antimeridian import shift_polygons
from geoseg.footprints.measure import FloatArray
from geoseg.footprints.polygons import mend_polygons
from geoseg.footprints.vector_files import VectorFile, open_vector_file
from geoseg.footprints.write.spool import GEOMETRY
from geoseg.io.access import Output, check_folder, check_outputs
from geoseg.io.addresses import VECTOR_SUFFIXES, parse_layer_path
from geoseg.io.atomic import (
    Delivery,
    describe_command,
    explain_write_errors,
    find_own_files,
    replace_files,
)
from geoseg.io.layers import parse_layer_crs, read_days, read_layer, read_words
from geoseg.progress import format_count, track
from geoseg.publishing.duplicates import TURN, ScannedFile, convert_to_lonlat, find_duplicates
from geoseg.publishing.parquet import BOX, PLAIN_COLUMNS, SIDES, SOURCE, PublishedFile, PublishedSchema
from geoseg.publishing.places import DEEPEST, encode_hilbert, find_middles, find_quadkeys
from geoseg.publishing.sort import ExternalSorter
from geoseg.publishing.tiles import write_tiles
from geoseg.raster.lists import list_folder, make_plain
from geoseg.regions.polygons import make_valid_polygons, name_regions
from geoseg.workflows.options import PublishOptions
from geoseg.workflows.results import format_html_table

log = logging.getLogger(__name__)

TITLE = "Building footprints"
PARTS = "parts"
"""What the folder of unfinished parts, within that of the data set, is called after."""
ELSEWHERE = "elsewhere"
"""The file of footprints that lie in no admin area."""


@dataclass(frozen=True)
class PublishResult:
    """Files of a data set, and how many footprints are in each."""

    files: dict[str, int]
    duplicates: int
    tiles: Path | None = None

    @property
    def count(self) -> int:
        return sum(self.files.values())

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        return {
            "footprints": self.count, "duplicates": self.duplicates, "files": self.files,
            "tiles": self.tiles and str(self.tiles),
        }  # fmt: skip

    def __str__(self) -> str:
        where = next(iter(self.files)) if len(self.files) == 1 else f"{len(self.files):,} files"
        tiles = f"\n{self.tiles}" if self.tiles else ""
        left_out = f"{format_count(self.duplicates, 'duplicate')} of overlapping scenes left out"
        return f"{where}: {format_count(self.count, 'footprint')}; {left_out}{tiles}"

    def _repr_html_(self) -> str:
        """How Jupyter shows it."""
        return format_html_table({name: f"{rows:,}" for name, rows in self.files.items()})


def publish_footprints(sources: Sequence[str], out: Path, options: PublishOptions) -> PublishResult:
    """Write the footprints of many files as one data set, in a file, or in a folder of files by place."""
    files = [open_vector_file(Path(source)) for source in list_sources(sources)]
    command = describe_command("publish", [*sources, str(out)], options)
    outputs = check_publish_outputs(files, out, options, command)
    partition = make_partition(options.partition)
    schema = PublishedSchema(list_columns(files), options.names == "overture")
    with Delivery(outputs, command) as delivery:
        with (
            make_folder(outputs[0].parent),
            replace_files(outputs[0], delivery) as folder,
            explain_write_errors(out),
        ):
            (folder / "runs").mkdir()
            sorter = ExternalSorter(folder / "runs")
            boxes: dict[int, FloatArray] = {}
            duplicates = feed_sorter(sorter, files, partition, schema, boxes)
            if not boxes:
                raise InputError(f"{', '.join(sources)}: no footprint is there, so there is nothing to write")
            rows = sorter.merge()
            if options.partition:
                written = write_partitions(rows, folder, out, partition, PartWriter(schema, boxes))
            else:
                written = {out: PartWriter(schema, boxes).write(folder / out.name, out, 0, rows)}
        if options.tiles:
            write_tiles(list(map(delivery.find, written)), options.tiles, TITLE, delivery)
        if options.partition:
            delivery.do_afterwards(partial(remove_others, out, list(written)))
    return PublishResult({str(path): count for path, count in written.items()}, duplicates, options.tiles)


@contextmanager
def make_folder(folder: Path) -> Iterator[None]:
    """Have a folder; one that is made for this goes again with an error if nothing lies in it."""
    is_there = folder.is_dir()
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if not is_there:
                folder.rmdir()
        raise


def list_sources(sources: Sequence[str]) -> list[str]:
    """Files of footprints: those that are named, and those in folders, by their names."""
    found: list[str] = []
    for source in sources:
        found += list_folder(source, VECTOR_SUFFIXES) if Path(source).is_dir() else [source]
    if not found:
        raise InputError(f"{', '.join(sources)}: holds no file of footprints ({', '.join(VECTOR_SUFFIXES)})")
    return found


def check_publish_outputs(
    files: Sequence[VectorFile], out: Path, options: PublishOptions, command: str
) -> tuple[Path, ...]:
    """The files to be written; what must not be replaced is refused before anything is read."""
    first = out / PARTS if options.partition else out
    own = find_own_files(first, command)
    tiles = (
        [Output("a file of tiles", options.tiles, (".pmtiles",), options.overwrite)] if options.tiles else []
    )
    if options.partition:
        if out.suffix or out.is_file():
            raise InputError(
                f"`out` {out}: `partition` makes a folder of files; give a name without an ending"
            )
        check_folder(out)
        earlier = {path.absolute() for path in out.glob("*.parquet")} - own
        if earlier and not options.overwrite:
            raise InputError(f"{out}: holds Parquet files already; use `overwrite` to replace them")
        check_outputs(tiles, [file.name for file in files], own)
    else:
        whole = Output("a data set", out, (".parquet", ".geoparquet"), options.overwrite)
        check_outputs([whole, *tiles], [file.name for file in files], own)
    return (first, *(tile.path for tile in tiles))


def list_columns(files: Sequence[VectorFile]) -> tuple[str, ...]:
    """The columns that any of the files has, in their usual order."""
    present = {field for file in files for field in file.fields}
    return tuple(column.name for column in PLAIN_COLUMNS if column.name in present)


@dataclass(frozen=True)
class Partition:
    """By which file footprints are divided: all in one, by tile of the web map, or by admin area."""

    level: int = 0
    names: tuple[str, ...] = ()
    shapes: NDArray[np.object_] | None = None

    def find(self, middles: FloatArray, shapes: NDArray[np.object_]) -> NDArray[np.int64]:
        """The number of the file of each footprint; in an admin area lies what has its representative point there."""
        if self.shapes is None:
            if not self.level:
                return np.zeros(len(middles), dtype=np.int64)
            return np.array([int(key, 4) for key in find_quadkeys(middles, self.level)], dtype=np.int64)
        found = np.full(len(shapes), len(self.names), dtype=np.int64)
        points = shapely.STRtree(shapely.point_on_surface(shapes))
        for turn in (-TURN, 0.0, TURN):
            area, point = points.query(
                shift_polygons(self.shapes, np.full(len(self.names), turn)), "intersects"
            )
            np.minimum.at(found, point, area)
        return found

    def name(self, number: int) -> str:
        if self.shapes is None:
            return np.base_repr(number, 4).zfill(self.level)
        return make_plain(self.names[number]) if number < len(self.names) else ELSEWHERE


def make_partition(asked: str | None) -> Partition:
    """What `partition` means: nothing, quadkey:LEVEL, or a file of admin areas."""
    if asked is None:
        return Partition()
    kind, _, level = asked.partition(":")
    if kind == "quadkey":
        if not level.isdecimal() or not 1 <= int(level) <= DEEPEST:
            raise InputError(
                f"`partition` {asked}: write quadkey:LEVEL with a level of 1 to {DEEPEST}, e.g. quadkey:6"
            )
        return Partition(int(level))
    path, layer = parse_layer_path(asked)
    frame = read_layer(path, layer)
    crs = parse_layer_crs(frame.crs, path)
    shapes = make_valid_polygons(np.asarray(frame.geometry.array), crs, path)
    shapes = mend_polygons(convert_to_lonlat(shapes, crs))
    names = tuple(map(str, name_regions(frame, None, path)))
    if len({make_plain(name).casefold() for name in (*names, ELSEWHERE)}) <= len(names):
        raise InputError(
            f"`partition` {asked}: two areas have the same name, or one is called {ELSEWHERE}; each becomes a file of its own"
        )
    return Partition(0, names, shapes)


def feed_sorter(
    sorter: ExternalSorter,
    files: Sequence[VectorFile],
    partition: Partition,
    schema: PublishedSchema,
    boxes: dict[int, FloatArray],
) -> int:
    """Put the footprints of all files into the sorter, without duplicates; how many of these there were.

    `boxes` gets the box of each part.
    """
    scenes = [ScannedFile.scan(file) for file in files]
    duplicates = find_duplicates(scenes)
    sequence = 0
    with track("Reading", sum(scene.rows for scene in scenes) or 1, "footprints") as done:
        for scene, doubles, source in zip(scenes, duplicates, name_sources(files), strict=True):
            start = empty = 0
            columns = [name for name in ("id", *schema.names) if name in scene.file.fields]
            for frame in scene.file.pieces(columns):
                rows = np.arange(start, start + len(frame))
                known = frame.assign(id=name_rows(frame, rows), **{SOURCE: source})
                kept = ~np.isin(rows, doubles)
                start += len(frame)
                table = make_sortable(known[kept], scene.file, partition, schema, sequence)
                sequence += table.num_rows
                empty += int(kept.sum()) - table.num_rows
                sorter.append(table)
                extend_boxes(boxes, table)
                done(len(frame))
            if empty:
                log.warning(
                    f"{scene.file.name}: {empty:,} of {start:,} rows hold no polygon and are left out"
                )
    return sum(map(len, duplicates))


def name_rows(frame: gpd.GeoDataFrame, rows: NDArray[np.int64]) -> list[str]:
    """What footprints are called in their file: by their ids, and those that have none by their rows, counted from 1."""
    words = read_words(frame["id"]) if "id" in frame else [None] * len(frame)
    return [word or str(row + 1) for word, row in zip(words, rows.tolist(), strict=True)]


def name_sources(files: Sequence[VectorFile]) -> list[str]:
    """What files are called: by their names, and by as many folders above them as tell all of them apart."""
    paths = [Path(file.name) for file in files]
    names = [path.as_posix() for path in paths]
    for depth in reversed(range(1, max(len(path.parts) for path in paths))):
        shorter = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(shorter)) < len(set(paths)):
            break
        names = shorter
    return names


def extend_boxes(boxes: dict[int, FloatArray], rows: pa.Table) -> None:
    """Let the box of each part hold some rows more."""
    sides = rows.column(BOX).combine_chunks()
    every = np.column_stack([np.asarray(sides.field(side)) for side in SIDES])
    parts = find_parts(rows)
    for part in np.unique(parts).tolist():
        own = every[parts == part]
        before = boxes.get(part, own[0])
        low = np.minimum(before[:2], own[:, :2].min(axis=0))
        boxes[part] = np.concatenate([low, np.maximum(before[2:], own[:, 2:].max(axis=0))])


def find_parts(rows: pa.Table) -> NDArray[np.uint64]:
    """The part of each row, which is the first half of its key."""
    return np.asarray(rows.column("key")) >> np.uint64(32)


def make_sortable(
    frame: gpd.GeoDataFrame, file: VectorFile, partition: Partition, schema: PublishedSchema, sequence: int
) -> pa.Table:
    """Rows, which have an id and a source, with the key of their place in the order; those without a polygon are left out."""
    shapes = shapely.force_2d(np.asarray(frame.geometry.array, dtype=object))
    shapes = mend_polygons(convert_to_lonlat(shapes, file.crs))
    usable = np.isin(shapely.get_type_id(shapes), (3, 6)) & ~shapely.is_empty(shapes)
    frame, shapes = frame[usable], shapes[usable]
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    middles = find_middles(boxes)
    key = partition.find(middles, shapes).astype(np.uint64) << np.uint64(32) | encode_hilbert(middles)
    spooled = schema.spooled
    columns: dict[str, Any] = {"key": key, "sequence": np.arange(sequence, sequence + len(frame))}
    for name in schema.names:
        values: Any = pa.nulls(len(frame)) if name not in frame else frame[name].to_numpy()
        columns[name] = read_days(frame[name]) if name == "image_date" and name in frame else values
    columns["source_id"], columns[SOURCE] = (frame[name].tolist() for name in ("id", SOURCE))
    columns[BOX] = pa.StructArray.from_arrays([pa.array(side) for side in boxes.T], names=list(SIDES))
    columns[GEOMETRY] = shapely.to_wkb(shapes, include_srid=False)
    return pa.table([make_column(columns[field.name], field, file.name) for field in spooled], schema=spooled)


def make_column(values: Any, field: pa.Field, file: str) -> pa.Array:
    """Values in the type of their column."""
    try:
        if isinstance(values, pa.Array):
            return values.cast(field.type) if values.type != field.type else values
        return pa.array(values, type=field.type, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise InputError(f"{file}: its column {field.name} does not hold {field.type} ({error})") from error


class PartWriter:
    """Writes sorted rows into a file for each part; ids go on from one to the next."""

    def __init__(self, schema: PublishedSchema, boxes: dict[int, FloatArray]) -> None:
        self._schema = schema
        self._boxes = boxes
        self._first = 1

    def write(self, file: Path, path: Path, part: int, rows: Iterable[pa.Table]) -> int:
        """Write the rows of a part into a file that is to lie at a path, and tell how many there are."""
        with explain_write_errors(path), PublishedFile(file, TITLE, self._boxes[part]) as written:
            for table in rows:
                written.append(self._schema.finish(table, self._first + written.rows))
        self._first += written.rows
        return written.rows


def write_partitions(
    rows: Iterator[pa.Table], folder: Path, out: Path, partition: Partition, writer: PartWriter
) -> dict[Path, int]:
    """Write sorted rows into a file for each part, one after the other: parts are runs of the order."""
    written: dict[Path, int] = {}
    for number, tables in groupby(split_by_part(rows), key=lambda part: part[0]):
        path = out / f"{partition.name(number)}.parquet"
        written[path] = writer.write(folder / path.name, path, number, (table for _, table in tables))
    return written


def remove_others(out: Path, written: Sequence[Path]) -> None:
    """Take away the parts of an earlier data set, which stay until the new ones have their names; that they may go was asked.

    Files are compared, not names: where capital letters do not count, a new part keeps the name of an earlier one.
    """
    with explain_write_errors(out):
        kept = set(map(identify_file, written))
        for path in out.glob("*.parquet"):
            if identify_file(path) not in kept:
                path.unlink()


def identify_file(path: Path) -> tuple[int, int]:
    """What tells a file from all others, whatever it is called."""
    status = path.stat()
    return status.st_dev, status.st_ino


def split_by_part(rows: Iterator[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """Sorted rows with the number of their part, cut where the next one begins."""
    for table in rows:
        parts = find_parts(table)
        cuts = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(parts)]
        for start, stop in pairwise(cuts):
            yield int(parts[start]), table.slice(start, stop - start)
