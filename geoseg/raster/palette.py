"""Colours of a class raster, for every reader: a colour table inside the file and a QGIS style beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from geoseg.landclass import LandClass


@dataclass(frozen=True)
class Palette:
    """The classes of a raster, values 0, 1, 2 ... in order; the first is the background and shown clear."""

    classes: Sequence[LandClass]

    def to_vrt(self) -> str:
        """As GDAL writes it in a virtual raster."""
        rows = "".join(
            f'<Entry c1="{each.rgb[0]}" c2="{each.rgb[1]}" c3="{each.rgb[2]}" c4="{alpha(value)}"/>'
            for value, each in enumerate(self.classes)
        )
        return f"<ColorInterp>Palette</ColorInterp><ColorTable>{rows}</ColorTable>"

    def to_qml(self) -> str:
        """As QGIS reads it from a .qml file beside the raster: named classes, the background clear."""
        rows = "\n".join(
            f'        <paletteEntry value="{value}" label={quoteattr(each.name)} '
            f'color="{each.color}" alpha="{alpha(value)}"/>'
            for value, each in enumerate(self.classes)
        )
        return QML.format(rows=rows)


def alpha(value: int) -> int:
    return 0 if value == 0 else 255


QML = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
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
