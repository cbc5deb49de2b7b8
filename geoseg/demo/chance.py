"""Chance that depends on nothing but a seed and a place, so that any window of the world can be drawn alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Metres = NDArray[np.floating[Any]]

_WORD = 0xFFFFFFFF


def generator(seed: int, *key: int) -> np.random.Generator:
    """Random numbers that belong to one place or thing of the world `seed`."""
    return np.random.default_rng([seed, *(part & _WORD for part in key)])


def lattice(seed: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Plane:
    """A number from -1 to 1 for each crossing of the rows and columns, the same wherever it is asked from."""
    bits = _scrambled(rows, 0x9E3779B1)[:, None] + _scrambled(cols + seed * 7919, 0x85EBCA6B)[None, :]
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x2C1B3C6D)
    bits ^= bits >> np.uint32(13)
    bits *= np.uint32(0x297A2D39)
    bits ^= bits >> np.uint32(16)
    return bits.astype(np.float32) * np.float32(2.0**-31) - np.float32(1)


def noise(seed: int, wavelength_m: float, ys: Metres, xs: Metres) -> Plane:
    """Smooth noise from -1 to 1 over the places (ys, xs), in blots about as large as the wavelength."""
    i, down = _steps(ys / wavelength_m)
    j, right = _steps(xs / wavelength_m)
    knots = lattice(seed, np.arange(i[0], i[-1] + 2), np.arange(j[0], j[-1] + 2))
    i, j = i - i[0], j - j[0]
    lines = knots[i] + down[:, None] * (knots[i + 1] - knots[i])
    slopes = np.diff(lines, axis=1)
    return np.asarray(np.take(lines, j, axis=1) + right * np.take(slopes, j, axis=1), np.float32)


def _steps(places: Metres) -> tuple[NDArray[np.int64], Plane]:
    """The knot before each place, and how far on the way to the next one it is (eased)."""
    knots = np.floor(places)
    ways = places - knots
    return knots.astype(np.int64), (ways * ways * (3 - 2 * ways)).astype(np.float32)


def _scrambled(numbers: NDArray[np.int64], factor: int) -> NDArray[np.uint32]:
    bits = (numbers & _WORD).astype(np.uint32) * np.uint32(factor)
    bits ^= bits >> np.uint32(16)
    return np.asarray(bits * np.uint32(0x7FEB352D), np.uint32)
