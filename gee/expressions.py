"""What Earth Engine is asked to compute: composites, cloud masks and labels, as its own expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil
from typing import Any

import ee

from gee.catalogue import Imagery, Label, LayerBand, PixelFormat
from geoseg.errors import InputError
from geoseg.raster.grid import Grid

CLOUD_COVER = "CLOUDY_PIXEL_PERCENTAGE"
CLOUDY_CLASSES = (0, 1, 3, 8, 9, 10, 11)
DEFAULT_THRESHOLDS = {"csplus": 0.60, "scl": 0.0, "s2cloudless": 40.0, "none": 0.0}
HIGHEST_THRESHOLDS = {"csplus": 1.0, "s2cloudless": 100.0}
MOST_INPUTS = 65_535
SAME_SCALE = 1.01
LEAST_CONFIDENCE = 0.7


@dataclass(frozen=True)
class CloudScore:
    """A collection that scores the clouds of each scene, pixel by pixel."""

    asset: str
    band: str
    is_high_when_clear: bool


SCORES = {
    "csplus": CloudScore("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", "cs_cdf", is_high_when_clear=True),
    "s2cloudless": CloudScore("COPERNICUS/S2_CLOUD_PROBABILITY", "probability", is_high_when_clear=False),
}


@dataclass(frozen=True)
class Period:
    """Days, the first and the last included."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise InputError(f"--start {self.start} lies after --end {self.end}")

    @property
    def stop(self) -> date:
        """The day after the last, as Earth Engine's filters want it."""
        return self.end + timedelta(days=1)

    def is_near(self, first: date, last: date | None) -> bool:
        """Whether days from `first` to `last` lie within a year of these."""
        year = timedelta(days=366)
        return self.start - year <= (last or self.end) and first <= self.end + year

    def __str__(self) -> str:
        return f"{self.start} to {self.end}"


@dataclass(frozen=True)
class CloudMask:
    """How clouds are told from ground, and the score from which a pixel counts as clear (or as cloud)."""

    method: str = "csplus"
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.method not in DEFAULT_THRESHOLDS:
            raise InputError(f"--mask {self.method} is unknown; choose from {', '.join(DEFAULT_THRESHOLDS)}")
        highest = HIGHEST_THRESHOLDS.get(self.method)
        if self.threshold is not None and highest is None:
            raise InputError(f"--mask {self.method} takes no threshold")
        if highest is not None and not 0 < self.level < highest:
            raise InputError(f"--mask {self.method}:{self.level:g} must lie between 0 and {highest:g}")

    @property
    def level(self) -> float:
        return DEFAULT_THRESHOLDS[self.method] if self.threshold is None else self.threshold

    @classmethod
    def parse(cls, text: str) -> CloudMask:
        """`csplus`, or with a threshold of one's own `csplus:0.65`."""
        method, _, threshold = text.partition(":")
        try:
            return cls(method, float(threshold) if threshold else None)
        except ValueError:
            raise InputError(f"--mask {text}: {threshold} is no number") from None


@dataclass(frozen=True)
class CompositeOptions:
    """How scenes become one image."""

    bands: tuple[LayerBand, ...]
    period: Period
    clouds: CloudMask
    composite: str
    most_cloud_cover: float | None = None
    bilinear: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"median|least-cloudy|latest|p([1-9]|[1-9]\d)", self.composite):
            raise InputError(
                f"--composite {self.composite} is unknown; choose median, least-cloudy, latest or a percentile "
                "from p1 to p99"
            )
        if self.most_cloud_cover is not None and not 0 <= self.most_cloud_cover <= 100:
            raise InputError(f"--max-cloud {self.most_cloud_cover:g} must lie between 0 and 100 percent")

    @property
    def names(self) -> list[str]:
        return [band.name for band in self.bands]


@dataclass(frozen=True)
class Marking:
    """How a label is written: a mask of buildings from a share of the ground on, or its own values."""

    as_mask: bool = True
    least_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.least_share <= 1:
            raise InputError(f"--built-from {self.least_share * 100:g} must lie between 0 and 100 percent")


def make_grid_rectangle(grid: Grid) -> ee.Geometry:
    """The grid's own rectangle: exact, small, and safe across the antimeridian."""
    rectangle: ee.Geometry = ee.Geometry.Rectangle(list(grid.bounds), make_projection(grid), False)
    return rectangle


