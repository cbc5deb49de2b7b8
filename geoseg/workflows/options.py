"""How footprints are made from a mask: everything that can be asked for, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from geoseg.errors import InputError
from geoseg.footprints.separate.rules import BoundaryRule, NeckRule, SplitRule
from geoseg.footprints.trace.outlines import JoinRules
from geoseg.raster.grid import Grid
from geoseg.regions.adjustment import ConfusionMatrix

FINE_GSD_M = 1.0
Splitting = Literal["auto", "touching", "never"]


@dataclass(frozen=True)
class VectorizeOptions:
    """How a mask becomes footprints; the defaults suit most people."""

    connectivity: int = 4
    """4: pixels that share a side are one building. 8: pixels that share a corner are, too."""
    split: Splitting = "auto"
    """Separate buildings that touch. auto: where a network says that one ends; touching: at necks of the shape."""
    min_area_m2: float = 5.0
    """Footprints smaller than this, in true square metres, are left out."""
    max_hole_m2: float = 2.0
    """Holes up to this size are filled, but none that could hold a footprint of the minimum area."""
    simplify_m: float = 0.0
    """How far an outline may move when it is simplified; neighbours keep their shared walls."""
    regularize: bool | None = None
    """Straight walls and right angles; None: when pixels are finer than 1 m."""
    names: Mapping[int, str] = field(default_factory=lambda: {1: "building"})
    """What the mask's classes are called; others go by their number."""
    crs: str | None = None
    """CRS of the footprints; None: the mask's."""
    area_crs: str = "auto"
    """CRS in which areas are measured; auto: an equal-area one centred on the data."""
    regions: str | None = None
    """A vector file, `file.gpkg:layer`, or `grid:1km`: statistics per region."""
    region_id: str | None = None
    """The column that names a region."""
    confusion: ConfusionMatrix | None = None
    """What is known of the model's errors: gives the error-adjusted areas of regions."""

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise InputError(
                f"--connectivity {self.connectivity}: pixels have 4 neighbours by side, 8 with corners"
            )
        sizes = {
            "--min-area": self.min_area_m2,
            "--max-hole": self.max_hole_m2,
            "--simplify": self.simplify_m,
        }
        for option, size in sizes.items():
            if not 0 <= size < float("inf"):
                raise InputError(f"{option} {size:g}: a size is 0 or more")

    def straightens_walls(self, grid: Grid) -> bool:
        """Whether walls are made straight for a raster of this resolution."""
        return grid.gsd_m < FINE_GSD_M if self.regularize is None else self.regularize

    def split_rule(self, grid: Grid, tells_boundaries: bool) -> SplitRule | None:
        """How footprints are separated into buildings; `tells_boundaries`: a network says where they end."""
        if self.split == "touching":
            return NeckRule()
        if self.split == "never" or not tells_boundaries:
            return None
        return BoundaryRule(least_pixels=self.min_area_m2 / grid.gsd_m**2)

    def joining(self, grid: Grid, splits: bool) -> JoinRules:
        """What belongs together when outlines are traced."""
        return JoinRules(
            connectivity=self.connectivity,
            clusters=self._clusters(grid, splits),
            keeps_pixels=splits,
        )

    def _clusters(self, grid: Grid, splits: bool) -> int:
        """Which neighbours are to be shaped together; straight walls meet corners by themselves."""
        if self.straightens_walls(grid):
            return 4
        return 8 if self.simplify_m else 4 if splits else 0
