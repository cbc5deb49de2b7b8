"""The two sides of an evaluation: what is predicted and what is true, read on one grid, strip by strip.

Either may be a raster of classes or a layer of polygons. Pixels of polygons are those whose middle lies inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.trace.mask import Mask
from geoseg.footprints.trace.pieces import STEPS as FINE_STEPS
from geoseg.learn.patches.outlines import burnt
from geoseg.learn.scores.calibrate import STEPS, UNKNOWN
from geoseg.learn.scores.polygons import Outlines

Bytes = NDArray[np.uint8]
SAME = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class Strip:
    """Some rows of a side: classes (row, col), and probabilities in 250ths (band, row, col); 255 is unknown."""

    classes: Bytes
    probabilities: Bytes | None = None


class Side(Protocol):
    """What is predicted, or what is true."""

    @property
    def name(self) -> str: ...

    def read(self, rows: slice) -> Strip: ...


@dataclass(frozen=True)
class RasterSide:
    """A raster of classes; `meaning` says which class each of its values, and each band of probability, stands for."""

    mask: Mask
    meaning: Bytes = field(default_factory=lambda: SAME)

    @property
    def name(self) -> str:
        return self.mask.path

    def read(self, rows: slice) -> Strip:
        classes, probabilities = self.mask.read(rows)
        levels = None if probabilities is None else by_class(in_250ths(probabilities), self.meaning)
        return Strip(self.meaning[classes], levels)


@dataclass(frozen=True)
class VectorSide:
    """Polygons in the grid's pixels (x = column, y = row). Outside `labelled`, where it is given, nothing is known.

    Those of class 0 are background: a courtyard above a house hides a part of it, but is no footprint.
    """

    name: str
    drawn: Outlines
    width: int
    labelled: NDArray[np.object_] | None = None

    @cached_property
    def outlines(self) -> Outlines:
        """The footprints."""
        return self.drawn.select(self.drawn.classes > 0)

    @cached_property
    def tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.drawn.polygons)

    @cached_property
    def points(self) -> NDArray[np.int64]:
        """The pixel (row, col) at which each footprint is looked for."""
        points = shapely.get_coordinates(shapely.point_on_surface(self.outlines.polygons))
        return np.asarray(np.floor(points[:, ::-1]), dtype=np.int64)

    def read(self, rows: slice) -> Strip:
        chosen = np.sort(self.tree.query(shapely.box(0, rows.start, self.width, rows.stop)))
        outlines = self.drawn.select(chosen)
        place = (rows.stop - rows.start, self.width), Affine.translation(0, rows.start)
        classes = burnt(outlines.polygons, outlines.classes.astype(np.uint8), *place)
        if self.labelled is not None:
            known = burnt(self.labelled, np.ones(len(self.labelled), dtype=np.uint8), *place)
            classes[known == 0] = UNKNOWN
        return Strip(classes)


@dataclass(frozen=True)
class Where:
    """A side of which only what lies on ground that another side knows is known."""

    side: Side
    other: Side

    @property
    def name(self) -> str:
        return self.side.name

    @property
    def whole(self) -> Side:
        """The side itself, all of it known."""
        return self.side.whole if isinstance(self.side, Where) else self.side

    def read(self, rows: slice) -> Strip:
        strip, other = self.side.read(rows), self.other.read(rows)
        known = other.classes != UNKNOWN
        return Strip(np.where(known, strip.classes, np.uint8(UNKNOWN)), strip.probabilities)


def only_within(side: Side, area: NDArray[np.object_], width: int) -> Where:
    """A side of which only what lies in some polygons is known."""
    return Where(side, VectorSide(side.name, Outlines.merged([]), width, area))


def by_class(bands: Bytes, meaning: Bytes) -> Bytes:
    """Probabilities of classes from those of a raster's values: values that mean the same class share it.

    A single band is that of the only class.
    """
    own = meaning[: len(bands)]
    if len(bands) == 1 or np.array_equal(own, SAME[: len(bands)]):
        return bands
    sums = np.zeros((int(own.max()) + 1, *bands.shape[1:]), dtype=np.uint16)
    for number, band in zip(own, bands, strict=True):
        sums[number] += band
    unknown = (bands == UNKNOWN).any(axis=0)
    return np.where(unknown, UNKNOWN, np.minimum(sums, STEPS)).astype(np.uint8)


def in_250ths(probabilities: NDArray[Any]) -> Bytes:
    """Probabilities in bytes, whether they come so or in finer steps."""
    if probabilities.dtype == np.uint8:
        return probabilities
    unknown = probabilities == np.iinfo(probabilities.dtype).max
    levels = np.rint(probabilities * (STEPS / FINE_STEPS))
    return np.where(unknown, UNKNOWN, levels).astype(np.uint8)


def refuse_unknown_classes(classes: Bytes, number: int, name: str) -> None:
    """Refuse values that no class has."""
    odd = classes + np.uint8(1) > number  # unknown, 255, becomes 0
    if odd.any():
        raise InputError(f"{name}: holds the value {classes[odd][0]}, but classes go from 0 to {number - 1}")
