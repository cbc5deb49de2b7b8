"""From a mask to a file of footprints: strip by strip, in worker processes, in memory that a seam bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from geoseg.errors import InputError
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import Grid


@dataclass(frozen=True)
class Recipe:
    """How a mask becomes footprints; the defaults suit most people."""

    connectivity: int = 4
    """4: pixels that share a side are one building. 8: pixels that share a corner are, too."""
    split: bool = False
    """Part buildings that touch, at their necks."""
    min_area_m2: float = 5.0
    """Footprints smaller than this, in true square metres, are left out."""
    max_hole_m2: float = 2.0
    """Holes up to this size are filled."""
    simplify_m: float = 0.0
    """How far an outline may move when it is simplified; neighbours keep their shared walls."""
    regularize: bool | None = None
    """Straight walls and right angles; None: when pixels are finer than 1 m."""
    classes: Mapping[int, str] = field(default_factory=dict)
    """Names of the mask's classes; the others are called by their number."""
    crs: str | None = None
    """CRS of the footprints; None: the mask's."""
    area_crs: str = "auto"
    """CRS in which areas are measured; auto: an equal-area one centred on the data."""
    regions: str | None = None
    """A vector file, `file.gpkg:layer`, or `grid:1km`: statistics per region."""
    region_id: str | None = None
    """The column that names a region."""

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise InputError(f"connectivity is 4 or 8, not {self.connectivity}")
        for name, value in (
            ("minimum area", self.min_area_m2),
            ("largest hole", self.max_hole_m2),
            ("simplification", self.simplify_m),
        ):
            if not 0 <= value < float("inf"):
                raise InputError(f"{name}: {value} is not a size; give 0 or more")


@dataclass(frozen=True)
class MaskStrip:
    """Finished rows of a mask on disk, as small rasters of their own: what `geoseg infer` hands over."""

    row: int
    """The strip's first row in the whole mask."""
    mask: Path
    probability: Path | None = None


@dataclass(frozen=True)
class Summary:
    """What came of it."""

    footprints: int
    dropped: int
    area_m2: float


class Vectorizer:
    """Footprints of a mask that comes strip by strip, in order of rows.

        with Vectorizer(grid, out, recipe, narrator=narrator) as vectorizer:
            for strip in strips:
                vectorizer.add(strip)      # returns at once while worker processes keep up
        vectorizer.summary

    Leaving the block without an exception finishes the file and gives it its name; with one, no trace is left.
    """

    def __init__(
        self,
        grid: Grid,
        out: Path,
        recipe: Recipe,
        *,
        workers: int | None = None,
        overwrite: bool = False,
        narrator: Narrator = QUIET,
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> Vectorizer:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def add(self, strip: MaskStrip) -> None:
        """Take the next strip; its files must stay until the block ends."""
        raise NotImplementedError

    @property
    def summary(self) -> Summary:
        """What came of it, once the block has ended."""
        raise NotImplementedError
