"""Rows of unequal length laid end to end in one flat array, described by how long each row is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Lines = tuple[Floats, Ints]
"""Points of all lines end to end, and how many each line has."""


def row_of(counts: Ints) -> Ints:
    """For every item, the number of its row."""
    return np.repeat(np.arange(len(counts)), counts)


def starts_of(counts: Ints) -> Ints:
    """Where each row starts in the flat array."""
    return np.cumsum(counts) - counts


def place_in_row(counts: Ints) -> Ints:
    """For every item, its place 0, 1, 2... in its row."""
    return np.arange(counts.sum()) - np.repeat(starts_of(counts), counts)


def offsets_of(counts: Ints) -> Ints:
    """Row boundaries, one more than there are rows, as shapely's ragged arrays want them."""
    return np.concatenate([[0], np.cumsum(counts)])


def row_sums(rows: Ints, values: Floats | Ints | Flags, number: int) -> Floats:
    """Sum of the values of each row; the sum of one row never depends on the rows around it."""
    return np.bincount(rows, weights=values, minlength=number).astype(np.float64, copy=False)


def first_of_each(chosen: Flags, row: Ints, number: int) -> Ints:
    """Index of the first chosen item of each row; every row must have one."""
    index = np.flatnonzero(chosen)
    return index[np.searchsorted(row[index], np.arange(number))]


def lines_from(options: Sequence[Lines], choice: Ints) -> Lines:
    """Each line from the option chosen for it."""
    sizes = np.choose(choice, [own for _, own in options])
    row, place = row_of(sizes), place_in_row(sizes)
    points = np.empty((len(row), 2))
    for number, (own_points, own_sizes) in enumerate(options):
        mine = choice[row] == number
        points[mine] = own_points[starts_of(own_sizes)[row[mine]] + place[mine]]
    return points, sizes
