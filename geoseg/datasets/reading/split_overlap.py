"""Whether sites of two splits show the same ground, so that a model would be scored on what it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations
from math import cos, hypot, radians, sin

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geoseg.datasets.reading.sites import CELL, Site
from geoseg.errors import InputError
from geoseg.raster.grid import Grid, Window, find_transformer

EARTH_RADIUS_M = 6_378_137.0
STEP = 16
"""Pixels between two points at which ground is compared."""
MOST_LOOKED_AT = 300
"""Points of common ground at which labels are looked up."""
SHARED = 0.05
"""Sites may share so much of what is labelled: images of neighbouring tiles overlap a little at their edges."""
GENEROUS = 1.1
"""Circles around sites are drawn a little larger, since the middle of a grid tells its scale only nearly."""


def refuse_shared_ground(splits: Mapping[str, Sequence[Site]]) -> None:
    """Refuse sites of two splits that hold labels of the same ground, or the very same image."""
    for (name, sites), (other, others) in combinations(splits.items(), 2):
        for one, two in chain(find_same_images(sites, others), find_same_places(sites, others)):
            raise InputError(
                f"{one.item.image} ({name}) and {two.item.image} ({other}) show the same ground; "
                "give both to one split, or a model will be judged by what it has learnt by heart"
            )


def find_same_images(sites: Sequence[Site], others: Sequence[Site]) -> Iterator[tuple[Site, Site]]:
    """Pairs of images without a place on Earth whose middles are the same; flat ones do not count."""
    known = {digest_middle(site): site for site in sites if site.image.grid is None}
    for other in others:
        middle = digest_middle(other) if other.image.grid is None and known else None
        if middle is not None and middle in known:
            yield known[middle], other


def digest_middle(site: Site) -> tuple[int, int, bytes] | None:
    """What an image is known again by: its size, and a digest of the pixels in its middle."""
    height, width = site.image.shape
    middle = Window(height // 2, width // 2, min(CELL, height - height // 2), min(CELL, width - width // 2))
    values = site.image.read(middle)[0]
    if np.ptp(values) == 0:
        return None
    return height, width, hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).digest()


def find_same_places(sites: Sequence[Site], others: Sequence[Site]) -> Iterator[tuple[Site, Site]]:
    """Pairs of images whose labels lie on common ground."""
    placed, placed_others = ([s for s in group if s.image.grid is not None] for group in (sites, others))
    if not placed or not placed_others:
        return
    reaches = np.array([compute_reach(site) for site in placed])
    tree = cKDTree([compute_direction(site) for site in placed])
    for other in placed_others:
        near = tree.query_ball_point(compute_direction(other), compute_reach(other) + reaches.max())
        yield from ((placed[i], other) for i in near if shares_ground(placed[i], other))


def compute_direction(site: Site) -> tuple[float, float, float]:
    """Where the middle of a site lies on a sphere of radius 1, on which no border between -180 and 180 is in the way."""
    assert site.image.grid is not None
    lon, lat = map(radians, site.image.grid.centre_lonlat)
    return cos(lat) * cos(lon), cos(lat) * sin(lon), sin(lat)


def compute_reach(site: Site) -> float:
    """How far a site reaches from its middle, on that sphere."""
    assert site.image.grid is not None
    across, down = site.image.grid.pixel_size_m
    return GENEROUS * hypot(across * site.image.shape[1], down * site.image.shape[0]) / 2 / EARTH_RADIUS_M


def shares_ground(one: Site, two: Site) -> bool:
    """Whether more than a twentieth of what is labelled in the smaller of two sites is so in the other, too.

    Told by points on a lattice, of which some are looked at: two may share an image, each with labels of its own.
    """
    mine, theirs = one.image.grid, two.image.grid
    assert mine is not None
    assert theirs is not None
    if not boxes_overlap(mine, theirs):
        return False
    own = list_labelled_points(one)
    a, b, c, d, e, f, *_ = mine.transform
    xs, ys = a * own[1] + b * own[0] + c, d * own[1] + e * own[0] + f
    other = locate_pixels(theirs, mine, xs, ys)
    here = find_points_near_labels(two, other)
    common = int(here.sum())
    if not common:
        return False
    looked = np.flatnonzero(here)[:: -(-common // MOST_LOOKED_AT)]
    both = np.mean([has_label(one, own[:, i]) and has_label(two, other[:, i]) for i in looked])
    return bool(both * common * STEP**2 > SHARED * min(one.known, two.known))


def list_labelled_points(site: Site) -> NDArray[np.float64]:
    """Points (row, col) in the cells of a site that hold labels, a lattice through its image."""
    rows, cols = (np.arange(STEP / 2, size, STEP) for size in site.image.shape)
    points = np.stack([each.ravel() for each in np.meshgrid(rows, cols, indexing="ij")])
    return points[:, find_points_near_labels(site, points)]


def find_points_near_labels(site: Site, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points (row, col) lie in a cell of a site that holds labels."""
    shape = np.array(site.image.shape)[:, None]
    inside = np.flatnonzero(((points >= 0) & (points < shape)).all(axis=0))
    cells = np.floor(points[:, inside] / CELL).astype(np.int64)
    near = np.zeros(points.shape[1], dtype=bool)
    near[inside] = (site.counts.sum(axis=2) > 0)[tuple(cells)]
    return near


def has_label(site: Site, point: NDArray[np.float64]) -> bool:
    """Whether the pixel at a point (row, col) has a label."""
    row, col = (int(value) for value in point)
    return bool(site.read(Window(row, col, 1, 1)).classes[0, 0] != site.ignore)


def boxes_overlap(one: Grid, two: Grid) -> bool:
    left, bottom, right, top = find_transformer(one.crs, two.crs).transform_bounds(*one.bounds)
    other = two.bounds
    return bool(left < other[2] and right > other[0] and bottom < other[3] and top > other[1])


def locate_pixels(
    grid: Grid, other: Grid, xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rows and columns of a grid at places given in the CRS of another."""
    there = find_transformer(other.crs, grid.crs).transform(xs, ys)
    a, b, c, d, e, f, *_ = ~grid.transform
    return np.array([d * there[0] + e * there[1] + f, a * there[0] + b * there[1] + c])
