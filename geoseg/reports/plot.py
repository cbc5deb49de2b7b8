"""Pictures of rasters and polygons over one another, with what a map needs: scale bar, north arrow, legend, attribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, sin
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke
from matplotlib.text import OffsetFrom
from matplotlib.ticker import FuncFormatter, NullFormatter
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from geoseg.comparison.write import COLORS
from geoseg.errors import InputError
from geoseg.io.access import Output, check_outputs
from geoseg.io.atomic import replace_file
from geoseg.reports.layers import (
    AREA_UNITS,
    Layer,
    RasterLayer,
    ShapeLayer,
    find_area_column,
    intersect_bounds,
    open_layer,
    read_colors,
)
from geoseg.reports.options import TELLING_FILL, PlotOptions
from geoseg.reports.view import View, choose_bar_length, format_length, parse_window

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
UNDATED: Mapping[str, Mapping[str, None]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
"""The same picture has the same bytes tomorrow."""
LARGEST_SIDE = 2**14
"""A square of it takes a gigabyte for each copy of its colours, of which there are several on the way."""
DOTS_PER_INCH = 100
FIGURE_INCHES = 8.0
LETTERS_ACROSS = 90
"""Words are so large that this many of them would fill the width, whatever the picture's size."""
BAR_SHARE = 0.25
MASK_COVER = 0.5
FOOTPRINT_COLOR, REGION_COLOR = "#ffd400", "#00e5ff"
CLASS_COLORS = ("#ffd400", "#00e5ff", "#ff5e5b", "#76ff03", "#ff9100", "#e040fb")
AREA_LIMITS_M2 = (10.0, 3000.0)
"""From a shed to a hall: outside these, colours no longer change."""
CHANGE = "change"
"""The column of `geoseg compare`; where there is one, colours tell what it says."""
DEFAULT_OPTIONS = PlotOptions()


@dataclass(frozen=True)
class Colors:
    """The colour of each polygon, and what the legend says of them."""

    each: list[Any]
    named: Mapping[str, str]
    scale: ScalarMappable | None = None
    title: str = ""


