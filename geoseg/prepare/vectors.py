"""Scenes with polygons of buildings: SpaceNet, OpenStreetMap, Microsoft, Google, Overture and the like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import rasterio.features
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.prepare.dataset import IGNORE, Dataset
from geoseg.prepare.making import Workshop
from geoseg.prepare.masks import MaskSet, labelled_pictures
from geoseg.prepare.pairs import Pair, flat
from geoseg.prepare.picture import Picture, known_pixels, opened, picture, write_label
from geoseg.raster.grid import Grid, Window


@dataclass(frozen=True)
class VectorSet(MaskSet):
    """What is to be made of pairs of scenes and polygons.

    `class_field` holds the words that the class table knows; without it every polygon is of the last class. Outside
    the polygons of `labelled` nothing is known, inside them what no polygon covers is background.
    """

    class_field: str | None = None
    labelled: Path | None = None


@dataclass(frozen=True)
class Drawing:
    """A label drawn from polygons, and how the polygons fared."""

    image: Picture
    polygons: int
    outside: int
    mended: int


@dataclass(frozen=True)
class Polygons:
    """Polygons in a raster's CRS with their class values, in the order in which they are drawn."""

    shapes: NDArray[np.object_]
    values: NDArray[np.uint8]
    mended: int = 0


def prepare_vectors(pairs: Sequence[Pair], wanted: VectorSet, workshop: Workshop) -> Dataset:
    """Make a data set of scenes and polygons: the polygons are drawn on each scene's own pixels."""
    with workshop.recipe(kind="vectors", pairs=[pair.image for pair in pairs], wanted=repr(wanted)):
        calls = [{"pair": pair, "wanted": wanted, "folder": workshop.folder} for pair in pairs]
        drawings = workshop.all_done("Drawing polygons", drawn, calls)
        tell(drawings, workshop)
        names = [pair.name for pair in pairs]
        dataset = labelled_pictures(names, [each.image for each in drawings], wanted, workshop.folder)
        return workshop.finish(dataset)


def tell(drawings: Sequence[Drawing], workshop: Workshop) -> None:
    outside, mended = sum(each.outside for each in drawings), sum(each.mended for each in drawings)
    workshop.narrator.say(f"{sum(each.polygons for each in drawings):,} polygons drawn")
    if outside:
        workshop.narrator.warn(f"{outside:,} polygons lie outside their image and were left out")
    if mended:
        workshop.narrator.warn(f"{mended:,} polygons cross themselves and were mended")


def drawn(pair: Pair, wanted: VectorSet, folder: Path) -> Drawing:
    """Write the label of one scene, unless it is there, and tell how its polygons fared."""
    image = picture(pair.image)
    if image.grid is None:
        raise InputError(f"{pair.image}: has no place on Earth, so polygons cannot be drawn on it; use masks")
    polygons = read_polygons(pair.label, image.grid.crs, wanted)
    area = read_area(wanted.labelled, image.grid.crs) if wanted.labelled else None
    inside = shapely.intersects(polygons.shapes, outline(image.grid))
    polygons = replace(polygons, shapes=polygons.shapes[inside], values=polygons.values[inside])
    label = folder / "labels" / f"{flat(pair.name)}.tif"
    if not label.exists():
        write_label(label, image, class_values(image, image.grid, polygons, area, len(wanted.bands)))
    return Drawing(image, int(inside.sum()), int((~inside).sum()), polygons.mended)


def outline(grid: Grid) -> shapely.Polygon:
    return shapely.Polygon(
        grid.transform @ corner
        for corner in ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    )


def read_polygons(path: Path, crs: CRS, wanted: VectorSet) -> Polygons:
    """The polygons of a vector file in another CRS, valid, with their class values."""
    layer = read_layer(path, crs, [wanted.class_field] if wanted.class_field else [])
    shapes = layer.geometry.to_numpy()
    drawable = np.isin(shapely.get_type_id(shapes), (3, 6)) & ~shapely.is_empty(shapes)
    shapes = shapes[drawable]
    crossed = ~shapely.is_valid(shapes)
    shapes = np.where(crossed, shapely.make_valid(shapes), shapes)
    if wanted.class_field:
        values = wanted.table.of_words(layer[wanted.class_field].to_numpy()[drawable], path)
    else:
        values = np.full(len(shapes), len(wanted.table.classes) - 1, np.uint8)
    return Polygons(shapes, values, int(crossed.sum()))


def read_layer(path: Path, crs: CRS, columns: list[str]) -> Any:
    try:
        known = pyogrio.read_info(path)["fields"]
        layer = pyogrio.read_dataframe(path, columns=columns)
    except (DataSourceError, DataLayerError) as error:
        raise InputError(f"{path}: not a vector file that can be read ({error})") from error
    missing = [column for column in columns if column not in known]
    if missing:
        raise InputError(f"{path}: has no field {missing[0]}; it has {', '.join(known) or 'none'}")
    if not isinstance(layer, geopandas.GeoDataFrame) or layer.crs is None:
        raise InputError(f"{path}: has no coordinate reference system; give it one with ogr2ogr -a_srs")
    return layer.to_crs(crs)


def read_area(path: Path, crs: CRS) -> Polygons:
    shapes = shapely.make_valid(read_layer(path, crs, []).geometry.to_numpy())
    return Polygons(shapes, np.ones(len(shapes), np.uint8))


def class_values(
    image: Picture, grid: Grid, polygons: Polygons, area: Polygons | None, bands: int
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    tree, area_tree = shapely.STRtree(polygons.shapes), area and shapely.STRtree(area.shapes)
    with opened(image.path) as dataset:
        for window in image.windows():
            place = grid.window(window)
            values = burned(place, polygons, tree)
            if area is not None and area_tree is not None:
                values[burned(place, area, area_tree) == 0] = IGNORE
            values[~known_pixels(dataset, window, bands)] = IGNORE
            yield window, values


def burned(grid: Grid, polygons: Polygons, tree: shapely.STRtree) -> NDArray[np.uint8]:
    """Class values where a pixel's centre lies in a polygon, zero elsewhere; later polygons lie above earlier ones."""
    near = np.sort(tree.query(outline(grid)))
    if len(near) == 0:
        return np.zeros(grid.shape, np.uint8)
    pairs = zip(polygons.shapes[near], polygons.values[near].tolist(), strict=True)
    drawing: NDArray[np.uint8] = rasterio.features.rasterize(
        pairs, out_shape=grid.shape, transform=grid.transform, fill=0, dtype="uint8"
    )
    return drawing
