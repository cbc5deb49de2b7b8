"""How QGIS draws and names footprints and regions: styles in its own language, written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from geoseg.footprints.write.spool import FOOTPRINT_COLUMNS, REGION_COLUMNS, Column
from geoseg.raster.coding import NODATA

SAMPLE_PIXELS = 512
CUT_PERCENT = 2.0
PROBABILITY_COLORS = (
    (0.0, "#440154", 0),
    (0.25, "#3b528b", 140),
    (0.5, "#21918c", 200),
    (0.75, "#5ec962", 230),
    (1.0, "#fde725", 255),
)


def make_image_style(raster: Any) -> str:
    """An image in its own colours; values other than bytes are stretched to what occurs in it."""
    bands = find_color_bands(raster)
    if len(bands) == 1:
        return format_pipe(
            'type="singlebandgray" grayBand="1" gradient="BlackToWhite"',
            format_contrast("contrastEnhancement", raster, 1),
        )
    names = ("red", "green", "blue")
    numbered = " ".join(f'{name}Band="{band}"' for name, band in zip(names, bands, strict=True))
    stretches = [
        format_contrast(f"{name}ContrastEnhancement", raster, band)
        for name, band in zip(names, bands, strict=True)
    ]
    return format_pipe(f'type="multibandcolor" {numbered}', "".join(stretches))


def make_mask_style(raster: Any) -> str:
    """Each class of a mask in its own colour, the background clear."""
    classes = sorted(set(np.unique(sample_values(raster, 1)).tolist()) - {0, NODATA}) or [1]
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in choose_class_colors(len(classes))]
    entries = "".join(
        f'<paletteEntry value="{value}" label="{value}" color="{color}" alpha="255"/>'
        for value, color in zip(classes, colors, strict=True)
    )
    return format_pipe('type="paletted" band="1"', f"<colorPalette>{entries}</colorPalette>")


def make_probability_style(raster: Any) -> str:
    """Likely places in bright colours, unlikely ones clear; QGIS applies the scale of a band itself."""
    top = 250.0 if raster.dtypes[0] == "uint8" and raster.scales[0] == 1 else 1.0
    items = "".join(
        f'<item value="{value * top}" label="{value:.0%}" color="{color}" alpha="{alpha}"/>'
        for value, color, alpha in PROBABILITY_COLORS
    )
    shader = (
        f'<rastershader><colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" '
        f'minimumValue="0" maximumValue="{top}">{items}</colorrampshader></rastershader>'
    )
    heading = f'type="singlebandpseudocolor" band="1" classificationMin="0" classificationMax="{top}"'
    return format_pipe(heading, shader)


def format_pipe(renderer: str, content: str) -> str:
    """A renderer as a project holds it."""
    return (
        f'<pipe><rasterrenderer {renderer} opacity="1" alphaBand="-1"><rasterTransparency/>{content}</rasterrenderer>'
        '<brightnesscontrast brightness="0" contrast="0"/><huesaturation saturation="0"/>'
        '<rasterresampler maxOversampling="2"/></pipe><blendMode>0</blendMode>'
    )


def find_color_bands(raster: Any) -> list[int]:
    """The bands of red, green and blue: as the file says, else the first three, or the only one."""
    meanings = list(raster.colorinterp)
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(meaning in meanings for meaning in wanted):
        return [meanings.index(meaning) + 1 for meaning in wanted]
    return [1, 2, 3] if raster.count >= 3 else [1]


def format_contrast(element: str, raster: Any, band: int) -> str:
    """How far a band's values are stretched: not at all for bytes."""
    if raster.dtypes[band - 1] == "uint8":
        return ""
    values = sample_values(raster, band)
    low, high = np.percentile(values, [CUT_PERCENT, 100 - CUT_PERCENT]) if values.size else (0.0, 1.0)
    return (
        f"<{element}><minValue>{float(low)!r}</minValue><maxValue>{float(high)!r}</maxValue>"
        f"<algorithm>StretchToMinimumMaximum</algorithm></{element}>"
    )


def sample_values(raster: Any, band: int) -> NDArray[Any]:
    """Some of a band's valid values, from all over the raster."""
    rows, cols = (min(size, SAMPLE_PIXELS) for size in raster.shape)
    values = raster.read(band, out_shape=(rows, cols), masked=True).compressed()
    return np.asarray(values[np.isfinite(values)])


Color = tuple[int, int, int]

