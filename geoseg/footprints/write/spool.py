"""Rows of a layer kept on disk until the file can be written in one go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely


@dataclass(frozen=True)
class Column:
    """One attribute of a layer. `short` is its name where ten letters must do (shapefiles)."""

    name: str
    kind: Literal["integer", "real", "text", "yes/no"]
    alias: str
    meaning: str
    short: str = ""

    @property
    def fitted_name(self) -> str:
        return self.short or self.name


FOOTPRINT_COLUMNS = (
    Column("id", "integer", "Number", "Stable number: the same scene and options give the same one."),
    Column("class", "text", "Class", "What the model says it is."),
    Column("area_m2", "real", "Footprint area (m²)", "True area on the ground, courtyards left out."),
    Column("perimeter_m", "real", "Perimeter (m)", "Length of the outline on the ground.", "perim_m"),
    Column("confidence", "real", "Confidence", "Mean probability inside, 0 to 1."),
    Column("regularized", "yes/no", "Straightened", "Whether its walls were made straight.", "straight"),
    Column("width_m", "real", "Width (m)", "Shorter side of the smallest rectangle around it."),
    Column("length_m", "real", "Length (m)", "Longer side of the smallest rectangle around it."),
    Column(
        "orientation_deg",
        "real",
        "Orientation (°)",
        "Its long side, degrees clockwise from grid north.",
        "orient_deg",
    ),
    Column("touches_nodata", "yes/no", "Touches nodata", "It may go on where nothing was seen.", "at_nodata"),
    Column(
        "touches_edge", "yes/no", "Touches the image's edge", "It may go on outside the image.", "at_edge"
    ),
    Column(
        "image_date",
        "text",
        "Date of the image",
        "When the image was taken: a day, or the first and the last; empty where nothing tells.",
    ),
    Column("region", "text", "Region", "The region its representative point lies in."),
)

PIXEL_NAMES = {
    "area_m2": ("area_px", "Footprint area (pixels)", "Area in pixels of the picture, courtyards left out."),
    "perimeter_m": ("perimeter_px", "Perimeter (pixels)", "Length of the outline in pixels of the picture."),
    "width_m": ("width_px", "Width (pixels)", "Shorter side of the smallest rectangle around it."),
    "length_m": ("length_px", "Length (pixels)", "Longer side of the smallest rectangle around it."),
}
"""What sizes are called where nobody knows how large a pixel is."""
PIXEL_COLUMNS = tuple(
    replace(column, name=pixel[0], alias=pixel[1], meaning=pixel[2], short=column.short and "perim_px")
    if (pixel := PIXEL_NAMES.get(column.name))
    else column
    for column in FOOTPRINT_COLUMNS
)

REGION_COLUMNS = (
    Column("region", "text", "Region", "The region's name."),
    Column("class", "text", "Class", "What the row counts."),
    Column("buildings", "integer", "Buildings", "Footprints whose representative point lies in the region."),
    Column(
        "built_area_m2", "real", "Built area (m²)", "Footprints, split exactly at the border.", "built_m2"
    ),
    Column("region_area_m2", "real", "Region's area (m²)", "True area of the whole region.", "region_m2"),
    Column(
        "seen_area_m2", "real", "Seen area (m²)", "The part of the region that has image data.", "seen_m2"
    ),
    Column(
        "share",
        "real",
        "Built share",
        "Built area over seen area (over the region's where no image was given).",
    ),
    Column("mean_area_m2", "real", "Mean size (m²)", "Mean area of the counted footprints.", "mean_m2"),
    Column(
        "median_area_m2",
        "real",
        "Median size (m²)",
        "Half of the counted footprints are larger.",
        "median_m2",
    ),
    Column(
        "p90_area_m2",
        "real",
        "90th percentile size (m²)",
        "One in ten counted footprints is larger.",
        "p90_m2",
    ),
    Column("mean_confidence", "real", "Mean confidence", "Mean of the footprints' confidence.", "mean_conf"),
    Column(
        "expected_area_m2", "real", "Expected area (m²)", "Sum of probability times pixel area.", "expect_m2"
    ),
    Column(
        "adjusted_area_m2",
        "real",
        "Error-adjusted area (m²)",
        "Corrected by the model's known errors.",
        "adj_m2",
    ),
    Column("adjusted_low_m2", "real", "Adjusted, low (m²)", "Lower end of its 95 % interval.", "adj_low_m2"),
    Column("adjusted_high_m2", "real", "Adjusted, high (m²)", "Upper end of its 95 % interval.", "adj_hi_m2"),
    Column(
        "image_date",
        "text",
        "Date of the images",
        "When the images of the counted footprints were taken: a day, or the first and the last.",
    ),
)

SAMPLE_COLUMNS = (
    Column("sample_points", "integer", "Sample points", "Answered sample points in the region.", "points"),
    Column(
        "adjusted_by",
        "text",
        "Adjusted by",
        "What the figures rest on: own points, all points where the region has none, or both.",
        "adj_by",
    ),
    Column(
        "adjusted_buildings",
        "real",
        "Adjusted number of buildings",
        "Footprints times the buildings found for each in the sample squares of the whole map.",
        "adj_bldgs",
    ),
)
"""What the regions have besides where a sample was given."""


BATCH_ROWS = 65_536
GEOMETRY = "geometry"
MULTIPOLYGON = 6
ONE_PART = b"\x01\x06\x00\x00\x00\x01\x00\x00\x00"
KINDS = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "yes/no": pa.bool_()}


class Spool:
    """Takes frames of any length, keeps them in a file, and gives them back as batches of equal length.

    So memory stays small, and what is made of the batches does not depend on how the rows arrived.
    """

    def __init__(self, path: Path, columns: Sequence[Column], batch_rows: int = BATCH_ROWS) -> None:
        self.path = path
        self.batch_rows = batch_rows
        self.columns = tuple(columns)
        self.rows = 0
        self.bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self.multiple = False
        self._schema: pa.Schema | None = None
        self._file: pa.ipc.RecordBatchStreamWriter | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(*([OSError] if error else [])):  # a full disk was already told
                self._file.close()

    @property
    def schema(self) -> pa.Schema:
        """The columns of the first frame, the geometry last; every declared column when no frame came."""
        return self._schema or make_arrow_schema([column.name for column in self.columns], self.columns)

    @property
    def geometry_type(self) -> str:
        """Polygon, or MultiPolygon if one of the rows is."""
        return "MultiPolygon" if self.multiple else "Polygon"

    def append(self, frame: gpd.GeoDataFrame) -> None:
        """Take the next rows, with the columns of the first frame."""
        if self._schema is None:
            names = [str(name) for name in frame.columns if name != frame.geometry.name]
            self._schema = make_arrow_schema(names, self.columns)
        if len(frame):
            self.rows += len(frame)
            low, high = self.bounds[:2], self.bounds[2:]
            box = frame.total_bounds
            self.bounds = np.concatenate([np.fmin(low, box[:2]), np.fmax(high, box[2:])])
            self.multiple |= bool((shapely.get_type_id(frame.geometry.array) == MULTIPOLYGON).any())
            self._file = self._file or pa.ipc.new_stream(str(self.path), self._schema)
            self._file.write_batch(make_arrow_batch(frame, self._schema))

    def finish(self) -> None:
        """Take no more rows."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def reader(self, most_rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
        """Every row, in batches of equal length, of so many rows at most; all geometries multipolygons if one of them is."""
        batches = cut_evenly(self._read_stored(), min(self.batch_rows, most_rows))
        return pa.RecordBatchReader.from_batches(
            self.schema, map(convert_to_multipolygons, batches) if self.multiple else batches
        )

    def _read_stored(self) -> Iterator[pa.RecordBatch]:
        if self.path.exists():
            with pa.OSFile(str(self.path)) as source, pa.ipc.open_stream(source) as batches:
                yield from batches


