"""Reflectance of Sentinel-2, whatever its files count in: every image comes to 10,000 x reflectance, 0 being no data.

ESA adds 1,000 to the pixels of products of processing baseline 04.00 (January 2022) and later, so that the same ground
differs by that much from one year to the next. Nothing is copied: a small virtual raster says how to read the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from geoseg.errors import InputError
from geoseg.prepare.picture import Picture, band_numbers, opened, picture
from geoseg.raster.vrt import GDAL_TYPES

TIMES = 10_000
OFFSET_SINCE = 4.0
UNTOLD_BASELINE = 99.0
IN_A_NAME = re.compile(r"_N(\d{2})(\d{2})_")
BASELINE_TAGS = ("PROCESSING_BASELINE", "processing_baseline", "s2:processing_baseline")


@dataclass(frozen=True)
class Reflectance:
    """What pixels mean: reflectance = scale * value + offset."""

    scale: float = 1 / TIMES
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise InputError(f"--reflectance {self.scale:g},{self.offset:g}: the scale must be above 0")

    @property
    def is_usual(self) -> bool:
        """Whether the pixels are 10,000 x reflectance as they are."""
        return abs(self.scale * TIMES - 1) < 1e-6 and abs(self.offset) < 1e-9

    def value(self, stored: int) -> float:
        """What a file holds where 10,000 x reflectance is `stored`."""
        return (stored / TIMES - self.offset) / self.scale


def parsed_reflectance(text: str) -> Reflectance:
    """SCALE,OFFSET as people write it."""
    try:
        scale, offset = map(float, text.split(","))
    except ValueError as error:
        raise InputError(
            f"--reflectance {text}: write SCALE,OFFSET such that reflectance = SCALE x value + OFFSET, "
            "e.g. 0.0001,-0.1 for Sentinel-2 of processing baseline 04.00 and later"
        ) from error
    return Reflectance(scale, offset)


def told_reflectance(path: Path) -> Reflectance | None:
    """What a file itself says: by the scale and offset of its bands, by its tags, or by its product's name."""
    with opened(path) as dataset:
        scale, offset = dataset.scales[0], dataset.offsets[0]
        if (scale, offset) != (1.0, 0.0):
            return Reflectance(scale, offset)
        number = baseline(dataset.tags(), path)
    if number is None:
        return None
    return Reflectance(offset=-0.1 if number >= OFFSET_SINCE else 0.0)


def baseline(tags: dict[str, str], path: Path) -> float | None:
    """The processing baseline, such as 5.11, if a file or its name tells it."""
    texts = [tags[name] for name in BASELINE_TAGS if name in tags]
    texts += [".".join(found) for found in reversed(IN_A_NAME.findall(str(path)))]
    numbers = [float(text) for text in texts if re.fullmatch(r"\d+(\.\d+)?", text)]
    # ESA numbers its test products 99.99: that tells nothing.
    return next((number for number in numbers if number < UNTOLD_BASELINE), None)


def scaled(image: Picture, meaning: Reflectance, bands: Sequence[str], path: Path) -> Picture:
    """A virtual raster of the wanted bands in 10,000 x reflectance, written whole or not at all."""
    with opened(image.path) as dataset:
        text = vrt(dataset, image, meaning, list(zip(band_numbers(image, bands), bands, strict=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
    return picture(path)


def vrt(dataset: Any, image: Picture, meaning: Reflectance, bands: Sequence[tuple[int, str]]) -> str:
    transform = ", ".join(map(repr, dataset.transform.to_gdal()))
    place = f"<SRS>{escape(dataset.crs.to_wkt())}</SRS>" if dataset.crs else ""
    return (
        f'<VRTDataset rasterXSize="{image.width}" rasterYSize="{image.height}">{place}'
        f"<GeoTransform>{transform}</GeoTransform>"
        + "".join(
            band_xml(index, number, name, image, meaning, no_data(dataset))
            for index, (number, name) in enumerate(bands, start=1)
        )
        + "</VRTDataset>"
    )


def no_data(dataset: Any) -> float | None:
    """The value of no data: what the file says, else 0 as ESA has it, unless the pixels are floating numbers."""
    if dataset.nodata is not None:
        return float(dataset.nodata)
    return None if np.issubdtype(dataset.dtypes[0], np.floating) else 0.0


def band_xml(
    index: int, number: int, name: str, image: Picture, meaning: Reflectance, nodata: float | None
) -> str:
    # What is darker than nothing becomes 1, since 0 is no data.
    low, high = meaning.value(1), meaning.value(65535)
    size = f'xOff="0" yOff="0" xSize="{image.width}" ySize="{image.height}"'
    return (
        f'<VRTRasterBand dataType="UInt16" band="{index}"><Description>{escape(name)}</Description>'
        f"<NoDataValue>0</NoDataValue><Scale>{1 / TIMES}</Scale><ComplexSource>"
        f'<SourceFilename relativeToVRT="0">{escape(str(image.path.resolve()))}</SourceFilename>'
        f"<SourceBand>{number}</SourceBand>"
        f'<SourceProperties RasterXSize="{image.width}" RasterYSize="{image.height}" '
        f'DataType="{GDAL_TYPES.get(image.dtype, "Float32")}"/>'
        f"<SrcRect {size}/><DstRect {size}/>"
        + (f"<NODATA>{nodata:.17g}</NODATA>" if nodata is not None else "")
        + f"<LUT>{low:.10g}:1,{high:.10g}:65535</LUT></ComplexSource></VRTRasterBand>"
    )