SIZES = (
    ("small: under 50 m²", 0, 50),
    ("house: 50 to 200 m²", 50, 200),
    ("large: 200 to 1,000 m²", 200, 1_000),
)
HUGE = ("very large: 1,000 m² or more", 1_000, 1e12)
SIZE_COLORS: tuple[Color, ...] = ((254, 217, 118), (253, 141, 60), (227, 26, 28), (128, 0, 38))
SHARE_BREAKS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0)
SHARE_COLORS: tuple[Color, ...] = (
    (237, 248, 251),
    (191, 211, 230),
    (158, 188, 218),
    (140, 150, 198),
    (136, 86, 167),
    (110, 1, 107),
)
CLASS_COLORS: tuple[Color, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
)
WALL: Color = (40, 20, 10)
BORDER: Color = (60, 60, 80)
BUILDING: Color = (227, 26, 28)

FOOTPRINT_TIP = """<b>[% "class" %] [% "id" %]</b><br>[% format_number("area_m2", 0) %] m², \
[% format_number("width_m", 1) %] × [% format_number("length_m", 1) %] m<br>\
confidence [% coalesce(format_number(100 * "confidence", 0) || ' %', 'unknown') %]"""
PIXEL_TIP = """<b>[% "class" %] [% "id" %]</b><br>[% format_number("area_px", 0) %] pixels, \
[% format_number("width_px", 1) %] × [% format_number("length_px", 1) %]<br>\
confidence [% coalesce(format_number(100 * "confidence", 0) || ' %', 'unknown') %]"""
REGION_TIP = """<b>[% "region" %]</b>: [% "class" %]<br>[% format_number("buildings", 0) %] buildings, \
[% format_number("built_area_m2", 0) %] m²<br>\
built share [% coalesce(format_number(100 * "share", 1) || ' %', 'unknown') %]"""


@dataclass(frozen=True)
class LegendEntry:
    """One entry of a legend: its words, the values it stands for, its colour."""

    label: str
    low: float
    high: float
    color: Color


def make_size_legend() -> list[LegendEntry]:
    """Footprints by area."""
    return [LegendEntry(*words, color) for words, color in zip((*SIZES, HUGE), SIZE_COLORS, strict=True)]


def make_share_legend() -> list[LegendEntry]:
    """Regions by the share of them that is built."""
    return [
        LegendEntry(f"{low:.0%} to {high:.0%}", low, high, color)
        for (low, high), color in zip(pairwise(SHARE_BREAKS), SHARE_COLORS, strict=True)
    ]


def make_footprint_style(classes: Sequence[str], columns: Sequence[Column] = FOOTPRINT_COLUMNS) -> str:
    """Footprints by size where there is one class and sizes are in metres, else by class."""
    in_metres = any(column.name == "area_m2" for column in columns)
    by_size = format_graduated("area_m2", make_size_legend(), WALL, 0.85)
    renderer = by_size if len(classes) == 1 and in_metres else format_categorized("class", classes)
    tip = FOOTPRINT_TIP if in_metres else PIXEL_TIP
    return format_style(renderer, columns, '"class" || \' \' || "id"', tip)


def make_region_style(classes: Sequence[str], columns: Sequence[Column] = REGION_COLUMNS) -> str:
    """Regions by built share; with several classes one group of the legend for each, the first one switched on."""
    plain = format_graduated("share", make_share_legend(), BORDER, 0.4)
    renderer = (
        plain if len(classes) == 1 else format_graduated_by_class("share", make_share_legend(), classes)
    )
    return format_style(renderer, columns, '"region"', REGION_TIP)


def format_style(renderer: str, columns: Sequence[Column], display: str, tip: str) -> str:
    """A whole QML document."""
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22.16" styleCategories="Symbology|Fields|MapTips|Rendering" hasScaleBasedVisibilityFlag="0">\n'
        f"{format_layer_content(renderer, columns, display, tip)}</qgis>\n"
    )


def format_layer_content(renderer: str, columns: Sequence[Column], display: str, tip: str) -> str:
    """What a style says inside its outermost element, the same in a style and in a project."""
    aliases = "".join(
        f"    <alias index={quoteattr(str(index))} field={quoteattr(column.name)} name={quoteattr(column.alias)}/>\n"
        for index, column in enumerate(columns, start=1)
    )
    return (
        f"{renderer}"
        f"  <aliases>\n{aliases}  </aliases>\n"
        f"  <previewExpression>{escape(display)}</previewExpression>\n"
        f"  <mapTip>{escape(tip)}</mapTip>\n"
    )


def format_graduated(attribute: str, steps: Sequence[LegendEntry], outline: Color, opacity: float) -> str:
    """One colour for each range of a number."""
    ranges = "".join(
        f'      <range lower="{step.low}" upper="{step.high}" symbol="{index}" label={quoteattr(step.label)} '
        'render="true"/>\n'
        for index, step in enumerate(steps)
    )
    return (
        f'  <renderer-v2 type="graduatedSymbol" attr="{attribute}" graduatedMethod="GraduatedColor" '
        'symbollevels="0" enableorderby="0">\n'
        f"    <ranges>\n{ranges}    </ranges>\n"
        f"{format_symbols([step.color for step in steps], outline, opacity)}"
        "  </renderer-v2>\n"
    )


