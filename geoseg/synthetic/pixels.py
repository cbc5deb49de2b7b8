"""Values of pixels: random numbers and noise that depend only on a seed and a place, and how polygons cover pixels.

So any window of a world can be drawn alone. Coordinates of polygons are in pixels: x is the column, y the row, corners
at integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.raster.grid import Window

Plane = NDArray[np.float32]
Metres = NDArray[np.floating[Any]]

_WORD = 0xFFFFFFFF


def make_generator(seed: int, *key: int) -> np.random.Generator:
    """Random numbers that belong to one place or thing of the world `seed`."""
    return np.random.default_rng([seed, *(part & _WORD for part in key)])


def sample_lattice(seed: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Plane:
    """A number from -1 to 1 for each crossing of the rows and columns, the same wherever it is asked from."""
    bits = _scramble_bits(rows, 0x9E3779B1)[:, None] + _scramble_bits(cols + seed * 7919, 0x85EBCA6B)[None, :]
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x2C1B3C6D)
    bits ^= bits >> np.uint32(13)
    bits *= np.uint32(0x297A2D39)
    bits ^= bits >> np.uint32(16)
    return bits.astype(np.float32) * np.float32(2.0**-31) - np.float32(1)


def sample_noise(seed: int, wavelength_m: float, ys: Metres, xs: Metres) -> Plane:
    """Smooth noise from -1 to 1 over the places (ys, xs), in blots about as large as the wavelength."""
    i, down = _locate_knots(ys / wavelength_m)
    j, right = _locate_knots(xs / wavelength_m)
    knots = sample_lattice(seed, np.arange(i[0], i[-1] + 2), np.arange(j[0], j[-1] + 2))
    i, j = i - i[0], j - j[0]
    lines = knots[i] + down[:, None] * (knots[i + 1] - knots[i])
    slopes = np.diff(lines, axis=1)
    return np.asarray(np.take(lines, j, axis=1) + right * np.take(slopes, j, axis=1), np.float32)


def _locate_knots(places: Metres) -> tuple[NDArray[np.int64], Plane]:
    """The knot before each place, and how far on the way to the next one it is (eased)."""
    knots = np.floor(places)
    ways = places - knots
    return knots.astype(np.int64), (ways * ways * (3 - 2 * ways)).astype(np.float32)


def _scramble_bits(numbers: NDArray[np.int64], factor: int) -> NDArray[np.uint32]:
    bits = (numbers & _WORD).astype(np.uint32) * np.uint32(factor)
    bits ^= bits >> np.uint32(16)
    return np.asarray(bits * np.uint32(0x7FEB352D), np.uint32)


Segments = NDArray[np.float64]
_SCANS = 4


def extract_segments(shapes: Any) -> Segments:
    """The sides (x0, y0, x1, y1) of one or many (multi)polygons, holes included."""
    rings = shapely.get_rings(shapely.get_parts(shapes))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    return np.hstack([points[:-1][same], points[1:][same]])


def burn_mask(sides: Segments, window: Window) -> NDArray[np.bool_]:
    """The pixels whose centre lies inside. Polygons that touch, but do not overlap, give their union."""
    rows, xs = _find_crossings(sides, window.row + 0.5 + np.arange(window.height))
    cols = np.clip(np.ceil(xs - 0.5 - window.col), 0, window.width).astype(np.intp)
    flips = np.zeros((window.height, window.width + 1), np.uint8)
    np.bitwise_xor.at(flips, (rows, cols), 1)
    return np.bitwise_xor.accumulate(flips, axis=1)[:, :-1].astype(bool)


def compute_coverage(sides: Segments, window: Window) -> Plane:
    """The share (0 to 1) of each pixel that lies inside."""
    scans = window.height * _SCANS
    rows, xs = _find_crossings(sides, window.row + (np.arange(scans) + 0.5) / _SCANS)
    into = 1.0 - 2.0 * (np.arange(rows.size) % 2)
    places = np.clip(xs - window.col, 0, window.width)
    cols = places.astype(np.intp)
    rest = into * (places - cols)
    stride = window.width + 2
    at = rows // _SCANS * stride + cols
    edges = np.bincount(at, into - rest, window.height * stride) + np.bincount(
        at + 1, rest, window.height * stride
    )
    shares = edges.reshape(window.height, stride).cumsum(axis=1)[:, :-2] / _SCANS
    return np.clip(shares, 0, 1).astype(np.float32)


def _find_crossings(
    sides: Segments, ys: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where the lines y cross the sides: line number and x, in order. Each line is crossed an even number of times."""
    x0, y0, x1, y1 = sides.T
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    side, line = np.nonzero((low[:, None] <= ys) & (ys < high[:, None]))
    slope = (x1 - x0)[side] / (y1 - y0)[side]
    xs = x0[side] + (ys[line] - y0[side]) * slope
    order = np.lexsort((xs, line))
    return line[order], xs[order]
