"""How QGIS draws and names things: styles in its own language, written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from geoseg.footprints.files.columns import FOOTPRINT_COLUMNS, REGION_COLUMNS, Column

Colour = tuple[int, int, int]

SIZES = (
    ("small: under 50 m²", 0, 50),
    ("house: 50 to 200 m²", 50, 200),
    ("large: 200 to 1,000 m²", 200, 1_000),
)
HUGE = ("very large: 1,000 m² or more", 1_000, 1e12)
SIZE_COLOURS: tuple[Colour, ...] = ((254, 217, 118), (253, 141, 60), (227, 26, 28), (128, 0, 38))
SHARE_BREAKS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0)
SHARE_COLOURS: tuple[Colour, ...] = (
    (237, 248, 251),
    (191, 211, 230),
    (158, 188, 218),
    (140, 150, 198),
    (136, 86, 167),
    (110, 1, 107),
)
CLASS_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
)
WALL: Colour = (40, 20, 10)
BORDER: Colour = (60, 60, 80)
BUILDING: Colour = (227, 26, 28)

FOOTPRINT_TIP = """<b>[% "class" %] [% "id" %]</b><br>[% format_number("area_m2", 0) %] m², \
[% format_number("width_m", 1) %] × [% format_number("length_m", 1) %] m<br>\
confidence [% coalesce(format_number(100 * "confidence", 0) || ' %', 'unknown') %]"""
REGION_TIP = """<b>[% "region" %]</b>: [% "class" %]<br>[% format_number("buildings", 0) %] buildings, \
[% format_number("built_area_m2", 0) %] m²<br>\
built share [% coalesce(format_number(100 * "share", 1) || ' %', 'unknown') %]"""


@dataclass(frozen=True)
class Step:
    """One entry of a legend: its words, the values it stands for, its colour."""

    label: str
    low: float
    high: float
    colour: Colour


def size_steps() -> list[Step]:
    """Footprints by area."""
    return [Step(*words, colour) for words, colour in zip((*SIZES, HUGE), SIZE_COLOURS, strict=True)]


def share_steps() -> list[Step]:
    """Regions by the share of them that is built."""
    return [
        Step(f"{low:.0%} to {high:.0%}", low, high, colour)
        for (low, high), colour in zip(pairwise(SHARE_BREAKS), SHARE_COLOURS, strict=True)
    ]


def footprint_style(classes: Sequence[str]) -> str:
    """Footprints by size where there is one class, else by class."""
    by_size = graduated("area_m2", size_steps(), WALL, 0.85)
    renderer = by_size if len(classes) == 1 else categorized("class", classes)
    return document(renderer, FOOTPRINT_COLUMNS, '"class" || \' \' || "id"', FOOTPRINT_TIP)


def region_style(classes: Sequence[str]) -> str:
    """Regions by built share; with several classes one group of the legend for each, the first one switched on."""
    plain = graduated("share", share_steps(), BORDER, 0.4)
    renderer = plain if len(classes) == 1 else graduated_by_class("share", share_steps(), classes)
    return document(renderer, REGION_COLUMNS, '"region"', REGION_TIP)


def document(renderer: str, columns: Sequence[Column], display: str, tip: str) -> str:
    """A whole QML document."""
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22.16" styleCategories="Symbology|Fields|MapTips|Rendering" hasScaleBasedVisibilityFlag="0">\n'
        f"{layer_content(renderer, columns, display, tip)}</qgis>\n"
    )


def layer_content(renderer: str, columns: Sequence[Column], display: str, tip: str) -> str:
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


def graduated(attribute: str, steps: Sequence[Step], outline: Colour, opacity: float) -> str:
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
        f"{symbols([step.colour for step in steps], outline, opacity)}"
        "  </renderer-v2>\n"
    )


def categorized(attribute: str, classes: Sequence[str]) -> str:
    """One colour for each class."""
    categories = "".join(
        f'      <category value={quoteattr(name)} symbol="{index}" label={quoteattr(name)} render="true"/>\n'
        for index, name in enumerate(classes)
    )
    return (
        f'  <renderer-v2 type="categorizedSymbol" attr="{attribute}" symbollevels="0" enableorderby="0">\n'
        f"    <categories>\n{categories}    </categories>\n"
        f"{symbols(class_colours(len(classes)), WALL, 0.85)}"
        "  </renderer-v2>\n"
    )


def graduated_by_class(attribute: str, steps: Sequence[Step], classes: Sequence[str]) -> str:
    """A group of ranges for each class, of which only the first is drawn until the user ticks another."""
    groups = "".join(rule_group(attribute, steps, name, first=name == classes[0]) for name in classes)
    return (
        '  <renderer-v2 type="RuleRenderer" symbollevels="0" enableorderby="0">\n'
        f'    <rules key="all">\n{groups}    </rules>\n'
        f"{symbols([step.colour for step in steps], BORDER, 0.4)}"
        "  </renderer-v2>\n"
    )


def rule_group(attribute: str, steps: Sequence[Step], name: str, first: bool) -> str:
    """The rules for one class."""
    quoted = name.replace("'", "''")
    state = "1" if first else "0"
    rules = "".join(
        f'        <rule key={quoteattr(f"{name} {index}")} symbol="{index}" label={quoteattr(step.label)} '
        f"filter={quoteattr(range_filter(attribute, step, last=step is steps[-1]))}/>\n"
        for index, step in enumerate(steps)
    )
    filtering = quoteattr(f"\"class\" = '{quoted}'")
    return (
        f'      <rule key={quoteattr(name)} label={quoteattr(name)} filter={filtering} checkstate="{state}">\n'
        f"{rules}      </rule>\n"
    )


def range_filter(attribute: str, step: Step, last: bool) -> str:
    """The values of a step as an expression, its upper end left to the next step."""
    return f'"{attribute}" >= {step.low} AND "{attribute}" {"<=" if last else "<"} {step.high}'


def symbols(colours: Sequence[Colour], outline: Colour, opacity: float) -> str:
    """Plain fills with a thin outline."""
    return f"    <symbols>\n{''.join(fills(colours, outline, opacity))}    </symbols>\n"


def fills(colours: Sequence[Colour], outline: Colour, opacity: float) -> Iterator[str]:
    """One fill for each colour; the outline stays opaque."""
    for index, colour in enumerate(colours):
        options = {
            "color": f"{rgb(colour)},{round(255 * opacity)}",
            "style": "solid",
            "outline_color": f"{rgb(outline)},255",
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


def class_colours(count: int) -> list[Colour]:
    """Colours that people with any eyesight can tell apart, repeated when there are more than seven classes."""
    return [CLASS_COLOURS[index % len(CLASS_COLOURS)] for index in range(count)]


def rgb(colour: Colour) -> str:
    """A colour as QGIS writes it."""
    return ",".join(map(str, colour))
