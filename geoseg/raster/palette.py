"""Classes of a raster, and the colors they are shown in: a color table inside the file and a QGIS style beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from geoseg.errors import InputError
from geoseg.raster.coding import NODATA


@dataclass(frozen=True)
class ClassEntry:
    """A class of pixels, with the colour that maps show it in."""

    name: str
    color: str

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("a class has no name")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.color):
            raise InputError(f"class {self.name}: colour {self.color!r} is not written like #c0392b")

    @property
    def rgb(self) -> tuple[int, int, int]:
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True)
class Palette:
    """The classes of a raster, values 0, 1, 2 ... in order; the first is the background and shown clear."""

    classes: Sequence[ClassEntry]

    def to_vrt(self, whole: bool = False) -> str:
        """As GDAL writes it in a virtual raster.

        `whole`: all 256 values, of which only unknown is clear, so that a PNG tells by itself what is unknown.
        """
        entries = [(*each.rgb, choose_alpha(value)) for value, each in enumerate(self.classes)]
        if whole:
            opaque = [(*each.rgb, 255) for each in self.classes]
            entries = [*opaque, *[(0, 0, 0, 255)] * (NODATA - len(opaque)), (0, 0, 0, 0)]
        rows = "".join(f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{a}"/>' for r, g, b, a in entries)
        return f"<ColorInterp>Palette</ColorInterp><ColorTable>{rows}</ColorTable>"

    def to_qml(self) -> str:
        """As QGIS reads it from a .qml file beside the raster: named classes, the background clear."""
        rows = "\n".join(
            f'        <paletteEntry value="{value}" label={quoteattr(each.name)} '
            f'color="{each.color}" alpha="{choose_alpha(value)}"/>'
            for value, each in enumerate(self.classes)
        )
        return QML_TEMPLATE.format(rows=rows)


def choose_alpha(value: int) -> int:
    return 0 if value == 0 else 255


QML_TEMPLATE = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="paletted" opacity="0.75" alphaBand="-1" band="1" nodataColor="">
      <rasterTransparency/>
      <colorPalette>
{rows}
      </colorPalette>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0"/>
    <huesaturation saturation="0"/>
    <rasterresampler maxOversampling="2"/>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
"""