def cut_evenly(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of so many, the last one of what is left."""
    waiting: list[pa.RecordBatch] = []
    number = 0
    for batch in batches:
        waiting.append(batch)
        number += batch.num_rows
        if number >= rows:
            table = pa.Table.from_batches(waiting).combine_chunks()
            number %= rows
            yield from table.slice(0, len(table) - number).to_batches(max_chunksize=rows)
            waiting = table.slice(len(table) - number).to_batches()
    if number:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()


def make_arrow_schema(names: Sequence[str], columns: Sequence[Column]) -> pa.Schema:
    """The types of the named columns, with the geometry as the last."""
    kinds = {column.name: KINDS[column.kind] for column in columns}
    geometry = pa.field(GEOMETRY, pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    return pa.schema([pa.field(name, kinds[name]) for name in names if name in kinds] + [geometry])


def make_arrow_batch(frame: gpd.GeoDataFrame, schema: pa.Schema) -> pa.RecordBatch:
    """A frame's rows in the types of a schema."""
    values = [
        pa.array(np.asarray(frame[name]), type=schema.field(name).type, from_pandas=True)
        for name in schema.names[:-1]
    ]
    shapes = pa.array(shapely.to_wkb(frame.geometry.array, include_srid=False), type=pa.binary())
    return pa.RecordBatch.from_arrays([*values, shapes], schema=schema)


def convert_to_multipolygons(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows, each polygon as a multipolygon of one part."""
    shapes = [
        shape if shape[1] == MULTIPOLYGON else ONE_PART + shape
        for shape in batch.column(GEOMETRY).to_pylist()
    ]
    return batch.set_column(
        len(batch.schema) - 1, batch.schema.field(GEOMETRY), pa.array(shapes, pa.binary())
    )
