"""Comparisons as layers that QGIS draws: a colour for what became of each building, and regions by how much changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import geopandas as gpd
from pyproj import CRS

from geoseg.comparison.groups import FATES
from geoseg.footprints.vector_files import GdalFile, open_vector_file
from geoseg.footprints.write.formats import VectorLayer, write_layer
from geoseg.footprints.write.geopackage import (
    CHANGES,
    REGION_CHANGES,
    copy_other_layers,
    is_geopackage,
    write_style,
)
from geoseg.footprints.write.project import Finder, MapLayer, make_vector_layer
from geoseg.footprints.write.spool import Column, Spool
from geoseg.footprints.write.styles import (
    BORDER,
    WALL,
    Category,
    format_categories,
    format_graduated,
    format_style,
    make_share_legend,
)
from geoseg.io.addresses import parse_layer_path
from geoseg.io.atomic import Delivery, explain_write_errors, replace_files

SHOWN_SUFFIXES = (".gpkg", ".fgb", ".geojson", ".shp")
COLORS: Mapping[str, Category] = {
    "same": Category("same in both", (189, 189, 189)),
    "changed": Category("changed", (230, 159, 0)),
    "only_a": Category("only in A: gone, or missed in B", (213, 94, 0)),
    "only_b": Category("only in B: new, or missed in A", (0, 114, 178)),
    "split": Category("split: one in A, several in B", (204, 121, 167)),
    "merged": Category("merged: several in A, one in B", (0, 158, 115)),
}
CHANGE_COLUMNS = (
    Column("number", "integer", "Number", "Number of the row."),
    Column("change", "text", "Change", f"What became of it: {', '.join(FATES)}."),
    Column("overlap", "real", "Overlap", "Intersection over union of what A and B have there, 0 to 1."),
    Column("area_a_m2", "real", "Area in A (m²)", "True area in A, courtyards left out."),
    Column("area_b_m2", "real", "Area in B (m²)", "True area in B, courtyards left out."),
    Column("gained_m2", "real", "Gained (m²)", "Built in B and not in A; 0 where it is the same building."),
    Column("lost_m2", "real", "Lost (m²)", "Built in A and not in B; 0 where it is the same building."),
    Column("count_a", "integer", "Footprints in A", "How many footprints of A it is."),
    Column("count_b", "integer", "Footprints in B", "How many footprints of B it is."),
    Column("id_a", "text", "Number in A", "What A calls it: its id, or the number of its row."),
    Column("id_b", "text", "Number in B", "What B calls it: its id, or the number of its row."),
    Column("class_a", "text", "Class in A", "What it is in A, where A tells."),
    Column("class_b", "text", "Class in B", "What it is in B, where B tells."),
    Column("date_a", "text", "Date of A", "When A's image was taken, where A tells."),
    Column("date_b", "text", "Date of B", "When B's image was taken, where B tells."),
    Column("region", "text", "Region", "The region its representative point lies in."),
)
CHANGE_REGION_COLUMNS = (
    Column("region", "text", "Region", "The region's name."),
    Column("same", "integer", "Same", "Buildings that are the same in both."),
    Column("changed", "integer", "Changed", "Buildings whose outlines overlap too little to be the same."),
    Column("only_a", "integer", "Only in A", "Buildings that only A has."),
    Column("only_b", "integer", "Only in B", "Buildings that only B has."),
    Column("split", "integer", "Split", "Buildings of A that are several in B."),
    Column("merged", "integer", "Merged", "Buildings of B that are several in A."),
    Column("area_a_m2", "real", "Built area in A (m²)", "Footprints of A, divided at the border."),
    Column("area_b_m2", "real", "Built area in B (m²)", "Footprints of B, divided at the border."),
    Column("gained_m2", "real", "Gained (m²)", "Built in B and not in A."),
    Column("lost_m2", "real", "Lost (m²)", "Built in A and not in B."),
    Column(
        "changed_share",
        "real",
        "Changed share",
        "Gained and lost area, of all that is built in A or B.",
        "share",
    ),
    Column("region_area_m2", "real", "Region's area (m²)", "True area of the whole region.", "region_m2"),
)
CHANGE_TIP = """<b>[% "change" %]</b>, overlap [% format_number(100 * "overlap", 0) %] %<br>\
A [% format_number("area_a_m2", 0) %] m², B [% format_number("area_b_m2", 0) %] m²"""
REGION_TIP = """<b>[% "region" %]</b>: [% "only_b" %] new, [% "only_a" %] gone, [% "changed" %] changed<br>\
gained [% format_number("gained_m2", 0) %] m², lost [% format_number("lost_m2", 0) %] m²"""


class ChangeWriter:
    """Takes the rows of a comparison and makes the layer `changes` of a file, and a layer of regions where there are any.

    Other layers of a GeoPackage stay; a file of another format holds one layer, and the regions go into a file beside it.
    """

    def __init__(self, out: Path, delivery: Delivery) -> None:
        self.out = out
        self.delivery = delivery

    def write(
        self, rows: Iterator[gpd.GeoDataFrame], crs: CRS, description: str,
        make_regions: Callable[[], gpd.GeoDataFrame] | None,
    ) -> None:  # fmt: skip
        """Write every row; the regions are asked for after the last one."""
        with replace_files(self.out, self.delivery) as folder, explain_write_errors(self.out):
            scratch, file = folder / "spool", folder / self.out.name
            scratch.mkdir()
            before = self.delivery.find(self.out)
            if is_geopackage(before):
                copy_other_layers(before, file, {CHANGES, REGION_CHANGES})
            layer = VectorLayer(CHANGES, "Changes", description, crs)
            write_frames(rows, CHANGE_COLUMNS, scratch / CHANGES, file, layer)
            write_style(file, CHANGES, make_change_style(), CHANGE_COLUMNS)
            if make_regions:
                table = make_regions()
                layer = VectorLayer(REGION_CHANGES, "Changes by region", description, table.crs)
                beside = get_region_path(file)
                write_frames(iter([table]), CHANGE_REGION_COLUMNS, scratch / REGION_CHANGES, beside, layer)
                write_style(beside, REGION_CHANGES, make_change_region_style(), CHANGE_REGION_COLUMNS)


def write_frames(
    frames: Iterator[gpd.GeoDataFrame],
    columns: tuple[Column, ...],
    scratch: Path,
    file: Path,
    layer: VectorLayer,
) -> None:
    """Write frames, one after the other, as one layer."""
    with Spool(scratch, columns) as spool:
        for frame in frames:
            spool.append(frame)
        spool.finish()
        write_layer(spool, file, layer)


def get_region_path(out: Path) -> Path:
    """Where the regions of a comparison go: into the same GeoPackage, else into a file beside it."""
    return out if out.suffix.lower() == ".gpkg" else out.with_name(f"{out.stem}_by_region{out.suffix}")


def make_change_style() -> str:
    """Changes by what became of each building."""
    return format_style(
        format_categories("change", COLORS, WALL, 0.7), CHANGE_COLUMNS, '"change"', CHANGE_TIP
    )


def make_change_region_style() -> str:
    """Regions by the share of what is built that changed."""
    renderer = format_graduated("changed_share", make_share_legend(), BORDER, 0.4)
    return format_style(renderer, CHANGE_REGION_COLUMNS, '"region"', REGION_TIP)


def list_change_layers(out: Path, has_regions: bool, folder: Path, find: Finder) -> Iterator[MapLayer]:
    """The layers of a comparison for a project, the uppermost first."""
    yield make_vector_layer("Changes", out, CHANGES, folder, find)
    if has_regions:
        yield make_vector_layer("Changes by region", get_region_path(out), REGION_CHANGES, folder, find)


def list_compared_layers(name: str, source: str, folder: Path) -> Iterator[MapLayer]:
    """A layer that was compared, where QGIS and GDAL know its format."""
    path, _ = parse_layer_path(source)
    if path.suffix.lower() in SHOWN_SUFFIXES:
        file = open_vector_file(Path(source))
        table = file.layer if isinstance(file, GdalFile) and file.layer else ""
        yield make_vector_layer(name, path, table, folder, Path)
