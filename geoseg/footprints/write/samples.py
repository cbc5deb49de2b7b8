"""Sample points and squares as a GeoPackage that QGIS opens with a form, and a project that leads from place to place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import geopandas as gpd
import pandas as pd
import pyogrio

from geoseg.footprints.measure import get_metres_per_unit
from geoseg.footprints.write.formats import check_arrived, check_index, set_gdal_options
from geoseg.footprints.write.geopackage import BUILDINGS, write_qgis_tables
from geoseg.footprints.write.project import (
    Finder,
    MapLayer,
    make_raster_layer,
    make_vector_layer,
    write_layers,
)
from geoseg.footprints.write.spool import Column
from geoseg.footprints.write.styles import BUILDING, CLASS_COLORS, Color, format_layer_content, format_rgb
from geoseg.io.atomic import Delivery, replace_file

POINTS, SQUARES, MARKS = "points", "squares", "marks"
NOT_BUILDING, UNSURE = "not", "unsure"

POINT_COLUMNS = (
    Column(
        "id", "integer", "Number", "The points stand in random order: the first hundred are a sample, too."
    ),
    Column("answer", "text", "What is there?", "The class seen at the point, `not`, `unsure`, or empty."),
    Column("remark", "text", "Remark", "Anything worth noting."),
    Column("stratum", "text", "Stratum", "The part of the map that the point stands for."),
    Column("mapped", "text", "Mapped as", "What the map says there; not shown, so that it leads nobody."),
    Column("probability", "real", "Probability", "The model's, that it is built there."),
    Column("stratum_m2", "real", "Stratum's area (m²)", "True area of the stratum."),
    Column("stratum_points", "integer", "Stratum's points", "Points drawn in the stratum."),
    Column("chance", "real", "Chance", "The chance that a pixel of the stratum had of being drawn."),
    Column("longitude", "real", "Longitude", "Where the point was drawn, in degrees (WGS 84)."),
    Column("latitude", "real", "Latitude", "Where the point was drawn, in degrees (WGS 84)."),
    Column("map", "text", "Map", "A digest of the footprints that the points were drawn from."),
)
SQUARE_COLUMNS = (
    Column("id", "integer", "Number", "The squares stand in random order."),
    Column("done", "yes/no", "All buildings marked", "Tick it when every building of the square is marked."),
    Column("remark", "text", "Remark", "Anything worth noting."),
    Column("stratum", "text", "Stratum", "Whether the map has footprints in the square."),
    Column("mapped", "integer", "Footprints", "Footprints whose representative point lies in the square."),
    Column("stratum_squares", "integer", "Stratum's squares", "Squares there are in the stratum."),
    Column("left", "real", "Left", "Western edge, in the CRS of the layer."),
    Column("bottom", "real", "Bottom", "Southern edge, in the CRS of the layer."),
    Column("map", "text", "Map", "A digest of the footprints that the squares were drawn over."),
)
MARK_COLUMNS = (Column("remark", "text", "Remark", "Anything worth noting."),)
SHOWN = {POINTS: ("id", "answer", "remark"), SQUARES: ("id", "done", "remark"), MARKS: ("remark",)}
"""What the form shows; the rest is there for the estimate, and would lead whoever answers."""
CHANGED = ("answer", "done", "remark")
GEOMETRIES = {POINTS: "Point", SQUARES: "Polygon", MARKS: "Point"}
TITLES = {POINTS: "Sample points", SQUARES: "Sample squares", MARKS: "Buildings marked in the squares"}
COLUMNS = {POINTS: POINT_COLUMNS, SQUARES: SQUARE_COLUMNS, MARKS: MARK_COLUMNS}
TO_DO: Color = (255, 255, 0)
CLEAR: Color = (0, 158, 115)
DOUBT: Color = (150, 150, 150)
DONE = {SQUARES: 'coalesce("done", false)', POINTS: "coalesce(\"answer\", '') <> ''"}
STILL_TO_DO = {SQUARES: '"done" IS NULL OR "done" = 0', POINTS: '"answer" IS NULL OR "answer" = \'\''}


def write_sample_layers(
    path: Path, layers: dict[str, gpd.GeoDataFrame], classes: Sequence[str], delivery: Delivery | None = None
) -> None:
    """Write points, squares and marks as layers of one GeoPackage, each with the form in which it is filled in."""
    with replace_file(path, delivery) as unfinished, set_gdal_options():
        for table, frame in layers.items():
            pyogrio.write_dataframe(
                frame,
                unfinished,
                layer=table,
                driver="GPKG",
                geometry_type=GEOMETRIES[table],
                append=unfinished.exists(),
                layer_options={"IDENTIFIER": TITLES[table], "GEOMETRY_NAME": "geom"},
                **({} if unfinished.exists() else {"dataset_options": {"VERSION": "1.2"}}),
            )
        for table, frame in layers.items():
            check_arrived(unfinished, table, len(frame))
            check_index(unfinished, table)
            write_qgis_tables(unfinished, table, make_sample_style(table, classes), COLUMNS[table])


def write_point_table(path: Path, points: pd.DataFrame, delivery: Delivery | None = None) -> None:
    """Write points as a table for other tools: longitude and latitude say where they are."""
    with replace_file(path, delivery) as unfinished:
        points.drop(columns="geometry", errors="ignore").to_csv(unfinished, index=False, lineterminator="\n")


def make_sample_style(table: str, classes: Sequence[str]) -> str:
    """A whole QML document: colours by what is done, and the form."""
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22.16" styleCategories="Symbology|Labeling|Fields|Forms|Actions|MapTips|Rendering" '
        f'hasScaleBasedVisibilityFlag="0">\n{format_sample_content(table, classes)}</qgis>\n'
    )


def format_sample_content(table: str, classes: Sequence[str]) -> str:
    """What stands inside the outermost element."""
    content = format_layer_content(RENDERERS[table](classes), COLUMNS[table], LABELS[table], "")
    return content + format_form(table, classes) + (format_action(table) if table in DONE else "")


def render_points(classes: Sequence[str]) -> str:
    """Points by their answer; those without one shine."""
    known = [*classes, NOT_BUILDING, UNSURE]
    names = [(f"\"answer\" = '{quote_text(name)}'", describe_answer(name)) for name in known]
    colors = [*choose_answer_colors(classes), CLEAR, DOUBT]
    return format_rules([*names, ("ELSE", "still to do")], [*colors, TO_DO], "marker")


def render_squares(classes: Sequence[str]) -> str:
    """Squares by whether they are done."""
    del classes
    return format_rules([(DONE[SQUARES], "done"), ("ELSE", "still to do")], [CLEAR, TO_DO], "fill")


def render_marks(classes: Sequence[str]) -> str:
    """Every mark as a dot."""
    del classes
    return format_rules([("ELSE", "building")], [BUILDING], "marker")


RENDERERS = {POINTS: render_points, SQUARES: render_squares, MARKS: render_marks}
LABELS = {POINTS: "'Point ' || \"id\"", SQUARES: "'Square ' || \"id\"", MARKS: "'Building'"}


def choose_answer_colors(classes: Sequence[str]) -> list[Color]:
    """A building is red as elsewhere; of several classes each has its own colour."""
    if len(classes) == 1:
        return [BUILDING]
    return [CLASS_COLORS[index % len(CLASS_COLORS)] for index in range(len(classes))]


def describe_answer(answer: str) -> str:
    """An answer as the form offers it."""
    words = {NOT_BUILDING: "Not a building", UNSURE: "Cannot tell"}
    return words.get(answer, answer[:1].upper() + answer[1:])


def quote_text(text: str) -> str:
    return text.replace("'", "''")


def format_rules(rules: Sequence[tuple[str, str]], colors: Sequence[Color], kind: str) -> str:
    """A colour for each rule: an expression and its words."""
    written = "".join(
        f'      <rule key="{index}" symbol="{index}" label={quoteattr(label)} filter={quoteattr(expression)}/>\n'
        for index, (expression, label) in enumerate(rules)
    )
    symbols = "".join(format_symbol(index, color, kind) for index, color in enumerate(colors))
    return (
        '  <renderer-v2 type="RuleRenderer" symbollevels="0" enableorderby="0">\n'
        f'    <rules key="all">\n{written}    </rules>\n    <symbols>\n{symbols}    </symbols>\n  </renderer-v2>\n'
    )


def format_symbol(index: int, color: Color, kind: str) -> str:
    """A ring around a point, or the outline of a square: what lies below must be seen."""
    options = {
        "marker": {"name": "circle", "color": "0,0,0,0", "outline_color": f"{format_rgb(color)},255",
                   "outline_width": "0.6", "outline_style": "solid", "size": "5", "size_unit": "MM"},
        "fill": {"style": "no", "outline_color": f"{format_rgb(color)},255", "outline_width": "0.8",
                 "outline_style": "solid", "outline_width_unit": "MM"},
    }[kind]  # fmt: skip
    layer = {"marker": "SimpleMarker", "fill": "SimpleFill"}[kind]
    listed = "".join(f'<Option type="QString" name="{k}" value="{v}"/>' for k, v in options.items())
    old = "".join(f'<prop k="{k}" v="{v}"/>' for k, v in options.items())
    return (
        f'      <symbol name="{index}" type="{kind}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="{layer}" enabled="1" locked="0" pass="0"><Option type="Map">{listed}</Option>{old}</layer></symbol>\n'
    )


def format_form(table: str, classes: Sequence[str]) -> str:
    """The form: what is to be filled in, as a choice, a tick or a line of text; the rest hidden and left alone."""
    columns = COLUMNS[table]
    widgets = "".join(
        f'    <field name="{column.name}" configurationFlags="None"><editWidget type={quoteattr(kind)}><config>{config}'
        "</config></editWidget></field>\n"
        for column in columns
        for kind, config in [choose_widget(column.name, table, classes)]
    )
    shown = [column for column in columns if column.name in SHOWN[table]]
    fields = "".join(
        f'      <attributeEditorField name="{column.name}" index="-1" showLabel="1"/>\n' for column in shown
    )
    editable = "".join(
        f'    <field name="{column.name}" editable="{int(column.name in CHANGED)}"/>\n' for column in columns
    )
    return (
        f"  <fieldConfiguration>\n{widgets}  </fieldConfiguration>\n"
        "  <editorlayout>tablayout</editorlayout>\n"
        f"  <attributeEditorForm>\n{fields}  </attributeEditorForm>\n  <editable>\n{editable}  </editable>\n"
    )


def choose_widget(name: str, table: str, classes: Sequence[str]) -> tuple[str, str]:
    """The widget of a column, and how it is set."""
    if name not in SHOWN[table]:
        return "Hidden", "<Option/>"
    if name == "answer":
        answers = ["", *classes, NOT_BUILDING, UNSURE]
        listed = "".join(
            f'<Option type="Map"><Option name={quoteattr(describe_answer(each) or "(still to do)")} type="QString" '
            f"value={quoteattr(each)}/></Option>"
            for each in answers
        )
        return "ValueMap", f'<Option type="Map"><Option name="map" type="List">{listed}</Option></Option>'
    if name == "done":
        return (
            "CheckBox",
            '<Option type="Map"><Option name="CheckedState" type="QString" value="1"/></Option>',
        )
    return "TextEdit", '<Option type="Map"><Option name="IsMultiline" type="bool" value="false"/></Option>'


ZOOM_M = {POINTS: 60.0, SQUARES: 0.0}
"""How wide the view is around a point: a house and its neighbours. Around a square it is the square itself."""

ZOOMS = {POINTS: "canvas.zoomScale(500)", SQUARES: "canvas.zoomByFactor(1.3)"}
NEXT_PLACE = """from qgis.core import QgsProject, QgsFeatureRequest, QgsCoordinateTransform
from qgis.utils import iface
layer = QgsProject.instance().mapLayer('[% @layer_id %]')
request = QgsFeatureRequest().setFilterExpression('NOT ({done})').addOrderBy('id').setLimit(1)
for feature in layer.getFeatures(request):
    canvas = iface.mapCanvas()
    box = QgsCoordinateTransform(layer.crs(), canvas.mapSettings().destinationCrs(), QgsProject.instance())
    canvas.setExtent(box.transformBoundingBox(feature.geometry().boundingBox()))
    {zoom}
    layer.selectByIds([feature.id()])
    iface.openFeatureForm(layer, feature, False, False)
    canvas.refresh()
