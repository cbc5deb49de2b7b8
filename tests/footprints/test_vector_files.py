"""Every format gives the same polygons near a place, and none of those far away."""

from __future__ import annotations

import gzip
import json
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from made import HERE, UTM33
from pyproj import CRS, Transformer

from geoseg.errors import InputError, WriteError
from geoseg.footprints.vector_files import open_vector_file
from geoseg.raster.grid import Grid

GRID = Grid(CRS(UTM33), HERE, 60, 80)
WORDS = ["hut", "barn", "far"]

Frame = geopandas.GeoDataFrame
Writer = Callable[[Frame, Path], None]


def town() -> Frame:
    """Two buildings on the grid and one a hundred kilometres away."""
    shapes = [
        shapely.Polygon([HERE @ (col + dx, row + dy) for dx, dy in ((0, 0), (6, 0), (6, 4), (0, 4))])
        for col, row in ((10, 5), (50, 40), (333_333, 0))
    ]
    return Frame({"kind": WORDS}, geometry=shapes, crs=UTM33).to_crs(4326)


def lines(frame: Frame) -> str:
    """GeoJSON with a feature a line, as Microsoft writes it."""
    return "\n".join(json.dumps(feature) for feature in frame.iterfeatures(drop_id=True)) + "\n"


def google(frame: Frame) -> str:
    """The columns of Google's Open Buildings."""
    rows = [
        f'{point.y},{point.x},{20.5},0.81,"{shape.wkt}",6FR5,{kind}'
        for point, shape, kind in zip(frame.geometry.centroid, frame.geometry, frame["kind"], strict=True)
    ]
    return "latitude,longitude,area_in_meters,confidence,geometry,full_plus_code,kind\n" + "\n".join(rows)


