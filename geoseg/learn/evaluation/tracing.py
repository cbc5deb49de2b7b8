"""Outlines of classes that come strip by strip, in pixels, exactly as the pixels lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.footprints.trace.mask import of_own_class
from geoseg.footprints.trace.pieces import STEPS, Pieces
from geoseg.footprints.trace.polygonize import Joining, trace
from geoseg.footprints.trace.stitch import Stitcher
from geoseg.footprints.trace.strip import bands
from geoseg.footprints.trace.traced import traced
from geoseg.learn.scores.polygons import Outlines

BY_SIDES = Joining(connectivity=4, clusters=0)


class OutlineTracer:
    """Takes strips of classes from the top of a scene to its bottom, and then has the outlines."""

    def __init__(self, width: int) -> None:
        self._stitcher = Stitcher(width, BY_SIDES)
        self._batches: list[Outlines] = []

    def add(self, classes: NDArray[np.uint8], row: int, probabilities: NDArray[np.uint8] | None) -> None:
        """Take the next strip, whose first row is `row` of the scene."""
        for band in bands(*classes.shape):
            rows = classes[band]
            own = None if probabilities is None else of_own_class(probabilities[:, band], rows)
            self._keep(self._stitcher.add(trace(rows, row + band.start, BY_SIDES, own)))

    def finish(self) -> Outlines:
        """All outlines, once the last strip is there."""
        self._keep(self._stitcher.finish())
        return Outlines.merged(self._batches)

    def _keep(self, pieces: Pieces) -> None:
        whole = traced(pieces)
        with np.errstate(invalid="ignore"):
            confidence = whole.probability / (STEPS * whole.known)
        self._batches.append(Outlines(whole.polygons, whole.value, confidence))
