"""Training sets from what `geoseg export` wrote: pairs as they lie, or whole layers cut into pieces."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window as RasterioWindow

from geoseg.datasets.builder import DatasetBuilder, Origin, SplitRule, is_written
from geoseg.datasets.classes import BACKGROUND, CLASS_COLORS
from geoseg.datasets.images import open_image
from geoseg.datasets.schema import IGNORE, Dataset, Item, write_dataset
from geoseg.errors import InputError
from geoseg.raster.grid import Grid, parse_crs
from geoseg.raster.palette import ClassEntry
from geoseg.raster.source import replace_raster
from geoseg.records import parse_json

INDEX_FILE = "pairs.csv"
MASK_VALUES = "0 = background, 1 = built"
BLOCK = 2
"""Pieces along a side of a place: neighbours mostly go to one split."""
MOST_UNKNOWN = 0.5
"""A piece of which more is unknown teaches little."""
TRUE_METRES = 0.01
"""How far metres of a CRS may be off to be taken as they are; those of UTM are by a thousandth."""
CLASSES = (BACKGROUND, ClassEntry("building", CLASS_COLORS[1]))


@dataclass(frozen=True)
class ExportRecord:
    """What the record beside an exported layer (a STAC item) says of it."""

    path: Path
    content: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self.content["properties"]
        return properties

    @property
    def is_label(self) -> bool:
        return "labels" in self.content["assets"]["data"]["roles"]

    @property
    def bands(self) -> tuple[str, ...]:
        return tuple(band["name"] for band in self.content["assets"]["data"]["bands"])

    @property
    def raster(self) -> Path:
        return self.path.parent / str(self.content["assets"]["data"]["href"])

    @property
    def gsd_m(self) -> float:
        """The size of its pixels: the one that was asked for, but measured where metres of the CRS are not true."""
        properties = self.properties
        transform = Affine(*properties["proj:transform"][:6])
        crs = properties.get("proj:code") or properties.get("proj:wkt2")
        if not crs:
            return abs(transform.a)
        true_m = Grid(parse_crs(crs, str(self.path)), transform, *properties["proj:shape"]).gsd_m
        return abs(transform.a) if isclose(transform.a, true_m, rel_tol=TRUE_METRES) else round(true_m, 4)


@dataclass(frozen=True)
class ExportFolder:
    """An exported picture and the mask that belongs to it."""

    folder: Path
    picture: ExportRecord
    label: ExportRecord

    @classmethod
    def read(cls, folder: Path) -> ExportFolder:
        """Find the records of a folder; refused unless there is one picture and one mask."""
        records = [record for path in sorted(folder.glob("*.json")) if (record := read_record(path))]
        pictures = [record for record in records if not record.is_label]
        labels = [record for record in records if record.is_label]
        if len(pictures) != 1 or len(labels) != 1:
            raise InputError(
                f"{folder}: holds the records of {len(pictures)} pictures and {len(labels)} labels; a training set needs "
                "one of each, as geoseg export --label ghsl writes them"
            )
        values = labels[0].properties.get("geoseg:recipe", {}).get("values", "")
        if values != MASK_VALUES:
            raise InputError(
                f"{labels[0].raster}: is no mask of buildings ({values}); export it without --label-values own, or use "
                "geoseg prepare sentinel-esm"
            )
        return cls(folder, pictures[0], labels[0])

    @property
    def origin(self) -> Origin:
        """What both records say of licences and sources."""
        both = (self.picture.properties, self.label.properties)
        licence, attribution, source = (
            "; ".join(dict.fromkeys(str(properties.get(key) or "unknown") for properties in both))
            for key in ("license", "geoseg:attribution", "geoseg:source")
        )
        return Origin(self.folder.resolve().name, licence, attribution, source)


def read_record(path: Path) -> ExportRecord | None:
    """The record in a JSON file; none if the file is something else."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        record = ExportRecord(path, content)
        _ = record.is_label, record.bands, record.gsd_m
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record