def packed(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


FORMATS: dict[str, Writer] = {
    "town.gpkg": lambda frame, path: frame.to_file(path),
    "town.fgb": lambda frame, path: frame.to_file(path),
    "town.shp": lambda frame, path: frame.to_file(path),
    "town.geojson": lambda frame, path: frame.to_file(path),
    "town.geojsonl": lambda frame, path: path.write_text(lines(frame)),
    "town.geojsonl.gz": lambda frame, path: packed(path, lines(frame)),
    "part-00001.csv.gz": lambda frame, path: packed(path, lines(frame)),
    "google.csv": lambda frame, path: path.write_text(google(frame.set_crs(None, allow_override=True))),
    "google.csv.gz": lambda frame, path: packed(path, google(frame.set_crs(None, allow_override=True))),
    "overture.parquet": lambda frame, path: frame.to_parquet(path, write_covering_bbox=True),
    "plain.parquet": lambda frame, path: frame.to_parquet(path),
    "renamed.parquet": lambda frame, path: frame.rename_geometry("outline").to_parquet(path),
}


@pytest.fixture(params=sorted(FORMATS))
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    FORMATS[request.param](town(), tmp_path / request.param)
    return tmp_path / request.param


def by_kind(frame: Frame) -> Frame:
    return frame.sort_values("kind", ignore_index=True)


def test_what_lies_near_is_found_in_every_format(path: Path) -> None:
    file = open_vector_file(path)
    near = by_kind(file.near(GRID, ["kind"]))
    assert near["kind"].tolist() == ["barn", "hut"]
    assert near.crs == UTM33
    expected = by_kind(town().iloc[:2].to_crs(UTM33))
    assert shapely.equals_exact(near.geometry.to_numpy(), expected.geometry.to_numpy(), 0.01).all()
    assert file.count in (3, None)
    with pytest.raises(InputError, match=r"has no field roof; it has .*kind"):
        file.near(GRID, ["roof"])


FIJI = [
    (32760, Transformer.from_crs(4326, 32760, always_xy=True).transform(180, -17), 1.0),
    (4326, (180.0, -17.0), 1e-5),
    (4326, (-180.0, -17.0), 1e-5),
    (3857, Transformer.from_crs(4326, 3857, always_xy=True).transform(180, -17), 1.0),
]
"""Where the antimeridian is in several CRS, and a pixel of a metre."""


@pytest.mark.parametrize("name", ["fiji.gpkg", "fiji.parquet", "fiji.geojson"])
@pytest.mark.parametrize(("code", "at", "pixel"), FIJI)
def test_on_the_antimeridian_both_sides_are_found(
    tmp_path: Path, name: str, code: int, at: tuple[float, float], pixel: float
) -> None:
    grid = Grid(
        CRS(code),
        HERE.translation(*at) @ HERE.scale(pixel, -pixel) @ HERE.translation(-500, -500),
        1000,
        1000,
    )
    west = [179.999, -179.999, 0]
    boxes = shapely.box(west, -17, np.add(west, 1e-4), -16.9999)
    frame = Frame({"kind": ["left", "right", "far"]}, geometry=boxes, crs=4326)
    (frame.to_parquet if name.endswith("parquet") else frame.to_file)(tmp_path / name)
    near = open_vector_file(tmp_path / name).near(grid, ["kind"])
    assert sorted(near["kind"]) == ["left", "right"]
    assert shapely.box(*grid.bounds).contains(shapely.box(*near.total_bounds))
    copy = open_vector_file(tmp_path / name).copy_near([grid], ["kind"], tmp_path / "copy.gpkg")
    assert copy.count == 2


def test_far_away_nothing_is_found_in_any_format(path: Path) -> None:
    elsewhere = Grid(GRID.crs, HERE @ HERE.translation(0, 5000), 60, 80)
    found = open_vector_file(path).near(elsewhere, ["kind"])
    assert len(found) == 0
    assert "kind" in found


def test_a_copy_that_finds_by_place_holds_what_lies_near(path: Path, tmp_path: Path) -> None:
    grids = [GRID, Grid(GRID.crs, HERE @ HERE.translation(40, 30), 30, 30)]
    copy = open_vector_file(path).copy_near(grids, ["kind"], tmp_path / "copy.gpkg", rows_at_once=1)
    assert copy.indexed
    assert copy.count == 2
    assert copy.name == str(path)
    assert by_kind(copy.near(GRID, ["kind"]))["kind"].tolist() == ["barn", "hut"]


def test_a_copy_in_which_rows_were_lost_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pyogrio.write_dataframe
    monkeypatch.setattr(
        pyogrio, "write_dataframe", lambda frame, *given, **options: write(frame[1:], *given, **options)
    )
    with pytest.raises(WriteError, match=r"copy\.gpkg could not be written: only 1 of 2 features arrived"):
        open_vector_file(path).copy_near([GRID], ["kind"], tmp_path / "copy.gpkg")


def test_formats_that_find_by_place_are_known(tmp_path: Path) -> None:
    found = {name: (write(town(), tmp_path / name), open_vector_file(tmp_path / name))[1] for name, write in FORMATS.items()}  # fmt: skip
    indexed = {name for name, file in found.items() if file.indexed}
    assert {"town.gpkg", "town.fgb", "overture.parquet"} <= indexed
    assert not indexed & {"town.geojsonl", "google.csv", "plain.parquet"}


def test_of_a_country_only_the_rows_near_are_read(tmp_path: Path) -> None:
    """A damaged row far away would stop whoever read it."""
    chance = np.random.default_rng(0)
    places = np.sort(chance.uniform(0, 10, 4000))
    frame = Frame({"kind": ["x"] * 4000}, geometry=shapely.box(places, 50, places + 1e-4, 50.0001), crs=4326)
    frame.to_parquet(tmp_path / "land.parquet", write_covering_bbox=True, row_group_size=100)
    here = Grid(CRS(4326), HERE.translation(2, 50.01) @ HERE.scale(1e-4, -1e-4), 200, 1000)
    expected = frame.cx[2:2.1, 49:51]
    whole = (tmp_path / "land.parquet").read_bytes()
    (tmp_path / "land.parquet").write_bytes(whole[:4] + b"\0" * 500 + whole[504:])
    assert len(open_vector_file(tmp_path / "land.parquet").near(here, ["kind"])) == len(expected) > 10


def test_layers_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for layer, rows in (("houses", slice(1)), ("sheds", slice(1, 2))):
        town().iloc[rows].to_file(path, layer=layer)
    geopandas.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=4326).to_file(path, layer="trees")
    with pytest.raises(
        InputError, match=r"has the layers houses, sheds; say which one, e\.g\. .*two\.gpkg:houses"
    ):
        open_vector_file(path)
    assert open_vector_file(Path(f"{path}:sheds")).near(GRID, ["kind"])["kind"].tolist() == ["barn"]
    with pytest.raises(InputError, match="has no layer barns; it has houses, sheds, trees"):
        open_vector_file(Path(f"{path}:barns"))
    town().to_file(path, layer="buildings")
    assert len(open_vector_file(path).near(GRID, [])) == 2