def make_projection(grid: Grid) -> Any:
    """The grid's CRS as Earth Engine takes it: a code where there is one, else WKT."""
    authority = grid.crs.to_authority()
    return ":".join(authority) if authority else ee.Projection(grid.crs.to_wkt("WKT1_GDAL"))


def filter_scenes(
    source: Imagery, look: CompositeOptions, grid: Grid
) -> list[tuple[str, ee.ImageCollection]]:
    """The scenes left after each filter, with what the filter does in words."""
    scenes = ee.ImageCollection(source.asset).filterBounds(make_grid_rectangle(grid))
    steps = [("over the area", scenes)]
    scenes = filter_period(scenes, look.period)
    steps.append((f"from {look.period}", scenes))
    if "N" in look.names:
        scenes = scenes.filter(ee.Filter.listContains("system:band_names", "N"))
        steps.append(("with an infrared band", scenes))
    if look.most_cloud_cover is not None:
        scenes = scenes.filter(ee.Filter.lte(CLOUD_COVER, look.most_cloud_cover))
        steps.append((f"with at most {look.most_cloud_cover:g} % clouds", scenes))
    return steps


def filter_cloud_scores(look: CompositeOptions, grid: Grid) -> ee.ImageCollection:
    """The cloud scores over the same ground and days."""
    scores = ee.ImageCollection(SCORES[look.clouds.method].asset).filterBounds(make_grid_rectangle(grid))
    return filter_period(scores, look.period)


def filter_period(images: ee.ImageCollection, period: Period) -> ee.ImageCollection:
    """The images of a period."""
    found: ee.ImageCollection = images.filterDate(str(period.start), str(period.stop))
    return found


def mask_clouds(scenes: ee.ImageCollection, clouds: CloudMask) -> ee.ImageCollection:
    """The scenes with their clouds masked out."""
    if clouds.method == "none":
        return scenes
    if score := SCORES.get(clouds.method):
        scenes = scenes.linkCollection(ee.ImageCollection(score.asset), [score.band])

    def masked(scene: ee.Image) -> ee.Image:
        return scene.updateMask(find_clear_pixels(scene, clouds))

    unclouded: ee.ImageCollection = scenes.map(masked)
    return unclouded


def find_clear_pixels(scene: ee.Image, clouds: CloudMask) -> ee.Image:
    """Where a scene shows the ground: 1 there, else 0."""
    if clouds.method == "scl":
        mask: ee.Image = scene.select("SCL").remap(list(CLOUDY_CLASSES), [0] * len(CLOUDY_CLASSES), 1)
        return mask
    score = SCORES[clouds.method]
    values: ee.Image = scene.select(score.band)
    return values.gte(clouds.level) if score.is_high_when_clear else values.lt(clouds.level)


def build_composite(source: Imagery, look: CompositeOptions, grid: Grid) -> ee.Image:
    """One image from many scenes, in the source's own numbers, on no grid yet."""
    scenes = mask_clouds(filter_scenes(source, look, grid)[-1][1], look.clouds)
    if look.composite == "least-cloudy":
        scenes = scenes.sort(CLOUD_COVER, False)
    elif look.composite == "latest":
        scenes = scenes.sort("system:time_start")
    scenes = scenes.select(look.names)
    if look.bilinear:
        scenes = scenes.map(lambda scene: scene.resample("bilinear"))
    return fill_and_cast(reduce_scenes(scenes, look), source.pixels)


def reduce_scenes(scenes: ee.ImageCollection, look: CompositeOptions) -> ee.Image:
    """Many scenes to one image, the bands keeping their names."""
    if look.composite == "median":
        return scenes.median()
    if look.composite.startswith("p"):
        return scenes.reduce(ee.Reducer.percentile([int(look.composite[1:])])).rename(look.names)
    return scenes.mosaic()


def count_clear_looks(source: Imagery, look: CompositeOptions, grid: Grid, pixels: PixelFormat) -> ee.Image:
    """How many clear scenes each pixel has: what a composite is worth there."""
    scenes = mask_clouds(filter_scenes(source, look, grid)[-1][1], look.clouds)
    return fill_and_cast(
        scenes.select([look.names[0]]).count().rename(["clear_looks"]).unmask(0, False), pixels
    )


