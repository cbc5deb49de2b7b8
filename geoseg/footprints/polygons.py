"""Polygons made valid and clean: repaired where they cross themselves, small holes filled, details left out.

Neighbours neither overlap nor part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Polygons = NDArray[np.object_]
OnPolygons = Callable[[Polygons, Ints], Polygons]
Lines = tuple[Floats, Ints]
"""Points of all lines end to end, and how many each line has."""

POLYGONAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
"""What has an area; what a collection has is not asked."""


def number_rows(counts: Ints) -> Ints:
    """For every item, the number of its row."""
    return np.repeat(np.arange(len(counts)), counts)


def find_starts(counts: Ints) -> Ints:
    """Where each row starts in the flat array."""
    return np.cumsum(counts) - counts


def number_items(counts: Ints) -> Ints:
    """For every item, its place 0, 1, 2... in its row."""
    return np.arange(counts.sum()) - np.repeat(find_starts(counts), counts)


def make_offsets(counts: Ints | Flags) -> Ints:
    """Row boundaries, one more than there are rows, as shapely's ragged arrays want them."""
    return np.concatenate([[0], np.cumsum(counts)])


def sum_rows(rows: Ints, values: Floats | Ints | Flags, number: int) -> Floats:
    """Sum of the values of each row; the sum of one row never depends on the rows around it."""
    return np.bincount(rows, weights=values, minlength=number).astype(np.float64, copy=False)


def find_first_of_each(chosen: Flags, row: Ints, number: int) -> Ints:
    """Index of the first chosen item of each row; every row must have one."""
    index = np.flatnonzero(chosen)
    return index[np.searchsorted(row[index], np.arange(number))]


def choose_lines(options: Sequence[Lines], choice: Ints) -> Lines:
    """Each line from the option chosen for it."""
    sizes = np.choose(choice, [own for _, own in options])
    row, place = number_rows(sizes), number_items(sizes)
    points = np.empty((len(row), 2))
    for number, (own_points, own_sizes) in enumerate(options):
        mine = choice[row] == number
        points[mine] = own_points[find_starts(own_sizes)[row[mine]] + place[mine]]
    return points, sizes


def compute_lengths(vectors: Floats) -> Floats:
    return np.asarray(np.hypot(vectors[:, 0], vectors[:, 1]))


def compute_dot_products(first: Floats, second: Floats) -> Floats:
    return np.asarray(first[:, 0] * second[:, 0] + first[:, 1] * second[:, 1])


def compute_cross_products(first: Floats, second: Floats) -> Floats:
    """Twice the area of the triangle between two vectors; positive where the second lies to the left."""
    return np.asarray(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])


def sum_by_label(label: Ints, values: Ints | Flags, number: int) -> Ints:
    """The sum of the values with each label."""
    # Weighted counts are floats, exact for integers up to 2**53.
    return np.bincount(label, weights=values, minlength=number).astype(np.int64)


def locate_items(sizes: Ints, rows: Ints) -> Ints:
    """Positions of the items of the given rows, in a flat array of rows with these sizes."""
    return np.repeat(find_starts(sizes)[rows], sizes[rows]) + number_items(sizes[rows])


def apply_affine(polygons: Polygons, by: Affine) -> Polygons:
    """Polygons with every vertex taken through an affine transform."""
    moved: Polygons = shapely.transform(polygons, lambda x, y: by @ (x, y), interleaved=False)
    return moved


def fill_small_holes(polygons: Polygons, largest: Floats) -> Polygons:
    """Fill the holes of each polygon whose area is at most `largest` of that polygon."""
    candidates = np.flatnonzero(shapely.get_num_interior_rings(polygons) > 0)
    if not len(candidates):
        return polygons
    rings, owner = shapely.get_rings(polygons[candidates], return_index=True)
    outer = np.diff(owner, prepend=-1) > 0
    kept = outer | (shapely.area(shapely.polygons(rings)) > largest[candidates][owner])
    points, ring = shapely.get_coordinates(rings[kept], return_index=True)
    filled = polygons.copy()
    filled[candidates] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        points,
        (make_offsets(np.bincount(ring)), make_offsets(np.bincount(owner[kept]))),
    )
    return filled


def simplify_clusters(polygons: Polygons, clusters: Ints, tolerance: float) -> Polygons:
    """Leave out details up to `tolerance` across; the wall that neighbours of a cluster share stays one wall.

    The shape of a footprint depends on its own cluster alone.
    """
    smooth = polygons.copy()
    order = np.argsort(clusters, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1):
        smooth[members] = shapely.coverage_simplify(polygons[members], tolerance)
    return smooth


def apply_to_parts(polygons: Polygons, clusters: Ints, change: OnPolygons) -> Polygons:
    """Apply a change made for polygons to footprints of which some have several parts."""
    parts, owner = split_into_parts(polygons)
    return join_parts(change(parts, clusters[owner]), owner)


def split_into_parts(polygons: Polygons) -> tuple[Polygons, Ints]:
    """The polygons that polygons and multipolygons consist of, and the number of the one that each belongs to."""
    if (shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON).all():
        return polygons, np.arange(
            len(polygons)
        )  # where there is nothing to split, copies would take a while
    parts, owner = shapely.get_parts(polygons, return_index=True)
    return parts, owner


def join_parts(parts: Polygons, owner: Ints) -> Polygons:
    """One geometry for each owner, in order: its part, or its parts as a multipolygon."""
    whole = np.empty(int(owner.max(initial=-1)) + 1, dtype=object)
    whole[owner] = parts
    several = np.bincount(owner) > 1
    if several.any():
        among = several[owner]
        rank = np.cumsum(several) - 1
        whole[several] = shapely.multipolygons(parts[among], indices=rank[owner[among]])
    return whole


def mend_polygons(shapes: Polygons) -> Polygons:
    """Valid polygons, and as they were where they are valid; what has no area becomes empty.

    Rings that touch in a point cross each other by the last digit once their corners are moved to another CRS.
    """
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    if not broken.any():
        return shapes
    whole = shapes.copy()
    whole[broken] = keep_polygonal_parts(
        shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    )
    return whole


def keep_polygonal_parts(shapes: Polygons) -> Polygons:
    """Shapes without the points and lines that a cut or a repair left over."""
    mixed = np.flatnonzero(shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION)
    result = shapes.copy()
    for index in mixed:
        parts = shapely.get_parts(shapes[index])
        result[index] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    result[shapely.get_dimensions(result) < 2] = shapely.MultiPolygon()
    return result