"""


def format_action(table: str) -> str:
    """An action of the layer that goes to the next place without an answer and opens its form."""
    code = NEXT_PLACE.format(done=DONE[table].replace("'", "\\'"), zoom=ZOOMS[table])
    return (
        '  <attributeactions>\n    <actionsetting type="1" id="{00000000-0000-4000-8000-000000000001}" '
        f'name="Next to do" shortTitle="Next to do" notificationMessage="" capture="0" icon="" isEnabledOnlyWhenEditable="0" '
        f"action={quote_attribute(code)}>"
        '<actionScope id="Canvas"/><actionScope id="Feature"/><actionScope id="Layer"/></actionsetting>\n'
        "  </attributeactions>\n"
    )


def quote_attribute(text: str) -> str:
    """Text of several lines as the value of an attribute: a plain newline would become a space."""
    return quoteattr(text, {"\n": "&#xa;"})


@dataclass(frozen=True)
class SampleProject:
    """What a project of a sample shows: its file, the footprints it was drawn from, the image below."""

    sample: Path
    footprints: Path
    image: str | None = None
    layer: str = BUILDINGS
    """The layer of the footprints, where their file is a GeoPackage."""


def write_sample_project(
    project: SampleProject, out: Path, layers: dict[str, gpd.GeoDataFrame], delivery: Delivery | None = None
) -> None:
    """Write a .qgz: what is still to do on top, the image below, a bookmark for each place; footprints are there, but hidden."""
    find = delivery.find if delivery else Path
    shown = list(list_sample_layers(project, out.parent, list(layers), find))
    write_layers(out, shown, delivery, format_bookmarks(layers))


def list_sample_layers(
    project: SampleProject, folder: Path, tables: Sequence[str], find: Finder
) -> Iterator[MapLayer]:
    """The layers of the project, the uppermost first."""
    for table in tables:
        layer = make_vector_layer(TITLES[table], project.sample, table, folder, find, GEOMETRIES[table])
        if table in STILL_TO_DO:
            source = f"{layer.source}|subset={STILL_TO_DO[table]}"
            yield replace(layer, name=f"{TITLES[table]}, still to do", source=source)
        yield replace(layer, shown=table not in STILL_TO_DO)
    footprints = make_vector_layer("Buildings", project.footprints, project.layer, folder, find)
    yield replace(footprints, shown=False)  # seen first, the map would lead whoever answers
    if project.image:
        yield make_raster_layer("Image", project.image, folder, find)


def format_bookmarks(layers: dict[str, gpd.GeoDataFrame]) -> str:
    """A bookmark for each point and square, so that a click goes there."""
    entries = [
        format_bookmark(table, int(number), box, frame.crs.to_wkt())
        for table, frame in layers.items()
        if table in ZOOM_M
        for number, box in zip(frame["id"], find_views(frame, ZOOM_M[table]), strict=True)
    ]
    return f"  <Bookmarks>{''.join(entries)}</Bookmarks>\n"


def find_views(frame: gpd.GeoDataFrame, width_m: float) -> list[tuple[float, float, float, float]]:
    """The box (left, bottom, right, top) around each place, in the layer's CRS."""
    bounds = frame.geometry.bounds.to_numpy()
    room = width_m / 2 / get_metres_per_unit(frame.crs)
    return [(left - room, low - room, right + room, up + room) for left, low, right, up in bounds]


def format_bookmark(table: str, number: int, box: tuple[float, float, float, float], crs: str) -> str:
    left, bottom, right, top = map(float, box)
    ring = f"(({left!r} {bottom!r}, {right!r} {bottom!r}, {right!r} {top!r}, {left!r} {top!r}, {left!r} {bottom!r}))"
    return (
        f'<Bookmark id="{table}-{number}" name="{number:04}" group="{TITLES[table]}" extent="Polygon {ring}">'
        f'<spatialrefsys nativeFormat="Wkt"><wkt>{escape(crs)}</wkt></spatialrefsys></Bookmark>'
    )
