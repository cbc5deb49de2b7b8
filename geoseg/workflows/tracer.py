"""Makes measured footprints of strips of a mask: what any process can do for itself, before strips are joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.features import FeatureBatch, FeatureBuilder
from geoseg.footprints.measure import choose_plane
from geoseg.footprints.separate.rules import BoundaryRule, NeckRule, SeparationRule
from geoseg.footprints.separate.split import split_footprints
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.pieces import OutlinePieces
from geoseg.footprints.trace.rings import TracedFootprints, build_footprints, join_bands
from geoseg.raster.coding import NODATA, PROBABILITY_STEP
from geoseg.raster.grid import Grid, Window, parse_crs
from geoseg.raster.mask import Mask, MaskBand, Probability, select_own_class
from geoseg.workflows.options import FootprintOptions

if TYPE_CHECKING:
    from geoseg.regions.adjustment import ConfusionMatrix

ONLY_BUILDINGS: Mapping[int, str] = {1: "building"}
MIN_AREA_M2 = 5.0
"""Smaller footprints are rarely buildings: a garden shed has 6 m², a car 8 m² with its shadow."""
FINE_GSD_M = 1.0
"""From this pixel size on a wall is a few pixels long, and its direction a guess."""
BAND_PIXELS = 4_000_000
"""Few enough that a band and what is made of it stay in the processor's cache."""


@dataclass(frozen=True)
class MaskFacts:
    """What is known of a mask beside its pixels; `image_date`: when the image was taken that it was made of.

    `tells_boundaries`: boundary and distance come with it, by which buildings are separated; `confusion`: how often its
    classes are wrong, which gives adjusted areas of regions.
    """

    names: Mapping[int, str]
    tells_boundaries: bool = False
    confusion: ConfusionMatrix | None = None
    image_date: str | None = None


PLAIN_MASK = MaskFacts(ONLY_BUILDINGS)


@dataclass(frozen=True)
class MaskRows:
    """Some rows of a raster file, and where they lie in the whole mask."""

    mask: Mask
    rows: slice
    row: int

    @property
    def height(self) -> int:
        return int(self.rows.stop - self.rows.start)


@dataclass(frozen=True)
class MaskStrip:
    """Finished rows of a mask as small rasters of their own, as `geoseg infer` keeps them until the mosaic is made.

    `row` is where they start in the whole mask. Bytes are classes, and 250 times probabilities; 255 is unknown.
    """

    row: int
    height: int
    mask: Path
    probability: Path | None = None
    probability_bands: int = 1
    separator_bands: tuple[int, ...] = ()
    """The numbers of the bands of boundary and distance behind the probabilities, where they are told."""


@dataclass(frozen=True)
class StripTracer:
    """All it takes to make rows of the file from a strip."""

    joining: JoinRules
    builder: FeatureBuilder
    split_rule: SeparationRule | None = None

    def trace(self, strip: MaskRows) -> tuple[FeatureBatch, OutlinePieces]:
        """The finished footprints of a strip, and the pieces that may go on in its neighbours."""
        classes, probabilities = strip.mask.read(strip.rows)
        separators = strip.mask.read_separators(strip.rows) if self.joining.keeps_pixels else None
        whole: list[TracedFootprints] = []
        unfinished: OutlinePieces | None = None
        for band in split_into_bands(*classes.shape):
            rows = classes[band]
            probability = None if probabilities is None else select_own_class(probabilities[:, band], rows)
            ends = None if separators is None else separators[:, band]
            pieces = trace_outlines(rows, strip.row + band.start, self.joining, probability, ends)
            joined = pieces if unfinished is None else join_bands(unfinished, pieces, self.joining)
            finished, unfinished = joined.split_finished()
            whole.append(build_footprints(finished))
        assert unfinished is not None
        return self.finish(TracedFootprints.merge(whole)), unfinished

    def finish(self, footprints: TracedFootprints) -> FeatureBatch:
        """Rows of the file from whole footprints."""
        if self.split_rule:
            footprints = split_footprints(footprints, self.split_rule, self.joining)
        return self.builder.finish(footprints)


def split_into_bands(height: int, width: int) -> Iterator[slice]:
    """Runs of rows small enough to be traced in one go."""
    step = max(1, BAND_PIXELS // width)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def make_mask_rows(strip: MaskStrip, grid: Grid) -> MaskRows:
    """A strip as `geoseg infer` writes it."""
    byte = MaskBand(1, "uint8", 1.0, 0.0, NODATA, has_mask=False)
    bands, separators = (
        tuple(replace(byte, number=number, scale=PROBABILITY_STEP) for number in numbers)
        for numbers in (range(1, strip.probability_bands + 1), strip.separator_bands)
    )
    place = grid.window(Window(strip.row, 0, strip.height, grid.width))
    probability = Probability(str(strip.probability), bands, separators) if strip.probability else None
    mask = Mask(str(strip.mask), byte, place, block_height=strip.height, probability=probability)
    return MaskRows(mask, slice(0, strip.height), strip.row)


def make_tracer(grid: Grid, options: FootprintOptions, facts: MaskFacts = PLAIN_MASK) -> StripTracer:
    """What makes footprints of a raster, as the options ask."""
    min_area_m2 = MIN_AREA_M2 if options.min_area_m2 is None else options.min_area_m2
    split_rule = choose_split_rule(options.split, facts.tells_boundaries, min_area_m2 / grid.gsd_m**2)
    builder = FeatureBuilder(
        grid=grid,
        area=choose_plane(grid, options.area_crs),
        crs=choose_crs(grid, options),
        names=facts.names,
        min_area_m2=min_area_m2,
        max_hole_m2=options.max_hole_m2,
        simplify_m=options.simplify_m,
        regularize=is_straightened(options, grid),
        image_date=facts.image_date,
    )
    joining = make_join_rules(options, grid, splits=split_rule is not None)
    return StripTracer(joining, builder, split_rule)


def choose_crs(grid: Grid, options: FootprintOptions) -> CRS:
    """The CRS of the footprints."""
    return parse_crs(options.crs, "`crs`") if options.crs else grid.crs


def refuse_options_of_places(options: FootprintOptions) -> None:
    """Refuse what only a raster with a place on Earth can have."""
    for name, given in (
        ("crs", options.crs),
        ("regions", options.regions),
        ("area_crs", options.area_crs != "auto" and options.area_crs),
    ):
        if given:
            raise InputError(
                f"`{name}` {given}: the picture has no place on Earth, so its outlines stay in its own pixels; leave it out"
            )


def is_straightened(options: FootprintOptions, grid: Grid) -> bool:
    """Whether walls are made straight for a raster of this resolution."""
    return grid.gsd_m < FINE_GSD_M if options.regularize is None else options.regularize


def choose_split_rule(split: str, tells_boundaries: bool, least_pixels: float) -> SeparationRule | None:
    """How footprints are separated into buildings; `tells_boundaries`: a model says where one ends."""
    if split == "touching":
        return NeckRule()
    if split == "auto" and tells_boundaries:
        return BoundaryRule(least_pixels=least_pixels)
    return None


def make_join_rules(options: FootprintOptions, grid: Grid, *, splits: bool) -> JoinRules:
    """What belongs together when outlines are traced; straight walls meet corners by themselves."""
    shaped = 8 if options.simplify_m else 4 if splits else 0
    clusters = 4 if is_straightened(options, grid) else shaped
    return JoinRules(connectivity=options.connectivity, clusters=clusters, keeps_pixels=splits)
