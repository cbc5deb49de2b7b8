"""A report of footprints on one page of HTML that asks no server for anything: numbers, map, tables, charts, provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from geoseg import __version__
from geoseg.errors import InputError
from geoseg.footprints.write.geopackage import REGIONS, get_region_path, is_geopackage, list_columns
from geoseg.footprints.write.reading import read_written_layer
from geoseg.footprints.write.spool import REGION_COLUMNS, Column
from geoseg.io.access import Output, check_outputs
from geoseg.io.atomic import Delivery, replace_text
from geoseg.io.layers import explain_read_errors
from geoseg.models.card import Card
from geoseg.reports.layers import AREA_UNITS, RasterLayer, find_area_column, open_raster_layer, read_polygons
from geoseg.reports.options import REPORT_SUFFIXES, ReportOptions
from geoseg.reports.webmap import WebImage, make_map_data, make_web_image, read_asset, write_json

MOST_FOOTPRINTS = 20_000
"""More of them make a page of more than ten megabytes, which a browser draws slowly."""
AREA_EDGES = (0, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e9)
CONFIDENCE_EDGES = np.linspace(0.5, 1, 11)
CLASS_WORDS = {
    "buildings": "outlines",
    "built-up area": "area of all classes",
    "of the image is built up": "of the image is covered",
    "of the regions is built up": "of the regions is covered",
}
"""What numbers are called where outlines are not only of buildings."""
NOTHING_MORE: Mapping[str, str] = {}
TOLD_PARAMETERS = {
    "model": "Model",
    "model_sha256": "Checksum of the model (SHA-256)",
    "threshold": "Threshold",
    "gsd_m": "Pixels worked at (m)",
    "tta": "Views averaged",
    "engine": "Engine",
    "precision": "Precision",
    "geoseg": "geoseg",
}
"""Of the parameters that geoseg writes into its rasters, those that a reader asks for."""


def write_report(
    footprints: Path,
    out: Path,
    options: ReportOptions,
    facts: Mapping[str, str] = NOTHING_MORE,
    delivery: Delivery | None = None,
    sources: Mapping[str, str] = NOTHING_MORE,
) -> Path:
    """Write the report of a file of footprints; `facts` are lines on where it comes from.

    With a delivery, footprints and rasters may still be on it, and the report comes with them. `sources` says what GDAL opens
    for the name of a raster that is no path, as of images that were read as one.
    """
    rasters = [path for path in (options.image, options.mask, options.probability) if path]
    if delivery is None:
        outputs = [Output("a report", out, REPORT_SUFFIXES, options.overwrite)]
        check_outputs(outputs, [str(footprints), *rasters])
    find = delivery.find if delivery else Path
    layers = {name: open_raster_layer(sources.get(name) or locate(name, find), name) for name in rasters}
    is_placed = all(layer.crs is not None for layer in layers.values())
    buildings = read_buildings(find(footprints), footprints, is_placed)
    if delivery is None and not len(buildings):
        raise InputError(f"{footprints}: holds no footprint to report on")
    regions = read_regions(find(footprints))
    page = make_page(footprints.name, buildings, regions, layers, options, facts)
    replace_text(out, page, delivery)
    return out


def locate(raster: str, find: Callable[[Path], Path]) -> str:
    """Where a raster lies at the moment; one that is no local file goes by its own name."""
    file = find(Path(raster))
    return str(file) if file.exists() else raster


def read_buildings(path: Path, name: Path, is_placed: bool) -> gpd.GeoDataFrame:
    """The footprints of a file; over a picture that lies nowhere they lie in its pixels, whatever the file says."""
    frame = read_polygons(path).reset_index(drop=True)
    if find_area_column(frame) is None:
        raise InputError(f"{name}: has no column area_m2; geoseg infer and vectorize write it")
    return frame if is_placed else frame.set_crs(None, allow_override=True)


def read_regions(path: Path) -> gpd.GeoDataFrame | None:
    """The table of regions that geoseg wrote with the footprints, if it did."""
    place = get_region_path(path)
    with explain_read_errors(str(place)):
        if not place.exists() or (is_geopackage(place) and not list_columns(place, REGIONS)):
            return None
    frame = read_written_layer(place, REGIONS)
    return frame if "built_area_m2" in frame else None


def make_page(
    name: str,
    buildings: gpd.GeoDataFrame,
    regions: gpd.GeoDataFrame | None,
    layers: Mapping[str, RasterLayer],
    options: ReportOptions,
    facts: Mapping[str, str],
) -> str:
    """The whole page."""
    images = list(make_images(layers))
    shown = buildings.nlargest(MOST_FOOTPRINTS, find_area_column(buildings)).sort_index()
    data = make_map_data(shown, regions, images, escape(find_attribution(layers, options)))
    what = name_outlines(buildings["class"]) if "class" in buildings else "buildings"
    note = (
        ""
        if len(shown) == len(buildings)
        else f"The map shows the largest {len(shown):,} of {len(buildings):,} {what}."
    )
    numbers = summarize(buildings, regions)
    sections = [
        write_region_table(regions),
        write_charts(buildings, what),
        write_facts(name, buildings, layers, facts),
    ]
    page = Template(read_asset("report.html"))
    return page.substitute(
        version=__version__,
        title=escape(options.title or Path(name).stem),
        subtitle=f"{what.capitalize()} found in imagery; report made {datetime.now(UTC):%Y-%m-%d} by geoseg {__version__}",
        numbers=write_numbers(numbers if what == "buildings" else rename_for_classes(numbers)),
        switches=write_switches(images, data, what),
        note=note,
        sections="\n".join(filter(None, sections)),
        data=write_json(data),
        leaflet_css=read_asset("leaflet.css"),
        map_css=read_asset("map.css"),
        css=read_asset("report.css"),
        leaflet_js=read_asset("leaflet.js"),
        map_js=read_asset("map.js"),
        report_js=read_asset("report.js"),
    )


def make_images(layers: Mapping[str, RasterLayer]) -> Iterator[WebImage]:
    """Images are shown at once, masks and probabilities when they are asked for."""
    for layer in layers.values():
        yield make_web_image(layer.kind, layer, shown=layer.kind == "image")


def find_attribution(layers: Mapping[str, RasterLayer], options: ReportOptions) -> str:
    return options.attribution or next(
        (layer.attribution for layer in layers.values() if layer.attribution), ""
    )


def summarize(buildings: gpd.GeoDataFrame, regions: gpd.GeoDataFrame | None) -> dict[str, str]:
    """The numbers that people ask for first."""
    areas, unit = measure_areas(buildings)
    numbers = {"buildings": f"{len(buildings):,}", "built-up area": format_area(areas.sum(), unit)}
    if regions is not None:
        one = regions.groupby("region").first()
        ground = one["seen_area_m2"].fillna(one["region_area_m2"]).sum()
        if ground > 0:
            numbers["of the regions is built up"] = f"{regions['built_area_m2'].sum() / ground:.1%}"
        adjusted = regions[["adjusted_low_m2", "adjusted_area_m2", "adjusted_high_m2"]]
        if adjusted.notna().all(axis=None):
            low, middle, high = adjusted.sum()
            numbers["adjusted for known errors"] = format_area(middle)
            numbers["at least, at most (sum of 95 % intervals)"] = f"{format_area(low)} – {format_area(high)}"
    if len(areas):
        numbers["mean size"] = format_area(areas.mean(), unit)
        numbers["median size"] = format_area(areas.median(), unit)
    if tells_confidence(buildings):
        numbers["mean confidence"] = f"{buildings['confidence'].mean():.2f}"
    return numbers


def name_outlines(classes: Iterable[str]) -> str:
    """What footprints are called: of several classes, not every one is a building."""
    return CLASS_WORDS["buildings"] if len(set(classes)) > 1 else "buildings"


def rename_for_classes(numbers: Mapping[str, str]) -> dict[str, str]:
    """The same numbers where outlines are not only of buildings."""
    return {CLASS_WORDS.get(name, name): value for name, value in numbers.items()}


def tells_confidence(buildings: gpd.GeoDataFrame) -> bool:
    """Whether any footprint has a confidence."""
    return "confidence" in buildings and bool(buildings["confidence"].notna().any())


def measure_areas(buildings: gpd.GeoDataFrame) -> tuple[pd.Series, str]:
    """The area of each building, and its unit."""
    column = find_area_column(buildings)
    assert column is not None
    return buildings[column].astype(float), AREA_UNITS[column]


def format_area(area: float, unit: str = "m²") -> str:
    """An area in a fitting unit; pixels stay what they are."""
    if unit == "m²" and area >= 1e4:
        return f"{area / 1e6:,.2f} km²" if area >= 1e6 else f"{area / 1e4:,.2f} ha"
    return f"{area:,.0f} {unit}"


def write_numbers(numbers: Mapping[str, str]) -> str:
    return "".join(
        f"<li><strong>{value}</strong><span>{escape(name)}</span></li>" for name, value in numbers.items()
    )


def write_switches(images: Sequence[WebImage], data: Mapping[str, Any], what: str = "buildings") -> str:
    """Boxes and sliders for the layers of the map, and what colours tell; `what` is what footprints are called."""
    switches = [write_switch(image.name, 1.0, image.shown) for image in images]
    switches.append(write_switch("buildings", 0.3, label=what))
    if data["regions"]["rings"]:
        switches.append(write_switch("regions", None))
    choices = ["one", "area"]
    choices += ["confidence"] if data["buildings"]["confidence"] else []
    choices += ["class"] if len(data["buildings"]["classes"]) > 1 else []
    listed = "".join(
        f'<option value="{each}"{" selected" if each == data["coloring"] else ""}>'
        f"{'nothing' if each == 'one' else each}</option>"
        for each in choices
    )
    switches.append(f'<label>Colours tell <select id="color-by" data-colors>{listed}</select></label>')
    return "".join(switches)


def write_switch(name: str, opacity: float | None, is_shown: bool = True, label: str = "") -> str:
    """A box to show a layer, and a slider to fade it; a label stands for its name."""
    label = label or name
    box = f'<input type="checkbox" data-layer="{name}"{" checked" if is_shown else ""}>'
    slider = (
        f'<input type="range" data-fade="{name}" min="0" max="1" step="0.05" value="{opacity}" aria-label="Opacity of the {label}">'
        if opacity is not None
        else ""
    )
    return f"<span><label>{box} {label}</label>{slider}</span>"


def list_told_columns(regions: gpd.GeoDataFrame) -> list[Column]:
    """The columns of a table of regions that hold something, with heads that suit its classes."""
    what = name_outlines(regions["class"]).capitalize()
    told = [each for each in REGION_COLUMNS if each.name in regions and regions[each.name].notna().any()]
    return [replace(each, alias=what) if each.name == "buildings" else each for each in told]


def write_region_table(regions: gpd.GeoDataFrame | None) -> str:
    """A row for each region and class, sortable by any column that holds something."""
    if regions is None:
        return ""
    names = list_told_columns(regions)
    heads = "".join(
        f'<th scope="col" title="{escape(column.meaning)}"><button type="button">{escape(column.alias)}</button></th>'
        for column in names
    )
    rows = "".join(
        "<tr>" + "".join(write_cell(row[column.name], column.name) for column in names) + "</tr>"
        for row in regions.to_dict("records")
    )
    return (
        '<section><h2>Per region</h2><div class="scroll"><table class="sortable">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def write_cell(value: Any, name: str) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    if value is None or np.isnan(value):
        return '<td data-value="-1">–</td>'
    if name == "share":
        return f'<td data-value="{value}">{value:.1%}</td>'
    digits = 2 if name.endswith("confidence") else 0
    return f'<td data-value="{value}">{value:,.{digits}f}</td>'


def write_charts(buildings: gpd.GeoDataFrame, what: str = "buildings") -> str:
    """How sizes and confidence are spread; `what` is what footprints are called."""
    areas, unit = measure_areas(buildings)
    labels = [f"{low:,g}" for low in AREA_EDGES[:-1]]
    charts = [
        write_bars(f"{what.capitalize()} by size (from … {unit})", np.histogram(areas, AREA_EDGES)[0], labels)
    ]
    if tells_confidence(buildings):
        confidence = buildings["confidence"].dropna().clip(0, 1)
        # With a low threshold, or of several classes, the most likely one may be less likely than not.
        edges = CONFIDENCE_EDGES if confidence.min() >= CONFIDENCE_EDGES[0] else np.linspace(0, 1, 11)
        counts = np.histogram(confidence, edges)[0]
        labels = [f"{low:.2f}" for low in edges[:-1]]
        charts.append(write_bars(f"{what.capitalize()} by confidence (from …)", counts, labels))
    return f'<section><h2>Distribution</h2><div class="charts">{"".join(charts)}</div></section>'


def write_bars(title: str, counts: Any, labels: Sequence[str]) -> str:
    """A histogram as SVG: bars with their numbers above and their lower edges below."""
    width, height, most = 360 / len(counts), 120, max(1, int(max(counts)))
    bars = "".join(
        f'<rect x="{i * width + 1:.1f}" y="{20 + height * (1 - count / most):.1f}" width="{width - 2:.1f}" '
        f'height="{height * count / most:.1f}"/>'
        f'<text x="{(i + 0.5) * width:.1f}" y="{14 + height * (1 - count / most):.1f}" text-anchor="middle">{count:,}</text>'
        f'<text x="{(i + 0.5) * width:.1f}" y="158" text-anchor="middle">{label}</text>'
        for i, (count, label) in enumerate(zip(counts, labels, strict=True))
    )
    drawing = f'<svg viewBox="0 0 360 164" role="img" aria-label="{escape(title)}">{bars}</svg>'
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}</figure>"


def name_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    """What a reader asks for of the parameters of a run, in words."""
    return {label: str(parameters[key]) for key, label in TOLD_PARAMETERS.items() if key in parameters}


def describe_run(
    parameters: Mapping[str, Any], card: Card, seconds: float, megapixels: float
) -> dict[str, str]:
    """Where the footprints of a run come from, as far as anything is known of it."""
    facts = {
        **name_parameters(parameters),
        "About the model": card.description,
        "Licence of the model": card.licence,
        "Known to fail": "\n".join(card.known_failures),
        "Time": f"{timedelta(seconds=round(seconds))} for {megapixels:,.1f} megapixels",
    }
    return {name: text for name, text in facts.items() if text}


def write_facts(
    name: str, buildings: gpd.GeoDataFrame, layers: Mapping[str, RasterLayer], facts: Mapping[str, str]
) -> str:
    """Where the numbers come from."""
    crs = (
        "none (pixels of a picture)"
        if buildings.crs is None
        else f"{buildings.crs.name} ({buildings.crs.to_string()})"
    )
    told = {"Footprints": name, "Coordinates": crs}
    told |= {layer.kind.capitalize(): Path(path).name for path, layer in layers.items()}
    parameters: Mapping[str, Any] = next(
        (layer.parameters for layer in layers.values() if layer.parameters), {}
    )
    told |= {**name_parameters(parameters), **facts}
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>' for key, value in told.items()
    )
    return (
        f'<section><h2>Where this comes from</h2><table class="facts"><tbody>{rows}</tbody></table></section>'
    )
