"""How QGIS draws the rasters behind footprints."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from geoseg.footprints.files.styles import class_colours
from geoseg.footprints.regions.pixels import NODATA

SAMPLE_PIXELS = 512
CUT_PERCENT = 2.0
PROBABILITY_COLOURS = (
    (0.0, "#440154", 0),
    (0.25, "#3b528b", 140),
    (0.5, "#21918c", 200),
    (0.75, "#5ec962", 230),
    (1.0, "#fde725", 255),
)


def image_style(raster: Any) -> str:
    """An image in its own colours; values other than bytes are stretched to what occurs in it."""
    bands = colour_bands(raster)
    if len(bands) == 1:
        return pipe(
            'type="singlebandgray" grayBand="1" gradient="BlackToWhite"',
            contrast("contrastEnhancement", raster, 1),
        )
    names = ("red", "green", "blue")
    numbered = " ".join(f'{name}Band="{band}"' for name, band in zip(names, bands, strict=True))
    stretches = [
        contrast(f"{name}ContrastEnhancement", raster, band) for name, band in zip(names, bands, strict=True)
    ]
    return pipe(f'type="multibandcolor" {numbered}', "".join(stretches))


def mask_style(raster: Any) -> str:
    """Each class of a mask in its own colour, the background clear."""
    classes = sorted(set(np.unique(sample(raster, 1)).tolist()) - {0, NODATA}) or [1]
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in class_colours(len(classes))]
    entries = "".join(
        f'<paletteEntry value="{value}" label="{value}" color="{colour}" alpha="255"/>'
        for value, colour in zip(classes, colours, strict=True)
    )
    return pipe('type="paletted" band="1"', f"<colorPalette>{entries}</colorPalette>")


def probability_style(raster: Any) -> str:
    """Likely places in bright colours, unlikely ones clear; QGIS applies the scale of a band itself."""
    top = 250.0 if raster.dtypes[0] == "uint8" and raster.scales[0] == 1 else 1.0
    items = "".join(
        f'<item value="{value * top}" label="{value:.0%}" color="{colour}" alpha="{alpha}"/>'
        for value, colour, alpha in PROBABILITY_COLOURS
    )
    shader = (
        f'<rastershader><colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" '
        f'minimumValue="0" maximumValue="{top}">{items}</colorrampshader></rastershader>'
    )
    heading = f'type="singlebandpseudocolor" band="1" classificationMin="0" classificationMax="{top}"'
    return pipe(heading, shader)


def pipe(renderer: str, content: str) -> str:
    """A renderer as a project holds it."""
    return (
        f'<pipe><rasterrenderer {renderer} opacity="1" alphaBand="-1"><rasterTransparency/>{content}</rasterrenderer>'
        '<brightnesscontrast brightness="0" contrast="0"/><huesaturation saturation="0"/>'
        '<rasterresampler maxOversampling="2"/></pipe><blendMode>0</blendMode>'
    )


def colour_bands(raster: Any) -> list[int]:
    """The bands of red, green and blue: as the file says, else the first three, or the only one."""
    meanings = list(raster.colorinterp)
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(meaning in meanings for meaning in wanted):
        return [meanings.index(meaning) + 1 for meaning in wanted]
    return [1, 2, 3] if raster.count >= 3 else [1]


def contrast(element: str, raster: Any, band: int) -> str:
    """How far a band's values are stretched: not at all for bytes."""
    if raster.dtypes[band - 1] == "uint8":
        return ""
    values = sample(raster, band)
    low, high = np.percentile(values, [CUT_PERCENT, 100 - CUT_PERCENT]) if values.size else (0.0, 1.0)
    return (
        f"<{element}><minValue>{float(low)!r}</minValue><maxValue>{float(high)!r}</maxValue>"
        f"<algorithm>StretchToMinimumMaximum</algorithm></{element}>"
    )


def sample(raster: Any, band: int) -> NDArray[Any]:
    """Some of a band's valid values, from all over the raster."""
    rows, cols = (min(size, SAMPLE_PIXELS) for size in raster.shape)
    values = raster.read(band, out_shape=(rows, cols), masked=True).compressed()
    return np.asarray(values[np.isfinite(values)])
