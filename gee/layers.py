"""A layer: one file of an export, and how Earth Engine makes it from scenes, labels or any other asset."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol

import ee

from gee.catalogue import (
    MASK,
    MASK_VALUES,
    OWN_CODES,
    Imagery,
    Label,
    LayerBand,
    Licence,
    PixelFormat,
    Source,
)
from gee.expressions import (
    SCORES,
    CompositeOptions,
    Marking,
    Period,
    build_composite,
    build_label,
    count_clear_looks,
    fill_and_cast,
    filter_cloud_scores,
    filter_period,
    filter_scenes,
    format_time,
    load_label_collection,
    make_grid_rectangle,
)
from gee.geotiff import choose_pixel_format
from gee.grid import compute_largest_side
from gee.session import Session
from geoseg.errors import InputError
from geoseg.raster.grid import Grid

log = logging.getLogger(__name__)

RETIRED_ASSETS = {"COPERNICUS/S2_SR": "sentinel2", "COPERNICUS/S2": "sentinel2-l1c"}


COMPOSITE_SIDE = 1024
"""Larger tiles of composites are often refused, for what they cost the service in memory."""
FIRST_DAY = date(1972, 1, 1)


@dataclass(frozen=True)
class LayerScenes:
    """What a layer is made of: scenes by id, and the first and last moment they show."""

    scenes: tuple[str, ...] = ()
    start: str = ""
    end: str = ""


class LayerRecipe(Protocol):
    """How a layer is made on Earth Engine."""

    def image(self, grid: Grid) -> ee.Image:
        """The expression that Earth Engine computes."""

    def find_scenes(self, session: Session, grid: Grid) -> LayerScenes:
        """Look at what there is, and refuse what would be empty."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """How it was made, for the record."""


@dataclass(frozen=True)
class ExportLayer:
    """One file of an export."""

    name: str
    source: Source
    bands: tuple[LayerBand, ...]
    pixels: PixelFormat
    recipe: LayerRecipe

    @property
    def names(self) -> list[str]:
        return [band.name for band in self.bands]

    @property
    def dtypes(self) -> list[str]:
        return [self.pixels.dtype] * len(self.bands)

    def choose_side(self, most: int | None = None) -> int:
        """The tile to begin with: composites cost memory on the service, stored pixels only bytes."""
        is_composite = isinstance(self.source, Imagery) and self.source.is_cloudy
        limits = (compute_largest_side(self.dtypes), most, COMPOSITE_SIDE if is_composite else None)
        return min(filter(None, limits))

    @property
    def is_picture(self) -> bool:
        """Whether overviews may average pixels; labels keep theirs."""
        return isinstance(self.source, Imagery)


@dataclass(frozen=True)
class CompositeRecipe:
    """Scenes of a period made into one image."""

    source: Imagery
    look: CompositeOptions

    def image(self, grid: Grid) -> ee.Image:
        return build_composite(self.source, self.look, grid)

    def find_scenes(self, session: Session, grid: Grid) -> LayerScenes:
        scenes = filter_scenes(self.source, self.look, grid)[-1][1]
        found = session.value(ee.Dictionary(self.questions(scenes, grid)))
        if not found["scenes"]:
            raise InputError(self.explain_no_scenes(session, grid))
        self.report_missing_scores(found)
        moments = [moment for moment in found["times"] if moment is not None]
        start, end = (format_time(edge(moments)) if moments else "" for edge in (min, max))
        log.info(f"{self.source.name}: {len(found['scenes'])} scenes, {start[:10]} to {end[:10]}")
        return LayerScenes(tuple(found["scenes"]), start, end)

    def questions(self, scenes: ee.ImageCollection, grid: Grid) -> dict[str, Any]:
        """What is asked before anything is fetched, in one request."""
        questions = {
            "scenes": scenes.aggregate_array("system:index"),
            "times": scenes.aggregate_array("system:time_start"),
        }
        if self.look.clouds.method in SCORES:
            questions["partners"] = filter_cloud_scores(self.look, grid).aggregate_array("system:index")
        return questions

    def report_missing_scores(self, found: Mapping[str, Any]) -> None:
        """Scenes without a cloud score are masked out whole: say how many."""
        if "partners" not in found:
            return
        scenes = set(found["scenes"])
        lost = len(scenes - set(found["partners"]))
        others = " or ".join(f"--mask {other}" for other in self.source.clouds if other not in SCORES)
        if lost == len(scenes):
            raise InputError(
                f"none of the {lost} scenes has a cloud score ({self.look.clouds.method}): use {others}"
            )
        if lost:
            log.warning(
                f"{lost} of {len(scenes)} scenes have no cloud score ({self.look.clouds.method}) and are left out; "
                f"to use them all: {others}"
            )

    def explain_no_scenes(self, session: Session, grid: Grid) -> str:
        """Which filter left no scene."""
        steps = filter_scenes(self.source, self.look, grid)
        counts = session.value(ee.List([scenes.size() for _, scenes in steps]))
        told = ", ".join(f"{count} {words}" for count, (words, _) in zip(counts, steps, strict=True))
        culprit = steps[counts.index(0)][0]
        return (
            f"{self.source.name} has no scene {culprit}: {told}. It has scenes from {self.source.first} to "
            f"{self.source.last or 'now'}; change --start, --end, --max-cloud or the area"
        )

    @property
    def metadata(self) -> Mapping[str, Any]:
        look = self.look
        return {
            "composite": look.composite,
            "period": str(look.period),
            "mask": look.clouds.method,
            "mask_threshold": look.clouds.level,
            "most_cloud_cover_percent": look.most_cloud_cover,
            "resampling": "bilinear" if look.bilinear else "nearest",
        }


@dataclass(frozen=True)
class ClearLooksRecipe(CompositeRecipe):
    """How many clear scenes each pixel of a composite has."""

    def image(self, grid: Grid) -> ee.Image:
        return count_clear_looks(self.source, self.look, grid, MASK)


@dataclass(frozen=True)
class LabelRecipe:
    """A label on the grid."""

    source: Label
    marking: Marking
    period: Period
    band: LayerBand
    pixels: PixelFormat

    def image(self, grid: Grid) -> ee.Image:
        image = build_label(self.source, self.marking, self.period, grid)
        return fill_and_cast(image.rename([self.band.name]), self.pixels)

    def find_scenes(self, session: Session, grid: Grid) -> LayerScenes:
        if self.source.asset_type != "IMAGE_COLLECTION":
            return LayerScenes((self.source.asset,), *self.moments)
        images = load_label_collection(self.source, self.period, grid)
        scenes = session.value(images.aggregate_array("system:index"))
        if not scenes:
            when = "" if self.source.is_of_one_date else f" from {self.period}"
            raise InputError(
                f"the label {self.source.name} has nothing over the area{when}; choose another --label"
            )
        log.info(f"{self.source.name}: {len(scenes)} images")
        return LayerScenes(tuple(scenes), *self.moments)

    @property
    def moments(self) -> tuple[str, str]:
        """The first and the last moment shown."""
        start = self.source.first if self.source.is_of_one_date else self.period.start
        end = self.source.last if self.source.is_of_one_date else self.period.end
        return f"{start}T00:00:00Z", f"{end}T23:59:59Z"

    @property
    def metadata(self) -> Mapping[str, Any]:
        if not self.marking.as_mask:
            return {"values": self.band.name}
        return {
            "values": MASK_VALUES,
            "built_from_share": self.marking.least_share,
            "built_codes": list(self.source.built),
        }


@dataclass(frozen=True)
class AssetRecipe:
    """An asset as it is: an image, or the latest pixels of a collection."""

    source: Source
    bands: tuple[LayerBand, ...]
    pixels: PixelFormat
    period: Period | None = None

    def images(self, grid: Grid) -> ee.ImageCollection:
        images = ee.ImageCollection(self.source.asset).filterBounds(make_grid_rectangle(grid))
        return filter_period(images, self.period) if self.period else images

    def image(self, grid: Grid) -> ee.Image:
        is_image = self.source.asset_type == "IMAGE"
        image = ee.Image(self.source.asset) if is_image else self.images(grid).mosaic()
        return fill_and_cast(image.select([band.name for band in self.bands]), self.pixels)

    def find_scenes(self, session: Session, grid: Grid) -> LayerScenes:
        if self.source.asset_type == "IMAGE":
            return LayerScenes((self.source.asset,))
        scenes = session.value(self.images(grid).aggregate_array("system:index"))
        if not scenes:
            raise InputError(
                f"{self.source.asset} has no image over the area {self.period or ''}; change the dates"
            )
        log.info(f"{self.source.asset}: {len(scenes)} images, the latest on top")
        return LayerScenes(tuple(scenes))

    @property
    def metadata(self) -> Mapping[str, Any]:
        return {"composite": "latest", "period": str(self.period) if self.period else "all"}


def make_imagery_layer(source: Imagery, look: CompositeOptions) -> ExportLayer:
    """The picture layer of an export."""
    if look.clouds.method not in source.clouds:
        raise InputError(
            f"{source.name} cannot be masked by {look.clouds.method}: {', '.join(source.clouds)}"
        )
    if look.composite == "least-cloudy" and not source.is_cloudy:
        raise InputError(
            f"{source.name} does not say how cloudy its scenes are; use --composite latest or median"
        )
    return ExportLayer(source.name, source, look.bands, source.pixels, CompositeRecipe(source, look))


def make_looks_layer(source: Imagery, look: CompositeOptions) -> ExportLayer:
    """The layer that counts clear looks, beside the picture layer."""
    name, bands = f"{source.name}_looks", (LayerBand("clear_looks"),)
    return ExportLayer(name, source, bands, MASK, ClearLooksRecipe(source, look))


def make_label_layer(source: Label, marking: Marking, period: Period) -> ExportLayer:
    """A label layer of an export."""
    pixels = MASK
    if marking.as_mask:
        band = LayerBand("built")
    elif source.is_share:
        band = LayerBand("built_percent")
    else:
        band, pixels = source.bands[0], OWN_CODES if 255 in source.built else MASK
    recipe = LabelRecipe(source, marking, choose_label_period(source, period), band, pixels)
    return ExportLayer(source.name, source, (band,), pixels, recipe)


def choose_label_period(source: Label, period: Period) -> Period:
    """The days a label is asked for: whole years for one that comes once a year, within what there is."""
    if not source.yearly:
        return period
    last = source.last or period.end
    start, end = (min(max(day, source.first), last) for day in (period.start, period.end))
    return Period(date(start.year, 1, 1), date(end.year, 12, 31))


@dataclass(frozen=True)
class Asset:
    """An asset that is in no catalogue of ours."""

    path: str
    bands: tuple[str, ...] = ()
    period: Period | None = None

    def __post_init__(self) -> None:
        if self.path in RETIRED_ASSETS:
            raise InputError(f"{self.path} is retired; use --source {RETIRED_ASSETS[self.path]}")

    def layer(self, session: Session) -> ExportLayer:
        """The layer of this asset, its bands and pixels as Earth Engine describes them."""
        kind = session.call_with_retries(lambda: ee.data.getAsset(self.path))["type"]
        if kind not in {"IMAGE", "IMAGE_COLLECTION"}:
            raise InputError(f"{self.path} is a {kind.lower()}, neither an image nor an image collection")
        first = ee.Image(self.path) if kind == "IMAGE" else ee.ImageCollection(self.path).first()
        types = session.value(first.bandTypes())
        source = replace(UNLISTED, asset=self.path, asset_type=kind, bands=tuple(map(LayerBand, types)))
        source = replace(source, name=self.path.rsplit("/", 1)[-1])
        bands = source.chosen(self.bands or tuple(types))
        pixels = choose_pixel_format([types[band.name] for band in bands])
        return ExportLayer(
            source.name, source, bands, pixels, AssetRecipe(source, bands, pixels, self.period)
        )


UNLISTED = Source(
    name="asset",
    title="An asset of Earth Engine",
    asset="",
    bands=(),
    scale_m=10.0,
    first=FIRST_DAY,
    last=None,
    licence=Licence("other", "see the asset's own description"),
)
