"""What a real QGIS makes of the files; skipped where there is none.

On Debian and Ubuntu: apt-get install --no-install-recommends python3-qgis
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from layers import GRID, LONLAT, UTM33, footprints, scattered, write, write_raster
from PIL import Image
from pyproj import CRS
from qgis_python import ask_qgis, is_qgis_there

from geoseg.footprints.measure import AreaCrs
from geoseg.footprints.write.geopackage import add_region_layer
from geoseg.footprints.write.project import QgisProject, write_project
from geoseg.footprints.write.spool import FOOTPRINT_COLUMNS, REGION_COLUMNS
from geoseg.regions.polygons import read_regions
from geoseg.regions.statistics import RegionStatistics
from geoseg.workflows.compare import compare_footprints
from geoseg.workflows.options import CompareOptions

PROBE = Path(__file__).parents[2] / "support" / "qgis_probe.py"
SIZES = [
    "small: under 50 m²",
    "house: 50 to 200 m²",
    "large: 200 to 1,000 m²",
    "very large: 1,000 m² or more",
]


pytestmark = pytest.mark.skipif(not is_qgis_there(), reason="no QGIS here (Debian: python3-qgis)")


def seen(footprints: Path, *tables: str, project: str = "", picture: str = "") -> dict[str, Any]:
    run = ask_qgis([str(PROBE), str(footprints), project, picture, *tables])
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def with_regions(path: Path, classes: tuple[str, ...] = ("building",), crs: CRS = UTM33) -> Path:
    polygons = scattered()
    polygons[::7] = shapely.difference(polygons[::7], shapely.buffer(shapely.centroid(polygons[::7]), 1.5))
    frame = footprints(polygons, classes=classes).to_crs(crs)
    write(path, frame, classes=classes, description="Areas in square metres.")
    statistics = RegionStatistics(
        read_regions("grid:200m", GRID), AreaCrs.choose(GRID), dict(enumerate(classes, start=1)), GRID
    )
    statistics.add_footprints(frame)
    add_region_layer(path, statistics.table())
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return seen(with_regions(tmp_path_factory.mktemp("plain") / "out.gpkg"), "buildings", "regions")


@pytest.mark.parametrize(("table", "features"), [("buildings", 200), ("regions", 12)])
def test_layers_are_valid_titled_and_indexed(plain: dict[str, Any], table: str, features: int) -> None:
    layer = plain[table]
    assert (layer["valid"], layer["indexed"], layer["crs"], layer["features"]) == (
        True,
        True,
        "EPSG:32633",
        features,
    )
    assert layer["title"] == {"buildings": "Building footprints", "regions": "Regions"}[table]
    assert layer["abstract"].startswith("Areas in square metres")


def test_the_style_is_there_at_once(plain: dict[str, Any]) -> None:
    assert (plain["buildings"]["renderer"], plain["buildings"]["legend"]) == ("graduatedSymbol", SIZES)
    assert (plain["regions"]["renderer"], plain["regions"]["legend"][0]) == ("graduatedSymbol", "0% to 2%")
    assert plain["buildings"]["display"] == '"class" || \' \' || "id"'
    assert '[% "class" %]' in plain["buildings"]["tip"]
    assert '[% "region" %]' in plain["regions"]["tip"]


@pytest.mark.parametrize(
    ("table", "columns"), [("buildings", FOOTPRINT_COLUMNS), ("regions", REGION_COLUMNS)]
)
def test_fields_show_their_names_for_people(plain: dict[str, Any], table: str, columns: Any) -> None:
    aliases = plain[table]["aliases"]
    assert {name: alias for name, alias in aliases.items() if name != "fid"} == {
        column.name: column.alias for column in columns if column.name in aliases
    }


def test_areas_are_those_that_qgis_measures(plain: dict[str, Any], tmp_path: Path) -> None:
    assert np.array(plain["buildings"]["ratios"]) == pytest.approx(1, abs=1e-6)
    mercator = seen(with_regions(tmp_path / "out.gpkg", crs=CRS.from_epsg(3857)), "buildings")
    assert np.array(mercator["buildings"]["ratios"]) == pytest.approx(1, abs=1e-6)


def test_several_classes_have_a_legend_each(tmp_path: Path) -> None:
    classes = ("residential", "other 'mixed'")
    found = seen(with_regions(tmp_path / "out.gpkg", classes), "buildings", "regions")
    assert (found["buildings"]["renderer"], found["buildings"]["legend"]) == (
        "categorizedSymbol",
        list(classes),
    )
    assert found["regions"]["renderer"] == "RuleRenderer"
    assert [words for words in found["regions"]["legend"] if "%" not in words] == list(classes)


@pytest.mark.parametrize(
    ("suffix", "crs"),
    [
        ("gpkg", UTM33),
        ("gpkg", LONLAT),
        ("gpkg", CRS("+proj=laea +lat_0=49 +lon_0=12 +datum=WGS84")),
        ("fgb", UTM33),
    ],
    ids=str,
)
def test_the_project_opens_in_order_styled_and_zoomed_in(tmp_path: Path, suffix: str, crs: CRS) -> None:
    path = with_regions(tmp_path / f"out.{suffix}", crs=crs)
    picture = tmp_path / "picture.png"
    green = np.stack([np.full(GRID.shape, value, np.uint16) for value in (300, 9000, 300)])
    green[:, ::2] += 50
    mask = (np.arange(GRID.height)[:, None] + np.arange(GRID.width) > 700).astype(np.uint8)
    rasters = {
        "images": [write_raster(tmp_path / "image.tif", green)],
        "probability": write_raster(tmp_path / "p.tif", mask * np.uint8(200), scale=0.004),
        "mask": write_raster(tmp_path / "mask.tif", mask),
    }
    write_project(QgisProject(path, **rasters), tmp_path / "out.qgz")
    project = seen(path, project=str(tmp_path / "out.qgz"), picture=str(picture))["project"]
    assert project["read"]
    assert project["crs"] == ((crs.to_authority() and ":".join(crs.to_authority())) or "")
    assert [(layer["name"], layer["shown"]) for layer in project["layers"]] == [
        ("Buildings", True),
        ("Regions", True),
        ("Mask", False),
        ("Probability", False),
        ("Image", True),
    ]
    assert all(layer["valid"] for layer in project["layers"])
    assert [layer["renderer"] for layer in project["layers"]] == [
        "graduatedSymbol",
        "graduatedSymbol",
        "paletted",
        "singlebandpseudocolor",
        "multibandcolor",
    ]
    left, bottom, right, top = footprints(scattered()).to_crs(crs).total_bounds
    assert project["extent"][0] < left < right < project["extent"][2]
    assert right - left > 0.9 * (project["extent"][2] - project["extent"][0])
    assert project["extent"][1] < bottom < top < project["extent"][3]
    colors = {
        tuple(int(part) for part in color) for _, color in Image.open(picture).convert("RGB").getcolors(10**6)
    }
    assert any(red > 200 and blue < 100 for red, _, blue in colors), "no building was drawn"
    assert len(colors) > 20


def test_a_folder_may_be_moved(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    path = with_regions(before / "out.gpkg")
    write_project(QgisProject(path), before / "out.qgz")
    before.rename(tmp_path / "after")
    found = seen(
        tmp_path / "after" / "out.gpkg", project=str(tmp_path / "after" / "out.qgz"), picture="/dev/null"
    )
    assert all(layer["valid"] for layer in found["project"]["layers"])


def test_changes_of_two_layers_open_with_their_styles(tmp_path: Path) -> None:
    shapes = scattered()
    gone, new, larger = (
        shapes[:5],
        shapely.transform(shapes[5:10], move_aside),
        shapely.buffer(shapes[10:15], 4),
    )
    write(tmp_path / "a.gpkg", footprints(np.concatenate([gone, shapes[10:]])))
    write(tmp_path / "b.gpkg", footprints(np.concatenate([new, larger, shapes[15:]])))
    out, project, picture = (tmp_path / name for name in ("changes.gpkg", "changes.qgz", "picture.png"))
    options = CompareOptions(regions="grid:200m", qgis_project=project, same_iou=0.8)
    result = compare_footprints(str(tmp_path / "a.gpkg"), str(tmp_path / "b.gpkg"), out, options)
    found = seen(out, "changes", "changes_by_region", project=str(project), picture=str(picture))
    for table in ("changes", "changes_by_region"):
        layer = found[table]
        assert (table, layer["valid"], layer["indexed"], layer["crs"]) == (table, True, True, "EPSG:32633")
        assert layer["title"]
        assert all(alias for name, alias in layer["aliases"].items() if name != "fid")
    assert found["changes"]["features"] == sum(result.counts.values())
    assert found["changes"]["renderer"] == "categorizedSymbol"
    assert len(found["changes"]["legend"]) == len(result.counts)
    opened = found["project"]
    assert opened["read"]
    assert all(layer["valid"] for layer in opened["layers"])
    assert {layer["name"] for layer in opened["layers"]} >= {"Changes", "A", "B"}
    assert len(Image.open(picture).convert("RGB").getcolors(10**6)) > 20


def move_aside(places: np.ndarray) -> np.ndarray:
    return places + np.array([3.0, -7.0])
