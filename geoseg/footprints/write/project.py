"""A QGIS project beside the footprints, so that everything opens at once: in order, styled, zoomed in."""

from __future__ import annotations

import os
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pyogrio
from pyproj import CRS, Transformer

from geoseg.errors import InputError, hide_secrets
from geoseg.footprints.write.geopackage import (
    BUILDINGS,
    CHANGES,
    REGIONS,
    get_change_path,
    get_region_path,
)
from geoseg.footprints.write.styles import make_image_style, make_mask_style, make_probability_style
from geoseg.io.atomic import Delivery, explain_write_errors, replace_files
from geoseg.io.layers import explain_read_errors, read_layer_facts
from geoseg.io.qml import STYLE_SUFFIX, find_raster_part, read_style
from geoseg.raster.grid import find_bounds
from geoseg.raster.source import is_picture, names_earth_crs, open_raster, read_crs

Box = tuple[float, float, float, float]
Finder = Callable[[Path], Path]
ROOM = 0.03
PROJECT_SUFFIXES = (".qgz",)
MADE_STYLES = {"Image": make_image_style, "Probability": make_probability_style, "Mask": make_mask_style}
FIRST_DAY_OF_ZIP = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class QgisProject:
    """What a project shows: footprints with their regions, and the rasters they came from.

    `placed`: they lie on Earth, and not only over each other, as those of a photograph do. `assumed_crs` is that of rasters
    which name none. Of several `images` that were read as one, the first lies above the others.
    """

    footprints: Path
    images: Sequence[str] = ()
    probability: str | None = None
    mask: str | None = None
    placed: bool = True
    assumed_crs: CRS | None = None


@dataclass(frozen=True)
class MapLayer:
    """One layer of a project."""

    name: str
    kind: str
    source: str
    crs: CRS | None
    bounds: Box | None
    style: str
    shown: bool = True
    geometry: str = "Polygon"

    @property
    def key(self) -> str:
        name = re.sub(r"\W+", "_", self.name.lower())
        return f"geoseg_layer_{name}"  # QGIS replaces a shorter one

    @property
    def provider(self) -> str:
        return "ogr" if self.kind == "vector" else "gdal"


def write_project(project: QgisProject, out: Path, delivery: Delivery | None = None) -> None:
    """Write a .qgz that finds its files beside it, wherever the folder is moved to; some may still be on delivery."""
    find = delivery.find if delivery else Path
    write_layers(out, list(list_map_layers(project, out.parent, find)), delivery)


def write_layers(
    out: Path, layers: Sequence[MapLayer], delivery: Delivery | None = None, further: str = ""
) -> None:
    """Write a .qgz of layers, the uppermost first; `further` are elements that stand beside them."""
    content = format_project(out.stem, layers, further)
    with (
        replace_files(out, delivery) as folder,
        explain_write_errors(out),
        zipfile.ZipFile(folder / out.name, "w") as archive,
    ):
        entry = zipfile.ZipInfo(f"{out.stem}.qgs", FIRST_DAY_OF_ZIP)
        archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


def list_map_layers(project: QgisProject, folder: Path, find: Finder = Path) -> Iterator[MapLayer]:
    """The layers of a project, the uppermost first; `find` tells where a file lies at the moment."""
    layers = list_placed_layers(project, folder, find)
    # A GeoJSON without a CRS passes for one in degrees.
    yield from layers if project.placed else (replace(layer, crs=None) for layer in layers)


def list_placed_layers(project: QgisProject, folder: Path, find: Finder) -> Iterator[MapLayer]:
    """The layers of a project with the CRS that their files name."""
    changes = get_change_path(project.footprints)
    if find(changes).exists() and CHANGES in list_layer_names(find(changes)):
        yield make_vector_layer("Changes", changes, CHANGES, folder, find)
    yield make_vector_layer("Buildings", project.footprints, BUILDINGS, folder, find)
    regions = get_region_path(project.footprints)
    if find(regions).exists() and REGIONS in list_layer_names(find(regions)):
        yield make_vector_layer("Regions", regions, REGIONS, folder, find)
    if project.mask:
        yield replace(make_raster_layer("Mask", project.mask, folder, find, project.assumed_crs), shown=False)
    if project.probability:
        yield replace(
            make_raster_layer("Probability", project.probability, folder, find, project.assumed_crs),
            shown=False,
        )
    yield from make_image_layers(project, folder, find)


