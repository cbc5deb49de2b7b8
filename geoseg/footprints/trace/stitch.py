"""Join bands of rows into one: outlines that end at a seam go on in the next band, exactly.

Walls that cross the seam's line are the same ones in the band above, in the two rows around the seam, and in the
band below; so tracing those two rows on their own tells how every open outline goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geoseg.footprints.straight.ragged import Ints, starts_of
from geoseg.footprints.trace.pieces import (
    Components,
    Pieces,
    Runs,
    concatenated,
    gathered,
    joined_labels,
    walked,
)
from geoseg.footprints.trace.polygonize import Joining, trace


class Stitcher:
    """Takes bands from the top of a raster to its bottom, and gives back what is finished.

    Between two bands it holds only what crosses the seam.
    """

    def __init__(self, width: int, joining: Joining) -> None:
        self._joining = joining
        self._margin = np.zeros((1, width), dtype=np.uint8)
        self._open = trace(self._margin, -1, joining)

    @property
    def open_corners(self) -> int:
        """How many corners wait for the rest of their outline."""
        return len(self._open.corners)

    def add(self, band: Pieces) -> Pieces:
        """Join the next band; gives the pieces that can go on no further."""
        finished, self._open = stitched(self._open, band, self._joining).parted()
        return finished

    def finish(self) -> Pieces:
        """Close what is open at the lower edge of the raster."""
        return self.add(trace(self._margin, self._open.stop_row, self._joining))


def stitched(above: Pieces, below: Pieces, joining: Joining) -> Pieces:
    """One band from two that follow each other."""
    both_rows = np.stack([above.last, below.first])
    seam = trace(both_rows, above.stop_row - 1, replace(joining, keeps_pixels=False))
    bands = (above, seam, below)
    shifts = np.cumsum([0, *(len(band.sizes) for band in bands)])
    upper = above.bottom, seam.top + shifts[1]
    lower = seam.bottom + shifts[1], below.top + shifts[2]
    one, other = np.concatenate([upper[0], lower[0]]), np.concatenate([upper[1], lower[1]])
    order, counts = walked(_following(shifts[3], upper, lower))
    outline = np.empty(shifts[3], dtype=np.int64)
    outline[order] = np.repeat(np.arange(len(counts)), counts)
    corners, sizes = _joined_corners(bands, order, counts)
    owner, components, runs = _joined_components(bands, one, other)
    component = np.empty(len(counts), dtype=np.int64)
    component[outline] = owner
    return Pieces(
        row=above.row,
        stop_row=below.stop_row,
        corners=corners,
        sizes=sizes,
        component=component,
        components=components,
        top=outline[above.top],
        bottom=outline[below.bottom + shifts[2]],
        first=above.first,
        last=below.last,
        runs=runs,
    )


def _following(outlines: int, *seams: tuple[Ints, Ints]) -> Ints:
    """The outline that each one goes on in: left walls are walked down across a seam, right walls up."""
    following = np.full(outlines, -1)
    for above, below in seams:
        left, right = np.split(np.arange(len(above)), 2)
        following[above[left]] = below[left]
        following[below[right]] = above[right]
    return following


def _joined_corners(bands: Sequence[Pieces], order: Ints, counts: Ints) -> tuple[Ints, Ints]:
    sizes = np.concatenate([band.sizes for band in bands])
    corners = np.concatenate([band.corners for band in bands])[gathered(sizes, order)]
    joined_sizes = np.add.reduceat(sizes[order], starts_of(counts)) if len(counts) else counts
    return corners, joined_sizes


def _joined_components(bands: Sequence[Pieces], one: Ints, other: Ints) -> tuple[Ints, Components, Runs]:
    """The component of each old outline after joining, the joined components, and their pixels."""
    tables = [band.components for band in bands]
    columns = concatenated(tables)
    sizes = np.array([len(table) for table in tables])
    for group in ("footprint", "cluster"):
        groups = [int(getattr(table, group).max(initial=-1)) + 1 for table in tables]
        columns[group] = columns[group] + np.repeat(starts_of(np.array(groups)), sizes)
    owner = _shifted([band.component for band in bands], sizes)
    one, other = owner[one], owner[other]
    number, label = joined_labels(len(columns["value"]), one, other)
    for group in ("footprint", "cluster"):
        names = columns[group]
        columns[group] = joined_labels(int(names.max(initial=-1)) + 1, names[one], names[other])[1][names]
    runs = Runs(**concatenated([band.runs for band in bands]))
    runs = replace(runs, component=label[_shifted([band.runs.component for band in bands], sizes)])
    return label[owner], Components(**columns).joined(label, number), runs


def _shifted(numbers: Sequence[Ints], sizes: Ints) -> Ints:
    """Numbers into three tables as numbers into one, the tables laid end to end."""
    return np.concatenate(numbers) + np.repeat(starts_of(sizes), [len(column) for column in numbers])
