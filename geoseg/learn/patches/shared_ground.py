"""Whether sites of two splits show the same ground: then a model would be judged by what it has learnt by heart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import cos, hypot, radians, sin

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geoseg.errors import InputError
from geoseg.learn.patches.sites import CELL, Site
from geoseg.raster.grid import Grid, Window, between

EARTH_RADIUS_M = 6_378_137.0
GENEROUS = 1.1
"""Circles around sites are drawn a little larger, since the middle of a grid tells its scale only nearly."""


def refuse_shared_ground(splits: Mapping[str, Sequence[Site]]) -> None:
    """Refuse sites of two splits that hold labels of the same ground, or the very same image."""
    for (name, sites), (other, others) in combinations(splits.items(), 2):
        for one, two in (*same_pictures(sites, others), *same_places(sites, others)):
            raise InputError(
                f"{one.item.image} ({name}) and {two.item.image} ({other}) show the same ground; "
                "give both to one split, or a model will be judged by what it has learnt by heart"
            )


def same_pictures(sites: Sequence[Site], others: Sequence[Site]) -> Iterator[tuple[Site, Site]]:
    """Pairs of images without a place on Earth whose middles are the same; flat ones do not count."""
    known = {middle_of(site): site for site in sites if site.image.grid is None}
    for other in others:
        middle = middle_of(other) if other.image.grid is None and known else None
        if middle is not None and middle in known:
            yield known[middle], other


def middle_of(site: Site) -> tuple[int, int, bytes] | None:
    """What an image is known again by: its size, and a digest of the pixels in its middle."""
    height, width = site.image.shape
    middle = Window(height // 2, width // 2, min(CELL, height - height // 2), min(CELL, width - width // 2))
    values = site.image.read(middle)[0]
    if np.ptp(values) == 0:
        return None
    return height, width, hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).digest()


def same_places(sites: Sequence[Site], others: Sequence[Site]) -> Iterator[tuple[Site, Site]]:
    """Pairs of images whose labels lie on common ground."""
    placed, placed_others = ([s for s in group if s.image.grid is not None] for group in (sites, others))
    if not placed or not placed_others:
        return
    reaches = np.array([reach_of(site) for site in placed])
    tree = cKDTree([direction_of(site) for site in placed])
    for other in placed_others:
        near = tree.query_ball_point(direction_of(other), reach_of(other) + reaches.max())
        yield from ((placed[i], other) for i in near if shares_ground(placed[i], other))


def direction_of(site: Site) -> tuple[float, float, float]:
    """Where the middle of a site lies on a sphere of radius 1, on which no border between -180 and 180 is in the way."""
    assert site.image.grid is not None
    lon, lat = map(radians, site.image.grid.centre_lonlat)
    return cos(lat) * cos(lon), cos(lat) * sin(lon), sin(lat)


def reach_of(site: Site) -> float:
    """How far a site reaches from its middle, on that sphere."""
    assert site.image.grid is not None
    across, down = site.image.grid.pixel_size_m
    return GENEROUS * hypot(across * site.image.shape[1], down * site.image.shape[0]) / 2 / EARTH_RADIUS_M


def shares_ground(one: Site, two: Site) -> bool:
    """Whether cells that are mostly labelled in one site are so in the other, too."""
    mine, theirs = one.image.grid, two.image.grid
    assert mine is not None
    assert theirs is not None
    if not boxes_meet(mine, theirs):
        return False
    rows, cols = np.nonzero(mostly_known(one))
    across, down = (cols + 0.5) * CELL, (rows + 0.5) * CELL
    a, b, c, d, e, f, *_ = mine.transform
    own = pixels_at(theirs, mine, a * across + b * down + c, d * across + e * down + f)
    cells = np.floor(own / CELL).astype(np.int64)
    known = mostly_known(two)
    here = ((cells >= 0) & (cells < np.array(known.shape)[:, None])).all(axis=0)
    return bool(known[tuple(cells[:, here])].any())


def mostly_known(site: Site) -> NDArray[np.bool_]:
    return np.asarray(site.counts.sum(axis=2) > CELL * CELL / 2)


def boxes_meet(one: Grid, two: Grid) -> bool:
    left, bottom, right, top = between(one.crs, two.crs).transform_bounds(*one.bounds)
    other = two.bounds
    return bool(left < other[2] and right > other[0] and bottom < other[3] and top > other[1])


def pixels_at(
    grid: Grid, other: Grid, xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rows and columns of a grid at places given in the CRS of another."""
    there = between(other.crs, grid.crs).transform(xs, ys)
    a, b, c, d, e, f, *_ = ~grid.transform
    return np.array([d * there[0] + e * there[1] + f, a * there[0] + b * there[1] + c])