def write_plot(sources: Sequence[object], out: Path, options: PlotOptions, overwrite: bool = False) -> Path:
    """Draw layers over one another, the first at the bottom, into a picture file."""
    files = [str(source) for source in sources if not isinstance(source, gpd.GeoDataFrame)]
    check_outputs([Output("a picture", out, PICTURE_SUFFIXES, overwrite)], files)
    layers = [open_layer(source) for source in sources]
    view = choose_view(layers, options)
    figure = Figure(figsize=(view.width / DOTS_PER_INCH, view.height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_layers(axes, layers, view, options)
    suffix = out.suffix.lower()
    with replace_file(out) as unfinished, rc_context({"svg.hashsalt": "geoseg"}):
        figure.savefig(unfinished, format=suffix[1:], dpi=DOTS_PER_INCH, metadata=UNDATED.get(suffix))
    return out


def draw_plot(sources: Sequence[object], axes: Axes, options: PlotOptions = DEFAULT_OPTIONS) -> Axes:
    """Draw layers over one another on given axes."""
    layers = [open_layer(source) for source in sources]
    draw_layers(axes, layers, choose_view(layers, options), options)
    return axes


def make_axes(options: PlotOptions) -> Axes:
    """Axes of a new figure as large on a screen as figures are there."""
    from matplotlib import pyplot

    _, axes = pyplot.subplots(figsize=(FIGURE_INCHES, FIGURE_INCHES), dpi=options.width / FIGURE_INCHES / 2)
    return axes


def choose_view(layers: Sequence[Layer], options: PlotOptions) -> View:
    """The window that is asked for, or all of the first raster, or else of the first layer."""
    if not layers:
        raise InputError("nothing to show: give an image, a mask, footprints or regions")
    first = next((layer for layer in layers if isinstance(layer, RasterLayer)), layers[0])
    if isinstance(first, ShapeLayer) and not len(first.frame):
        raise InputError(f"{first.name}: holds no polygon to show")
    if not options.window:
        return refuse_large_picture(View.of(first.crs, first.bounds, options.width))
    window = parse_window(options.window)
    if intersect_bounds(layers[0].bounds, window) is None:
        around = ",".join(f"{limit:.10g}" for limit in layers[0].bounds)
        raise InputError(
            f"`window` {options.window}: shows nothing of the first layer, which lies in {around}"
        )
    return refuse_large_picture(View.of(layers[0].crs, window, options.width))


def refuse_large_picture(view: View) -> View:
    """The same view, unless a picture of it would not fit in memory."""
    if max(view.width, view.height) > LARGEST_SIDE:
        raise InputError(
            f"`width` {view.width}: makes a picture of {view.width:,} x {view.height:,} pixels; it may have "
            f"{LARGEST_SIDE:,} each way at most"
        )
    return view


def refuse_useless_colors(layers: Sequence[Layer], options: PlotOptions) -> None:
    """Refuse colours that no layer could have: only footprints whose area is known tell anything by them."""
    if options.color_by != "one" and all(
        isinstance(layer, RasterLayer) or layer.are_regions for layer in layers
    ):
        names = " or ".join(AREA_UNITS)
        raise InputError(
            f"`color_by` {options.color_by}: no layer holds footprints, which have a column {names}; leave it out"
        )


def draw_layers(axes: Axes, layers: Sequence[Layer], view: View, options: PlotOptions) -> None:
    refuse_useless_colors(layers, options)
    west, south, east, north = view.bounds
    axes.set_axis_off()
    axes.set_facecolor("white")
    legend: dict[str, str] = {}
    for number, layer in enumerate(layers):
        if isinstance(layer, RasterLayer):
            cover = MASK_COVER if options.fill is None else options.fill
            axes.imshow(
                read_colors(layer, view), extent=(west, east, south, north), interpolation="nearest", aspect="auto",
                alpha=1.0 if number == 0 or layer.kind == "image" else cover,
            )  # fmt: skip
        else:
            legend |= draw_polygons(axes, layer, view, options)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.set_aspect(
        "auto"
        if axes.get_position().width == 1
        else view.height / view.width * (east - west) / (north - south)
    )
    add_surroundings(axes, view, legend, options, find_attribution(layers, options))


def draw_polygons(axes: Axes, layer: ShapeLayer, view: View, options: PlotOptions) -> Mapping[str, str]:
    """Draw the polygons of a layer that lie in the view; returns the entries they add to the legend."""
    frame = select_in_view(layer, view)
    if CHANGE in frame:
        colors = choose_change_colors(frame)
        draw_outlines(axes, frame, colors.each, TELLING_FILL if options.fill is None else options.fill, 1.2)
        return colors.named
    if layer.are_regions:
        draw_outlines(axes, frame, [REGION_COLOR] * len(frame), fill=0.0, width=1.6)
        return {}
    colors = choose_colors(frame, options.color_by)
    draw_outlines(axes, frame, colors.each, options.cover, 1.2)
    if colors.scale is not None:
        draw_scale(axes, colors.scale, colors.title)
    return colors.named


def select_in_view(layer: ShapeLayer, view: View) -> gpd.GeoDataFrame:
    """Polygons in the CRS of the view; those outside it are left out."""
    frame = layer.frame if layer.crs is None or view.crs is None else layer.frame.to_crs(view.crs)
    return frame[shapely.intersects(frame.geometry.array, shapely.box(*view.bounds))]


def draw_outlines(
    axes: Axes, frame: gpd.GeoDataFrame, colors: Sequence[Any], fill: float, width: float
) -> None:
    """All polygons as one artist, holes left open."""
    paths = [make_path(polygon) for polygon in frame.geometry]
    faces = [to_rgba(color, fill) for color in colors]
    shapes = PathCollection(paths, facecolors=faces, edgecolors=colors, joinstyle="round")
    shapes.set_linewidth(width * find_letter(axes) / 8)
    axes.add_collection(shapes)


def make_path(polygon: Any) -> Outline:
    rings = [
        ring
        for part in shapely.get_parts(polygon)
        for ring in (part.exterior, *part.interiors)
        if not ring.is_empty
    ]
    return Outline.make_compound_path(
        *(Outline(shapely.get_coordinates(ring), closed=True) for ring in rings)
    )


def choose_change_colors(frame: gpd.GeoDataFrame) -> Colors:
    """The colours that `geoseg compare` gives to what became of buildings; what does not occur is not in the legend."""
    colors = {fate: "#{:02x}{:02x}{:02x}".format(*entry.color) for fate, entry in COLORS.items()}
    occurring = [fate for fate in colors if (frame[CHANGE] == fate).any()]
    named = {COLORS[fate].label: colors[fate] for fate in occurring}
    return Colors([colors.get(fate, FOOTPRINT_COLOR) for fate in frame[CHANGE]], named)


def choose_colors(frame: gpd.GeoDataFrame, by: str) -> Colors:
    """The colour of each footprint by what it is to tell."""
    if by == "one":
        return Colors([FOOTPRINT_COLOR] * len(frame), {"buildings": FOOTPRINT_COLOR} if len(frame) else {})
    column = (find_area_column(frame) if by == "area" else None) or by
    if column not in frame.columns:
        raise InputError(
            f"`color_by` {by}: the footprints have no column {column}; they have {', '.join(frame.columns)}"
        )
    if by == "class":
        names = sorted(frame[column].dropna().unique())
        named = {str(name): CLASS_COLORS[i % len(CLASS_COLORS)] for i, name in enumerate(names)}
        return Colors([named.get(str(name), "#ffffff") for name in frame[column]], named)
    norm = LogNorm(*AREA_LIMITS_M2, clip=True) if by == "area" else Normalize(0.5, 1, clip=True)
    scale = ScalarMappable(norm, colormaps["plasma"])
    title = f"area ({AREA_UNITS[column]})" if by == "area" else "confidence"
    values = np.nan_to_num(frame[column].to_numpy(float), nan=norm.vmin or 0.0)
    return Colors(list(scale.to_rgba(values)), {}, scale, title)


def find_attribution(layers: Sequence[Layer], options: PlotOptions) -> str:
    if options.attribution is not None:
        return options.attribution
    return next((layer.attribution for layer in layers if isinstance(layer, RasterLayer)), "")


def add_surroundings(
    axes: Axes, view: View, legend: Mapping[str, str], options: PlotOptions, attribution: str
) -> None:
    """What is read rather than looked at: scale bar, north arrow, legend, title and attribution."""
    letter = find_letter(axes)
    draw_scale_bar(axes, view, letter)
    draw_north(axes, view, letter)
    if legend:
        entries = [
            Patch(facecolor=to_rgba(color, 0.4), edgecolor=color, label=name)
            for name, color in legend.items()
        ]
        axes.legend(handles=entries, loc="upper left", fontsize=letter, framealpha=0.85)
    if options.title:
        write_words(axes, 0.5, 0.985, options.title, letter * 1.5, ha="center", va="top")
    if attribution:
        write_words(axes, 0.995, 0.005, attribution, letter * 0.8, ha="right", va="bottom")


def find_letter(axes: Axes) -> float:
    """The size of letters in points that suits the width of the axes."""
    width = axes.get_window_extent().width / axes.figure.dpi * 72
    return float(max(5.0, width / LETTERS_ACROSS))


def write_words(axes: Axes, x: float, y: float, words: str, size: float, **place: Any) -> None:
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "boxstyle": "round,pad=0.3"}
    axes.text(x, y, words, transform=axes.transAxes, fontsize=size, bbox=box, **place)


def draw_scale_bar(axes: Axes, view: View, letter: float) -> None:
    across = view.metres_across
    if not across:
        return
    length = choose_bar_length(across, BAR_SHARE)
    units = length / across * (view.bounds[2] - view.bounds[0])
    bar = AnchoredSizeBar(
        axes.transData, units, format_length(length), "lower left", pad=0.5, borderpad=0.6, sep=4,
        size_vertical=(view.bounds[3] - view.bounds[1]) / view.height * letter * 0.35,
        fontproperties={"size": letter}, color="black",
    )  # fmt: skip
    bar.patch.set(alpha=0.85, edgecolor="none")
    axes.add_artist(bar)


def draw_north(axes: Axes, view: View, letter: float) -> None:
    """An arrow in the upper right corner that points to true north in the middle of the view."""
    direction = view.north
    if direction is None:
        return
    corner = OffsetFrom(axes, (1, 1), unit="points")
    foot = -4 * letter, -4 * letter
    tip = foot[0] + 3 * letter * cos(direction), foot[1] + 3 * letter * sin(direction)
    seen = [withStroke(linewidth=letter / 2, foreground="white")]
    axes.annotate(
        "N", xy=tip, xytext=foot, xycoords=corner, textcoords=corner, fontsize=letter, ha="center", va="center",
        arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": letter / 6, "path_effects": seen},
        bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "boxstyle": "circle,pad=0.3"},
    )  # fmt: skip


def draw_scale(axes: Axes, scale: ScalarMappable, title: str) -> None:
    """What colours mean, along the left edge."""
    letter = find_letter(axes)
    place = axes.inset_axes((0.02, 0.62, 0.012, 0.3))
    bar = axes.figure.colorbar(scale, cax=place)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label(title, fontsize=letter)
    bar.ax.tick_params(labelsize=letter * 0.8)
    for words in (*bar.ax.get_yticklabels(), bar.ax.yaxis.label):
        words.set_path_effects([withStroke(linewidth=letter / 3, foreground="white")])