@dataclass(frozen=True)
class Category:
    """What the legend says of a value, and its colour."""

    label: str
    color: Color


def format_categorized(attribute: str, classes: Sequence[str]) -> str:
    """One colour for each class."""
    colors = choose_class_colors(len(classes))
    categories = {name: Category(name, color) for name, color in zip(classes, colors, strict=True)}
    return format_categories(attribute, categories, WALL, 0.85)


def format_categories(attribute: str, entries: Mapping[str, Category], outline: Color, opacity: float) -> str:
    """One colour for each value."""
    categories = "".join(
        f'      <category value={quoteattr(value)} symbol="{index}" label={quoteattr(entry.label)} render="true"/>\n'
        for index, (value, entry) in enumerate(entries.items())
    )
    return (
        f'  <renderer-v2 type="categorizedSymbol" attr="{attribute}" symbollevels="0" enableorderby="0">\n'
        f"    <categories>\n{categories}    </categories>\n"
        f"{format_symbols([entry.color for entry in entries.values()], outline, opacity)}"
        "  </renderer-v2>\n"
    )


def format_graduated_by_class(attribute: str, steps: Sequence[LegendEntry], classes: Sequence[str]) -> str:
    """A group of ranges for each class, of which only the first is drawn until the user ticks another."""
    groups = "".join(format_rule_group(attribute, steps, name, first=name == classes[0]) for name in classes)
    return (
        '  <renderer-v2 type="RuleRenderer" symbollevels="0" enableorderby="0">\n'
        f'    <rules key="all">\n{groups}    </rules>\n'
        f"{format_symbols([step.color for step in steps], BORDER, 0.4)}"
        "  </renderer-v2>\n"
    )


def format_rule_group(attribute: str, steps: Sequence[LegendEntry], name: str, first: bool) -> str:
    """The rules for one class."""
    quoted = name.replace("'", "''")
    state = "1" if first else "0"
    rules = "".join(
        f'        <rule key={quoteattr(f"{name} {index}")} symbol="{index}" label={quoteattr(step.label)} '
        f"filter={quoteattr(format_range_filter(attribute, step, last=step is steps[-1]))}/>\n"
        for index, step in enumerate(steps)
    )
    filtering = quoteattr(f"\"class\" = '{quoted}'")
    return (
        f'      <rule key={quoteattr(name)} label={quoteattr(name)} filter={filtering} checkstate="{state}">\n'
        f"{rules}      </rule>\n"
    )


def format_range_filter(attribute: str, step: LegendEntry, last: bool) -> str:
    """The values of a step as an expression, its upper end left to the next step."""
    return f'"{attribute}" >= {step.low} AND "{attribute}" {"<=" if last else "<"} {step.high}'


def format_symbols(colors: Sequence[Color], outline: Color, opacity: float) -> str:
    """Plain fills with a thin outline."""
    return f"    <symbols>\n{''.join(format_fills(colors, outline, opacity))}    </symbols>\n"


def format_fills(colors: Sequence[Color], outline: Color, opacity: float) -> Iterator[str]:
    """One fill for each colour; the outline stays opaque."""
    for index, color in enumerate(colors):
        options = {
            "color": f"{format_rgb(color)},{round(255 * opacity)}",
            "style": "solid",
            "outline_color": f"{format_rgb(outline)},255",
            "outline_style": "solid",
            "outline_width": "0.16",
            "outline_width_unit": "MM",
            "joinstyle": "miter",
        }
        listed = "".join(
            f'          <Option type="QString" name="{k}" value="{v}"/>\n' for k, v in options.items()
        )
        old = "".join(f'        <prop k="{k}" v="{v}"/>\n' for k, v in options.items())
        yield (
            f'      <symbol name="{index}" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">\n'
            '        <layer class="SimpleFill" enabled="1" locked="0" pass="0">\n'
            f'        <Option type="Map">\n{listed}        </Option>\n{old}'
            "        </layer>\n"
            "      </symbol>\n"
        )


def choose_class_colors(count: int) -> list[Color]:
    """Colours that people with any eyesight can tell apart, repeated when there are more than seven classes."""
    return [CLASS_COLORS[index % len(CLASS_COLORS)] for index in range(count)]


def format_rgb(color: Color) -> str:
    """A colour as QGIS writes it."""
    return ",".join(map(str, color))
