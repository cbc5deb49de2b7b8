"""Buildings whose true shape is known, and the masks a model would make of them: pixels, noise, cut corners."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes
from scipy import ndimage
from shapely import Polygon, affinity, box
from shapely.geometry import shape

GSD_M = 0.3
PLOT_PIXELS = 160
KINDS = ("rectangle", "L", "T", "U", "courtyard", "row", "tank", "bay", "wings")


@dataclass(frozen=True)
class Town:
    """True buildings, the clusters they form, their kinds, and the polygons traced from their mask."""

    truth: NDArray[np.object_]
    clusters: NDArray[np.int64]
    kinds: NDArray[np.str_]
    traced: NDArray[np.object_]


def building(kind: str, chance: np.random.Generator) -> list[Polygon]:
    """One building of a kind (a row has several houses), its middle near 0, 0, walls along the axes."""
    a, b = chance.uniform(10, 24), chance.uniform(8, 16)
    c, d = chance.uniform(0.35, 0.6) * a, chance.uniform(0.35, 0.6) * b
    body = box(-a / 2, -b / 2, a / 2, b / 2)
    cut = chance.uniform(3, 0.35 * b + 1)
    wing = affinity.rotate(box(0, -4, 18, 4), float(chance.uniform(25, 55)), origin=(0, 0))
    shapes_of_kinds = {
        "rectangle": body,
        "L": body - box(a / 2 - c, b / 2 - d, a / 2 + 1, b / 2 + 1),
        "T": body | box(-c / 2, 0, c / 2, b / 2 + d),
        "U": body - box(-c / 2, -b / 2 + 0.4 * b, c / 2, b),
        "courtyard": body.buffer(3, join_style="mitre") - box(-c / 2, -d / 2, c / 2, d / 2),
        "tank": shapely.Point(0, 0).buffer(chance.uniform(3, 9), quad_segs=32),
        "bay": body - Polygon([(a / 2, b / 2), (a / 2 - cut, b / 2), (a / 2, b / 2 - cut)]),
        "wings": affinity.translate(box(-16, -4, 2, 4) | wing, -2, -4),
    }
    return _row(chance) if kind == "row" else [shapes_of_kinds[kind]]


def _row(chance: np.random.Generator) -> list[Polygon]:
    """Houses side by side: some are deeper at the back, all but the last flush with the street."""
    sides = np.cumsum(np.r_[0, chance.uniform(5, 7, 5)])
    depths = chance.choice([9.0, 9.0, 11.0], 5)
    fronts = np.r_[np.zeros(4), chance.choice([0.0, 1.5])]
    houses = zip(pairwise(sides), fronts, depths, strict=True)
    return [box(west - 15, front - 5, east - 15, depth - 5) for (west, east), front, depth in houses]


def town(number: int, seed: int, *, noise_pixels: float = 0.7, kinds: tuple[str, ...] = KINDS) -> Town:
    """Buildings of all kinds in turn, each turned at random on its own plot, and their traced mask."""
    chance = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(number)))
    truth, clusters, names = [], [], []
    for plot in range(number):
        kind = kinds[plot % len(kinds)]
        row, col = divmod(plot, across)
        middle = (np.array([col, row]) + 0.5) * PLOT_PIXELS * GSD_M + chance.uniform(-1, 1, 2)
        angle = float(chance.uniform(0, 90))
        for part in building(kind, chance):
            turned = affinity.rotate(part, angle, origin=(0, 0))
            truth.append(affinity.translate(turned, *middle))
            clusters.append(plot)
            names.append(kind)
    labels = _mask(truth, across * PLOT_PIXELS, noise_pixels, chance)
    traced = traced_labels(labels)
    return Town(
        np.array(truth), np.array(clusters), np.array(names), np.array([traced[i] for i in range(len(truth))])
    )


def _transform(height: int) -> Affine:
    return Affine(GSD_M, 0, 0, 0, -GSD_M, height * GSD_M)


def _mask(
    truth: list[Polygon], size: int, noise_pixels: float, chance: np.random.Generator
) -> NDArray[np.int32]:
    """Number of the building at each pixel, -1 for none, as a model with wobbling edges would see it."""
    labels = rasterize(
        zip(truth, range(1, len(truth) + 1), strict=True),
        (size, size),
        transform=_transform(size),
        dtype="int32",
    )
    if noise_pixels:
        labels = _wobbled(labels, noise_pixels, chance)
        labels = _bitten(labels, truth, chance)
    return labels - 1


def _wobbled(labels: NDArray[np.int32], pixels: float, chance: np.random.Generator) -> NDArray[np.int32]:
    """Every pixel looks up a place somewhat beside its own; places of neighbours are alike."""
    drift = [ndimage.gaussian_filter(chance.normal(size=labels.shape), 1.5) for _ in range(2)]
    rows, cols = (pixels * d / d.std() + i for d, i in zip(drift, np.indices(labels.shape), strict=True))
    limit = labels.shape[0] - 1
    return labels[np.rint(rows).clip(0, limit).astype(int), np.rint(cols).clip(0, limit).astype(int)]


def _bitten(
    labels: NDArray[np.int32], truth: list[Polygon], chance: np.random.Generator
) -> NDArray[np.int32]:
    """A missing corner on every second building, a small bump on every third."""
    labels, size = labels.copy(), labels.shape[0]
    for number, polygon in enumerate(truth, start=1):
        spots = [int(v) for v in chance.integers(0, 1_000_000, 2)]
        corners = shapely.get_coordinates(polygon)
        if number % 2 == 0:
            x, y = corners[spots[0] % len(corners)]
            view = _around(labels, size - y / GSD_M, x / GSD_M, 2)
            view[view == number] = 0
        if number % 3 == 0:
            point = polygon.exterior.interpolate(spots[1] / 1_000_000, normalized=True)
            view = _around(labels, size - point.y / GSD_M, point.x / GSD_M, 1)
            view[view == 0] = number
    return labels


def _around(labels: NDArray[np.int32], row: float, col: float, reach: int) -> NDArray[np.int32]:
    return labels[int(row) - reach : int(row) + reach + 1, int(col) - reach : int(col) + reach + 1]


def traced_labels(labels: NDArray[np.int32]) -> dict[int, Polygon]:
    """The largest polygon of each label, traced along pixels (4-connectivity)."""
    largest: dict[int, Polygon] = {}
    for geometry, value in shapes(labels, mask=labels >= 0, transform=_transform(labels.shape[0])):
        polygon = _without_small_holes(shape(geometry))
        if value not in largest or polygon.area > largest[value].area:
            largest[int(value)] = polygon
    return largest


def _without_small_holes(polygon: Polygon, least_m2: float = 2.0) -> Polygon:
    return Polygon(polygon.exterior, [hole for hole in polygon.interiors if Polygon(hole).area >= least_m2])