def test_a_crs_that_does_not_reach_the_image_is_refused(tmp_path: Path) -> None:
    south = "+proj=gnom +lat_0=-90 +datum=WGS84"
    Frame(geometry=[shapely.box(0, 0, 1, 1)], crs=south).to_file(tmp_path / "south.gpkg")
    with pytest.raises(InputError, match="does not reach the images"):
        open_vector_file(tmp_path / "south.gpkg").near(GRID, [])


def table(path: Path, **columns: list[object]) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.csv", lambda path: path.write_text("latitude,longitude\n1,2\n"), "has no outlines; a table needs a column geometry"),
        ("a.csv.gz", lambda path: path.write_bytes(gzip.compress(b"x" * 9999)[:20]), "not a vector file that can be read"),
        ("a.parquet", lambda path: table(path, kind=["a"]), "is Parquet without outlines"),
        ("a.parquet", lambda path: path.write_bytes(b"PAR1"), "not a vector file that can be read"),
        ("a.geojsonl", lambda path: path.write_text("nothing"), "not a vector file that can be read"),
        ("a.geojson", lambda path: path.write_text('{"type": "FeatureCollection", "features": ['), "not a vector file that can be read"),
        ("a.gpkg", lambda path: path.write_bytes(b"SQLite format 3\0"), "not a vector file that can be read"),
        ("a.gpkg", lambda path: None, "no such file"),
        ("a.fgb", lambda path: town().set_crs(None, allow_override=True).to_file(path), "no coordinate reference system"),
        ("a.parquet", lambda path: town().set_crs(None, allow_override=True).to_parquet(path), "no coordinate reference system"),
        ("a.parquet", lambda path: town().to_parquet(path, geometry_encoding="geoarrow"), "write it anew with outlines as WKB"),
        ("boxed.parquet", lambda path: town().to_parquet(path, geometry_encoding="geoarrow", write_covering_bbox=True),
         "write it anew with outlines as WKB"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_what_is_no_layer_of_polygons_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError, match=message):
        open_vector_file(tmp_path / name)


def test_outlines_with_curves_are_told_in_one_line(tmp_path: Path) -> None:
    """As ArcGIS writes them: here a circle, a curve polygon of one circular string."""
    path = tmp_path / "tanks.gpkg"
    Frame({"kind": ["tank"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326).to_file(path, layer="buildings")
    corners = [(0, 0), (1, 1), (2, 0), (1, -1), (0, 0)]
    string = struct.pack("<BII", 1, 8, len(corners)) + b"".join(struct.pack("<dd", *each) for each in corners)
    circle = struct.pack("<ccBBi", b"G", b"P", 0, 1, 4326) + struct.pack("<BII", 1, 10, 1) + string
    with closing(sqlite3.connect(path)) as base, base:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            base.create_function(name, 1, lambda shape: 0)
        base.execute("UPDATE buildings SET geom = ?", [circle])
        base.execute("UPDATE gpkg_geometry_columns SET geometry_type_name = 'CURVEPOLYGON'")
        base.execute("PRAGMA writable_schema = ON")
        base.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ' POLYGON', ' CURVEPOLYGON') WHERE name = 'buildings'"
        )
    with pytest.raises(
        InputError, match=r"tanks\.gpkg: not a vector file that can be read \(Nonlinear geometry"
    ):
        list(open_vector_file(path).pieces([]))


def test_pieces_of_which_rows_do_not_arrive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "roofs.gpkg"
    frame = geopandas.GeoDataFrame(geometry=shapely.box(range(9), 0, range(1, 10), 1), crs=32633)
    frame.to_file(path, layer="buildings")
    assert sum(map(len, open_vector_file(path).pieces([], 4))) == 9
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE gpkg_ogr_contents SET feature_count = 10")
    with pytest.raises(InputError, match=r"roofs\.gpkg: .*only 9 of its 10 rows could be read"):
        list(open_vector_file(path).pieces([], 4))
