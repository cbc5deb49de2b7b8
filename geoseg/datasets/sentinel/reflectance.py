"""What Sentinel-2 images need before they are learnt from: true reflectance, and clouds left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.images import ImageInfo, find_bands, open_image, read_image_info
from geoseg.datasets.sentinel.fractions import sample_raster
from geoseg.errors import InputError
from geoseg.io.atomic import replace_text
from geoseg.raster.grid import Grid, Window
from geoseg.raster.source import GDAL_TYPES

# No data, defective, cloud shadow, cloud of medium and of high probability, thin cirrus, snow.
UNCLEAR = (0, 1, 3, 8, 9, 10, 11)
SCENE_CLASSES = "SCL"


@dataclass(frozen=True)
class CloudOptions:
    """What to go by: the name of a band of the images, and the values that mean that the ground is not to be seen."""

    band: str = SCENE_CLASSES
    is_required: bool = False
    values: tuple[int, ...] = UNCLEAR

    def find_band_in(self, image: ImageInfo) -> int | None:
        """Which band of an image it is, if it has it."""
        names = [name.lower() for name in image.names]
        if self.band.lower() in names:
            return names.index(self.band.lower()) + 1
        if self.is_required:
            held = ", ".join(name for name in image.names if name) or "none with a name"
            raise InputError(f"{image.path}: has no band {self.band} for `cloud`; it has {held}")
        return None


def parse_cloud_values(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise InputError(f"`cloud_values` {text}: write whole numbers, e.g. '0 1 3 8 9 10 11'")
    return tuple(map(int, words))


@dataclass(frozen=True)
class CloudCover:
    """Cloud cover of one image, opened for reading: a raster of its own, or a band of the image."""

    raster: Any
    band: int | None
    values: tuple[int, ...]

    def hides(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window show something else than ground; beyond a cloud raster nothing is known."""
        if self.raster is None:
            return np.zeros((window.height, window.width), dtype=bool)
        if self.band:
            values = self.raster.read(self.band, window=make_slices(window))
            return np.isin(values, self.values)
        values, known = sample_raster(self.raster, grid.window(window), 1)
        return np.isin(values, self.values) | ~known