def fill_and_cast(image: ee.Image, pixels: PixelFormat) -> ee.Image:
    """Whole numbers in the valid range, nodata elsewhere, and the cast outermost."""
    if pixels.dtype.startswith(("uint", "int")):
        image = image.round()
    image = image.clamp(pixels.lowest, pixels.highest).unmask(pixels.nodata, False)
    return cast_image(image, pixels.dtype)


def cast_image(image: ee.Image, dtype: str) -> ee.Image:
    """The image in a type of numpy's name."""
    casts = {
        "uint8": image.toUint8,
        "uint16": image.toUint16,
        "uint32": image.toUint32,
        "int8": image.toInt8,
        "int16": image.toInt16,
        "int32": image.toInt32,
        "float32": image.toFloat,
        "float64": image.toDouble,
    }
    return casts[dtype]()


def build_label(source: Label, marking: Marking, period: Period, grid: Grid) -> ee.Image:
    """A label as 0 and 1, or in its own values (percent for shares, codes for classes)."""
    native = load_label(source, period, grid)
    if not (marking.as_mask or source.is_share):
        return native
    share = resample_to_grid(compute_built_share(source, native), source, grid)
    return share.gte(marking.least_share) if marking.as_mask else share.multiply(100)


def load_label(source: Label, period: Period, grid: Grid) -> ee.Image:
    """The label as Earth Engine holds it: one image, its native projection kept."""
    if source.asset_type == "TABLE":
        return paint_polygons(source, grid)
    if source.asset_type == "IMAGE":
        native: ee.Image = ee.Image(source.asset).select([source.band])
        return native
    images = load_label_collection(source, period, grid)
    image: ee.Image = images.mean() if source.is_share else images.mosaic()
    return image.setDefaultProjection(images.first().projection())


def load_label_collection(source: Label, period: Period, grid: Grid) -> ee.ImageCollection:
    """The images of a label over the grid, of the period where there are several."""
    images = ee.ImageCollection(source.asset).filterBounds(make_grid_rectangle(grid))
    if not source.is_of_one_date:
        images = filter_period(images, period)
    chosen: ee.ImageCollection = images.select([source.band])
    return chosen


def paint_polygons(source: Label, grid: Grid) -> ee.Image:
    """Polygons drawn at their native scale in the grid's own CRS."""
    polygons = ee.FeatureCollection(source.asset).filterBounds(make_grid_rectangle(grid))
    confident = polygons.filter(ee.Filter.gte(source.property_name, LEAST_CONFIDENCE))
    fine = ee.Projection(make_projection(grid)).atScale(min(source.scale_m, grid.gsd_m))
    drawn: ee.Image = ee.Image.constant(0).toByte().paint(confident, 1)
    return drawn.setDefaultProjection(fine)


def compute_built_share(source: Label, native: ee.Image) -> ee.Image:
    """The share of each native pixel that is built, from 0 to 1; codes that are not known are nodata."""
    if source.is_share:
        return native.divide(source.full)
    if source.blank_is_ground:
        native = native.unmask(source.others[0]).setDefaultProjection(native.projection())
    codes = [*source.others, *source.built]
    return native.remap(codes, [int(code in source.built) for code in codes])


def resample_to_grid(share: ee.Image, source: Label, grid: Grid) -> ee.Image:
    """A share taken to the grid: averaged where the grid is coarser, else nearest for what came from classes."""
    coarser = grid.gsd_m / source.scale_m
    if coarser > SAME_SCALE:
        inputs = min(MOST_INPUTS, (ceil(coarser) + 1) ** 2)
        return share.reduceResolution(ee.Reducer.mean(), False, inputs)
    return share.resample("bilinear") if source.is_share else share


def format_time(milliseconds: float) -> str:
    """A moment of Earth Engine's as RFC 3339 text."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode_grid(grid: Grid) -> dict[str, Any]:
    """A grid as Earth Engine's REST interface writes it."""
    transform = grid.transform
    authority = grid.crs.to_authority()
    crs = {"crsCode": ":".join(authority)} if authority else {"crsWkt": grid.crs.to_wkt("WKT1_GDAL")}
    return {
        "dimensions": {"width": grid.width, "height": grid.height},
        "affineTransform": {
            "scaleX": transform.a,
            "shearX": transform.b,
            "translateX": transform.c,
            "shearY": transform.d,
            "scaleY": transform.e,
            "translateY": transform.f,
        },
        **crs,
    }