def describe_pairs(folder: Path) -> Dataset:
    """Write `dataset.toml` for pairs of `geoseg export --pairs`, from their index and records."""
    exported = ExportFolder.read(folder)
    with (folder / INDEX_FILE).open(encoding="utf-8", newline="") as index:
        items = tuple(map(make_pair_item, csv.DictReader(index)))
    dataset = make_dataset(exported, exported.origin, items, folder)
    write_dataset(dataset, folder)
    return dataset


def make_pair_item(row: Mapping[str, str]) -> Item:
    split: Any = row["split"]
    image, label = (f"{split}/{kind}/{row['name']}.tif" for kind in ("images", "labels"))
    return Item(image, label, f"{split}-{row['place']}", split)


def make_dataset(exported: ExportFolder, origin: Origin, items: tuple[Item, ...], folder: Path) -> Dataset:
    return Dataset(
        name=origin.name,
        licence=origin.licence,
        attribution=origin.attribution,
        source=origin.source,
        gsd_m=exported.picture.gsd_m,
        bands=exported.picture.bands,
        classes=CLASSES,
        items=items,
        folder=folder,
    )


def prepare_exported(
    exported: ExportFolder, origin: Origin, splits: SplitRule, side: int, builder: DatasetBuilder
) -> Dataset:
    """Cut an exported picture and its mask into square pieces, some neighbours to a place."""
    with builder.begin(kind="export", folder=str(exported.folder), side=side, splits=repr(splits)):
        with open_image(exported.picture.raster) as raster:
            windows = list(split_into_squares(raster.height, raster.width, side))
        calls = [{"exported": exported, "window": window, "folder": builder.folder} for window in windows]
        kept = [
            window
            for window, is_known in zip(windows, builder.run_all("Cutting", cut_piece, calls), strict=True)
            if is_known
        ]
        if not kept:
            raise InputError(f"{exported.folder}: every piece of {side} pixels is mostly unknown")
        places = [name_place(window, side) for window in kept]
        split_of = splits.of(places)
        items = tuple(
            Item(*make_piece_paths(window), place, split_of[place])
            for window, place in zip(kept, places, strict=True)
        )
        return builder.finish(make_dataset(exported, origin, items, builder.folder))


def split_into_squares(height: int, width: int, side: int) -> Iterator[RasterioWindow]:
    """Squares over a raster; those of the last row and column may be smaller."""
    for row in range(0, height, side):
        for col in range(0, width, side):
            yield RasterioWindow(col, row, min(side, width - col), min(side, height - row))


def name_place(window: RasterioWindow, side: int) -> str:
    return f"r{window.row_off // (BLOCK * side):03}-c{window.col_off // (BLOCK * side):03}"


def make_piece_paths(window: RasterioWindow) -> tuple[str, str]:
    """Where image and label of a piece lie in the data set."""
    name = f"{window.row_off:07}_{window.col_off:07}.tif"
    return f"images/{name}", f"labels/{name}"


def cut_piece(exported: ExportFolder, window: RasterioWindow, folder: Path) -> bool:
    """Write image and label of a piece, unless that is done or it is mostly unknown; whether the piece counts."""
    with (
        open_image(exported.label.raster) as label,
        open_image(exported.picture.raster) as picture,
    ):
        codes, pixels = label.read(1, window=window), picture.read(window=window)
        blank = (pixels == picture.nodata).any(axis=0) if picture.nodata is not None else np.False_
        codes[np.broadcast_to(blank, codes.shape)] = IGNORE
        if (codes == IGNORE).mean() > MOST_UNKNOWN:
            return False
        image_path, label_path = (folder / path for path in make_piece_paths(window))
        write_piece(image_path, pixels, picture, window)
        write_piece(label_path, codes[None], label, window)
    return True


def write_piece(path: Path, values: Any, source: Any, window: RasterioWindow) -> None:
    """A piece of a raster as a file of its own, with the names and scales of its bands."""
    if is_written(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "dtype": values.dtype, "count": len(values), "height": window.height,
        "width": window.width, "crs": source.crs, "transform": source.window_transform(window),
        "nodata": source.nodata, "compress": "deflate",
    }  # fmt: skip
    with replace_raster(path) as unfinished, rasterio.open(unfinished, "w", **profile) as target:
        target.write(values)
        target.descriptions, target.scales = source.descriptions, source.scales