def make_slices(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return (window.row, window.stop_row), (window.col, window.stop_col)


@contextmanager
def open_cloud_cover(image: ImageInfo, separate: Path | None, clouds: CloudOptions) -> Iterator[CloudCover]:
    """Open what tells the cloud cover of an image, if anything does."""
    number = None if separate else clouds.find_band_in(image)
    path = separate or (image.path if number else None)
    with ExitStack() as open_files:
        raster = open_files.enter_context(open_image(path)) if path else None
        yield CloudCover(raster, number, clouds.values)


QUANTIFICATION = 10_000
"""ESA's QUANTIFICATION_VALUE: what reflectance is multiplied with to be kept in whole numbers."""
OFFSET_SINCE = 4.0
"""ESA's processing baseline since which 1000 is added to all pixels."""
UNTOLD_BASELINE = 99.0
BASELINE_IN_NAME = re.compile(r"_N(\d{2})(\d{2})_")
BASELINE_TAGS = ("PROCESSING_BASELINE", "processing_baseline", "s2:processing_baseline")


@dataclass(frozen=True)
class Reflectance:
    """What pixels mean: reflectance = scale * value + offset."""

    scale: float = 1 / QUANTIFICATION
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise InputError(f"`reflectance` {self.scale:g},{self.offset:g}: the scale must be above 0")

    @property
    def is_usual(self) -> bool:
        """Whether the pixels are 10,000 x reflectance as they are."""
        return abs(self.scale * QUANTIFICATION - 1) < 1e-6 and abs(self.offset) < 1e-9

    def value(self, stored: int) -> float:
        """What a file holds where 10,000 x reflectance is `stored`."""
        return (stored / QUANTIFICATION - self.offset) / self.scale


def parse_reflectance(text: str) -> Reflectance:
    """SCALE,OFFSET as people write it."""
    try:
        scale, offset = map(float, text.split(","))
    except ValueError as error:
        raise InputError(
            f"`reflectance` {text}: write SCALE,OFFSET such that reflectance = SCALE x value + OFFSET, "
            "e.g. 0.0001,-0.1 for Sentinel-2 of processing baseline 04.00 and later"
        ) from error
    return Reflectance(scale, offset)


def read_reflectance(path: Path) -> Reflectance | None:
    """What a file itself says: by the scale and offset of its bands, by its tags, or by its product's name."""
    with open_image(path) as dataset:
        scale, offset = dataset.scales[0], dataset.offsets[0]
        if (scale, offset) != (1.0, 0.0):
            return Reflectance(scale, offset)
        number = find_baseline(dataset.tags(), path)
    if number is None:
        return None
    return Reflectance(offset=-0.1 if number >= OFFSET_SINCE else 0.0)


def find_baseline(tags: dict[str, str], path: Path) -> float | None:
    """The processing baseline, such as 5.11, if a file or its name tells it."""
    texts = [tags[name] for name in BASELINE_TAGS if name in tags]
    texts += [".".join(found) for found in reversed(BASELINE_IN_NAME.findall(str(path)))]
    numbers = [float(text) for text in texts if re.fullmatch(r"\d+(\.\d+)?", text)]
    # ESA numbers its test products 99.99: that tells nothing.
    return next((number for number in numbers if number < UNTOLD_BASELINE), None)


def write_scaled_vrt(image: ImageInfo, meaning: Reflectance, bands: Sequence[str], path: Path) -> ImageInfo:
    """A virtual raster of the wanted bands in 10,000 x reflectance, written whole or not at all."""
    with open_image(image.path) as dataset:
        text = format_vrt(dataset, image, meaning, list(zip(find_bands(image, bands), bands, strict=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text)
    return read_image_info(path)


def format_vrt(dataset: Any, image: ImageInfo, meaning: Reflectance, bands: Sequence[tuple[int, str]]) -> str:
    transform = ", ".join(map(repr, dataset.transform.to_gdal()))
    place = f"<SRS>{escape(dataset.crs.to_wkt())}</SRS>" if dataset.crs else ""
    return (
        f'<VRTDataset rasterXSize="{image.width}" rasterYSize="{image.height}">{place}'
        f"<GeoTransform>{transform}</GeoTransform>"
        + "".join(
            format_band(index, number, name, image, meaning, choose_nodata(dataset))
            for index, (number, name) in enumerate(bands, start=1)
        )
        + "</VRTDataset>"
    )


def choose_nodata(dataset: Any) -> float | None:
    """The value of no data: what the file says, else 0 as ESA has it, unless the pixels are floating numbers."""
    if dataset.nodata is not None:
        return float(dataset.nodata)
    return None if np.issubdtype(dataset.dtypes[0], np.floating) else 0.0


def format_band(
    index: int, number: int, name: str, image: ImageInfo, meaning: Reflectance, nodata: float | None
) -> str:
    # What is darker than nothing becomes 1, since 0 is no data.
    low, high = meaning.value(1), meaning.value(65535)
    size = f'xOff="0" yOff="0" xSize="{image.width}" ySize="{image.height}"'
    return (
        f'<VRTRasterBand dataType="UInt16" band="{index}"><Description>{escape(name)}</Description>'
        f"<NoDataValue>0</NoDataValue><Scale>{1 / QUANTIFICATION}</Scale><ComplexSource>"
        f'<SourceFilename relativeToVRT="0">{escape(str(image.path.resolve()))}</SourceFilename>'
        f"<SourceBand>{number}</SourceBand>"
        f'<SourceProperties RasterXSize="{image.width}" RasterYSize="{image.height}" '
        f'DataType="{GDAL_TYPES.get(image.dtype, "Float32")}"/>'
        f"<SrcRect {size}/><DstRect {size}/>"
        + (f"<NODATA>{nodata:.17g}</NODATA>" if nodata is not None else "")
        + f"<LUT>{low:.10g}:1,{high:.10g}:65535</LUT></ComplexSource></VRTRasterBand>"
    )
