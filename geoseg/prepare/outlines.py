"""Labels as outlines: a layer of polygons that carry the names of their classes, and one of the ground that is known.

Outlines keep what masks lose: houses that stand wall to wall stay apart, at whatever resolution they are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import geopandas
import numpy as np
import shapely
from pyproj import CRS

from geoseg.footprints.files.replacing import replacing
from geoseg.footprints.valid import polygonal
from geoseg.prepare.dataset import IGNORE, Item
from geoseg.prepare.polygons import Polygons, Shapes, outline
from geoseg.raster.grid import Grid

FIELD = "class"
SUFFIX = ".fgb"

Form = Literal["masks", "vectors"]


def labelled_path(label: Path) -> Path:
    """Where the layer lies that tells which ground a label of outlines knows."""
    return label.with_suffix(f".labelled{SUFFIX}")


def with_outlines(item: Item, folder: Path) -> Item:
    """An item whose label is a layer in the folder of its data set: which field to read, and where it is complete."""
    labelled = labelled_path(Path(item.label))
    known = str(labelled) if (folder / labelled).exists() else None
    return replace(item, class_field=FIELD, labelled=known)


def write_outlines(
    path: Path, polygons: Polygons, names: Sequence[str], grid: Grid, areas: Polygons | None = None
) -> None:
    """Write a label as a layer of whole polygons; where not all ground is known, a second one tells which is.

    Everything within the areas, else on the grid, is labelled, but for unknown ground that no polygon covers.
    """
    unknown = polygons.values == IGNORE
    drawn = polygons.where(~unknown)
    if areas is not None or unknown.any():
        ground = np.array([outline(grid)]) if areas is None else areas.shapes
        known = without(ground, uncovered(polygons.shapes[unknown], drawn.shapes))
        write_layer(labelled_path(path), known, ["known"] * len(known), grid.crs)
    write_layer(path, drawn.shapes, [names[value] for value in drawn.values.tolist()], grid.crs)


def uncovered(ground: Shapes, above: Shapes) -> shapely.Geometry:
    """The part of some ground on which no polygon lies."""
    whole = shapely.union_all(ground)
    shapely.prepare(whole)
    return shapely.difference(whole, shapely.union_all(above[shapely.intersects(above, whole)]))


def without(areas: Shapes, ground: shapely.Geometry) -> Shapes:
    """What is left of areas when some ground is taken from them."""
    if ground.is_empty:
        return areas
    left = polygonal(shapely.difference(areas, ground))
    return np.asarray(left[~shapely.is_empty(left)])


def write_layer(path: Path, shapes: Shapes, names: Sequence[str], crs: CRS) -> None:
    """Write polygons and their names as a layer, in their order, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layer = geopandas.GeoDataFrame({FIELD: np.array(names, object)}, geometry=shapes, crs=crs)
    with replacing(path) as folder:
        # An index would bring the polygons into another order, and later ones lie above earlier ones.
        layer.to_file(
            folder / path.name,
            driver="FlatGeobuf",
            engine="pyogrio",
            geometry_type="MultiPolygon",
            SPATIAL_INDEX="NO",
        )
