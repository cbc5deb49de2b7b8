"""One strip of a mask: read, traced and finished as far as it goes, in any process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geoseg.footprints.finish import Finished, Finisher
from geoseg.footprints.trace.mask import Mask, of_own_class
from geoseg.footprints.trace.pieces import Pieces
from geoseg.footprints.trace.polygonize import Joining, trace
from geoseg.footprints.trace.stitch import stitched
from geoseg.footprints.trace.traced import Traced, traced

BAND_PIXELS = 4_000_000
"""Few enough that a band and what is made of it stay in the processor's cache."""


@dataclass(frozen=True)
class Strip:
    """Some rows of a raster file, and where they lie in the whole mask."""

    mask: Mask
    rows: slice
    row: int

    @property
    def height(self) -> int:
        return int(self.rows.stop - self.rows.start)


@dataclass(frozen=True)
class Tracer:
    """All it takes to make rows of the file from a strip."""

    joining: Joining
    finisher: Finisher

    def trace(self, strip: Strip) -> tuple[Finished, Pieces]:
        """The finished footprints of a strip, and the pieces that may go on in its neighbours."""
        classes, probabilities = strip.mask.read(strip.rows)
        whole: list[Traced] = []
        unfinished: Pieces | None = None
        for band in bands(*classes.shape):
            rows = classes[band]
            probability = None if probabilities is None else of_own_class(probabilities[:, band], rows)
            pieces = trace(rows, strip.row + band.start, self.joining, probability)
            joined = pieces if unfinished is None else stitched(unfinished, pieces, self.joining)
            finished, unfinished = joined.parted()
            whole.append(traced(finished))
        assert unfinished is not None
        return self.finish(Traced.merged(whole)), unfinished

    def finish(self, footprints: Traced) -> Finished:
        """Rows of the file from whole footprints."""
        if self.joining.keeps_pixels:
            from geoseg.footprints.trace.split import split_touching  # scikit-image takes a second to import

            footprints = split_touching(footprints)
        return self.finisher.finish(footprints)


def bands(height: int, width: int) -> Iterator[slice]:
    """Runs of rows small enough to be traced in one go."""
    step = max(1, BAND_PIXELS // width)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
