"""Colours of a class raster, for every reader: a colour table inside the file and a QGIS style beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr


@dataclass(frozen=True)
class Entry:
    """One class: its value, name and colour as #rrggbb. The background is shown clear."""

    value: int
    name: str
    color: str

    @property
    def alpha(self) -> int:
        return 0 if self.value == 0 else 255

    @property
    def rgb(self) -> tuple[int, int, int]:
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True)
class Palette:
    """The classes of a raster, values 0, 1, 2 ... in order."""

    entries: Sequence[Entry]

    def to_vrt(self) -> str:
        """As GDAL writes it in a virtual raster."""
        rows = "".join(
            f'<Entry c1="{entry.rgb[0]}" c2="{entry.rgb[1]}" c3="{entry.rgb[2]}" c4="{entry.alpha}"/>'
            for entry in self.entries
        )
        return f"<ColorInterp>Palette</ColorInterp><ColorTable>{rows}</ColorTable>"

    def to_qml(self) -> str:
        """As QGIS reads it from a .qml file beside the raster: named classes, the background clear."""
        rows = "\n".join(
            f'        <paletteEntry value="{entry.value}" label={quoteattr(entry.name)} '
            f'color="{entry.color}" alpha="{entry.alpha}"/>'
            for entry in self.entries
        )
        return QML.format(rows=rows)


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