def make_image_layers(project: QgisProject, folder: Path, find: Finder) -> Iterator[MapLayer]:
    """The images; several have numbers, their names, and the style of the first, so that no seam shows."""
    style = ""
    for number, image in enumerate(project.images, start=1):
        layer = make_raster_layer("Image", image, folder, find, project.assumed_crs, style)
        style = layer.style
        if len(project.images) > 1:
            layer = replace(layer, name=f"Image {number}: {Path(hide_secrets(image)).name}")
        yield layer


def list_layer_names(path: Path) -> list[str]:
    """The layers of a vector file; a file that holds one layer is called as we call it."""
    if path.suffix.lower() == ".gpkg":
        return [str(name) for name, _ in pyogrio.list_layers(path)]
    return [BUILDINGS, REGIONS, CHANGES]


def make_vector_layer(
    name: str, path: Path, table: str, folder: Path, find: Finder, geometry: str = "Polygon"
) -> MapLayer:
    """A layer with the style that was written for it."""
    in_geopackage, file = path.suffix.lower() == ".gpkg", find(path)
    with explain_read_errors(str(path)):
        info = read_layer_facts(file, table if in_geopackage else None)
    source = make_relative(path, folder) + (f"|layername={table}" if in_geopackage else "")
    bounds = tuple(info["total_bounds"]) if info["features"] else None
    style = read_stored_style(file, table) if in_geopackage else read_style(file.with_suffix(STYLE_SUFFIX))
    crs = info["crs"] and CRS.from_user_input(info["crs"])
    return MapLayer(name, "vector", source, crs, bounds, extract_content(style), geometry=geometry)


def make_raster_layer(
    name: str, raster: str, folder: Path, find: Finder, assumed_crs: CRS | None = None, style: str = ""
) -> MapLayer:
    """A raster with a given style, the one beside it, or a fitting one; one that is no local file goes by GDAL's name for it."""
    path, file = Path(raster), find(Path(raster))
    is_local = file.exists()
    with open_raster(str(file) if is_local else raster, raster) as dataset:
        source = make_relative(path, folder) if is_local else hide_secrets(dataset.files[0])
        beside = find_raster_part(read_style(file.with_suffix(STYLE_SUFFIX))) if is_local else ""
        style = style or beside or MADE_STYLES[name](dataset)
        if is_picture(dataset):
            return MapLayer(name, "raster", source, None, (0, -dataset.height, dataset.width, 0), style)
        is_told = assumed_crs is None or names_earth_crs(dataset)
        crs = read_crs(dataset, raster) if is_told else assumed_crs
        return MapLayer(name, "raster", source, crs, find_bounds(dataset.transform, *dataset.shape), style)


def make_relative(path: Path, folder: Path) -> str:
    """A file as seen from the project's folder; one on another drive of Windows by its whole path."""
    file, here = path.resolve(), folder.resolve()
    if file.drive != here.drive:
        return file.as_posix()
    way = Path(os.path.relpath(file, here)).as_posix()
    return way if way.startswith("..") else f"./{way}"


def read_stored_style(path: Path, table: str) -> str:
    """The default style of a layer in a GeoPackage; empty if there is none."""
    with explain_read_errors(str(path)), closing(sqlite3.connect(path)) as base:
        columns = {row[1] for row in base.execute("PRAGMA table_info(layer_styles)")}
        if not {"styleQML", "f_table_name", "useAsDefault"} <= columns:
            return ""
        query = "SELECT styleQML FROM layer_styles WHERE f_table_name = ? AND useAsDefault = 1"
        row = base.execute(query, [table]).fetchone()
    return str(row[0]) if row else ""


def extract_content(qml: str) -> str:
    """What stands inside the outermost element of a style."""
    match = re.search(r"<qgis\b[^>]*>(.*)</qgis>", qml, re.DOTALL)
    return match[1] if match else ""


