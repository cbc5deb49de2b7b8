"""CVAT's shapes as pixels."""

from __future__ import annotations

from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry import Polygon
from shapely.validation import make_valid

from geoseg.errors import InputError
from geoseg.prepare.cvat.xml import Shape

ROUND = 64

Mask = NDArray[np.bool_]


def drawn(shape: Shape, height: int, width: int) -> Mask:
    """The pixels (row, col) whose centres lie in a shape; run lengths are taken as they are."""
    try:
        if shape.kind == "mask":
            return from_run_lengths(shape, height, width)
        return filled(OUTLINES[shape.kind](shape), height, width)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"a {shape.kind} of {shape.label} lacks a number or has a broken one ({error})"
        ) from error


def filled(corners: NDArray[np.float64], height: int, width: int) -> Mask:
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError(f"{len(corners)} corners")
    shape = make_valid(Polygon(corners))
    if shape.area == 0:
        return np.zeros((height, width), dtype=bool)
    mask: Mask = rasterize([(shape, 1)], out_shape=(height, width), dtype="uint8") == 1
    return mask


def number(shape: Shape, name: str, default: str | None = None) -> float:
    return float(shape.given[name] if default is None else shape.given.get(name, default))


def polygon(shape: Shape) -> NDArray[np.float64]:
    pairs = [pair.split(",") for pair in shape.given["points"].split(";")]
    return np.array([(float(x), float(y)) for x, y in pairs])


def box(shape: Shape) -> NDArray[np.float64]:
    left, top, right, bottom = (number(shape, name) for name in ("xtl", "ytl", "xbr", "ybr"))
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return turned(corners, shape)


def ellipse(shape: Shape) -> NDArray[np.float64]:
    angles = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
    radii = number(shape, "rx"), number(shape, "ry")
    centre = number(shape, "cx"), number(shape, "cy")
    return turned(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii + centre, shape)


OUTLINES = {"polygon": polygon, "box": box, "ellipse": ellipse}


def turned(corners: NDArray[np.float64], shape: Shape) -> NDArray[np.float64]:
    """Turned about their middle by the shape's rotation, clockwise as seen on the screen."""
    angle = radians(number(shape, "rotation", "0"))
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    turn = np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
    rotated: NDArray[np.float64] = (corners - middle) @ turn + middle
    return rotated


def from_run_lengths(shape: Shape, height: int, width: int) -> Mask:
    """Run lengths, row by row inside the mask's own box and beginning outside."""
    left, top, across, down = (int(shape.given[name]) for name in ("left", "top", "width", "height"))
    runs = np.array([int(run) for run in shape.given["rle"].split(",")])
    if runs.sum() != across * down or (runs < 0).any():
        raise ValueError(f"runs of {runs.sum()} pixels in a box of {across * down}")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(down, across)
    mask = np.zeros((height, width), dtype=bool)
    first_row, first_col = max(0, -top), max(0, -left)
    part = inside[first_row : max(first_row, height - top), first_col : max(first_col, width - left)]
    row, col = max(0, top), max(0, left)
    mask[row : row + part.shape[0], col : col + part.shape[1]] = part
    return mask