def format_project(title: str, layers: Sequence[MapLayer], further: str = "") -> str:
    """The whole project file."""
    crs = layers[0].crs
    view = find_visible_box(layers, crs)
    tree = "".join(format_tree_entry(layer) for layer in layers)
    order = "".join(f'<layer id="{layer.key}"/>' for layer in layers)
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis projectname={quoteattr(title)} version="3.22.16">
  <title>{escape(title)}</title>
  <projectCrs>{format_crs(crs)}</projectCrs>
  <layer-tree-group>{tree}<custom-order enabled="0"/></layer-tree-group>
  <mapcanvas name="theMapCanvas" annotationsVisible="1">
    <units>{"unknown" if crs is None else "degrees" if crs.is_geographic else "meters"}</units>
    <extent>{format_extent(view)}</extent>
    <rotation>0</rotation>
    <destinationsrs>{format_crs(crs)}</destinationsrs>
  </mapcanvas>
  <projectlayers>{"".join(map(format_layer_entry, layers))}</projectlayers>
  <layerorder>{order}</layerorder>
  <properties>
    <Measure><Ellipsoid type="QString">EPSG:7030</Ellipsoid></Measure>
    <Measurement>
      <AreaUnits type="QString">m2</AreaUnits><DistanceUnits type="QString">meters</DistanceUnits>
    </Measurement>
    <Paths><Absolute type="bool">false</Absolute></Paths>
    <SpatialRefSys><ProjectionsEnabled type="int">1</ProjectionsEnabled></SpatialRefSys>
  </properties>
  <ProjectViewSettings UseProjectScales="0"><Scales/>
    <DefaultViewExtent {format_extent_attributes(view)}>{format_crs(crs)}</DefaultViewExtent>
  </ProjectViewSettings>
{further}</qgis>
"""


def find_visible_box(layers: Sequence[MapLayer], crs: CRS | None) -> Box:
    """What to zoom to: the footprints, else the first layer that lies anywhere, with some room around."""
    layer = next((layer for layer in layers if layer.bounds is not None), None)
    if layer is None or layer.bounds is None:
        raise InputError("a project needs footprints or a raster to zoom to")
    left, bottom, right, top = layer.bounds
    if layer.crs and crs:
        change = Transformer.from_crs(layer.crs, crs, always_xy=True)
        left, bottom, right, top = change.transform_bounds(*layer.bounds)
    room = ROOM * max(right - left, top - bottom)
    return left - room, bottom - room, right + room, top + room


def format_tree_entry(layer: MapLayer) -> str:
    """A layer's line in the list of layers."""
    state = "Qt::Checked" if layer.shown else "Qt::Unchecked"
    return (
        f'<layer-tree-layer id="{layer.key}" name={quoteattr(layer.name)} checked="{state}" '
        f'expanded="{int(layer.kind == "vector")}" providerKey="{layer.provider}" source={quoteattr(layer.source)}>'
        "<customproperties/></layer-tree-layer>"
    )


def format_layer_entry(layer: MapLayer) -> str:
    """A layer itself, its style pasted in: a project does not look for the style inside a GeoPackage."""
    geometry = f' geometry="{layer.geometry}" wkbType="{layer.geometry}"' if layer.kind == "vector" else ""
    return (
        f'<maplayer type="{layer.kind}"{geometry} autoRefreshEnabled="0" refreshOnNotifyEnabled="0">'
        f"<id>{layer.key}</id><datasource>{escape(layer.source)}</datasource>"
        f"<layername>{escape(layer.name)}</layername><srs>{format_crs(layer.crs)}</srs>"
        f"<provider>{layer.provider}</provider>{layer.style}</maplayer>\n"
    )


def format_crs(crs: CRS | None) -> str:
    """A CRS as QGIS writes it; it looks at the code only where srsid, its own number, is above zero."""
    if crs is None:
        return (
            '<spatialrefsys nativeFormat="Wkt"><wkt></wkt><srsid>0</srsid><authid></authid></spatialrefsys>'
        )
    authority = crs.to_authority()
    known = f"<srsid>1</srsid><authid>{':'.join(authority)}</authid>" if authority else "<srsid>0</srsid>"
    return (
        '<spatialrefsys nativeFormat="Wkt">'
        f"<wkt>{escape(crs.to_wkt())}</wkt>{known}"
        f"<description>{escape(crs.name)}</description>"
        f"<geographicflag>{'true' if crs.is_geographic else 'false'}</geographicflag></spatialrefsys>"
    )


def format_extent(box: Box) -> str:
    """A box as elements."""
    names = ("xmin", "ymin", "xmax", "ymax")
    return "".join(f"<{name}>{value!r}</{name}>" for name, value in zip(names, map(float, box), strict=True))


def format_extent_attributes(box: Box) -> str:
    """A box as attributes."""
    names = ("xmin", "ymin", "xmax", "ymax")
    return " ".join(f'{name}="{value!r}"' for name, value in zip(names, map(float, box), strict=True))
