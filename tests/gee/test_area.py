"""Areas of interest: read from anything, checked, whole across zones and the antimeridian."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from gee.grid import Area, make_box_area, make_square_area, read_area, unwrap_longitudes
from geoseg.errors import InputError
from geoseg.raster.grid import WGS84

SQUARE = shapely.box(15.0, 48.0, 15.1, 48.1)


def geojson(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "geojson", "fgb"])
def test_any_vector_file(tmp_path, suffix):
    path = tmp_path / f"area.{suffix}"
    geopandas.GeoDataFrame(geometry=[SQUARE], crs=4326).to_file(path)
    assert read_area(path).lonlat.equals(SQUARE)


@pytest.mark.parametrize("wrap", ["geometry", "feature", "collection"])
def test_every_kind_of_geojson(tmp_path, wrap):
    geometry = json.loads(shapely.to_geojson(SQUARE))
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    contents = {"geometry": geometry, "feature": feature}
    contents["collection"] = {"type": "FeatureCollection", "features": [feature]}
    area = read_area(geojson(tmp_path / "a.geojson", contents[wrap]))
    assert area.lonlat.equals(SQUARE)
    assert area.name == "a"


def test_another_crs_is_kept_until_it_is_needed(tmp_path):
    path = tmp_path / "area.gpkg"
    geopandas.GeoDataFrame(geometry=[shapely.box(500000, 5300000, 501000, 5301000)], crs=32633).to_file(path)
    area = read_area(path)
    assert area.within(CRS.from_epsg(32633)).bounds == (500000, 5300000, 501000, 5301000)
    assert 14.9 < area.lonlat.centroid.x < 15.1


def test_several_polygons_are_one_area(tmp_path):
    path = tmp_path / "area.gpkg"
    parts = [shapely.box(0, 0, 1, 1), shapely.box(0.5, 0, 2, 1)]
    geopandas.GeoDataFrame(geometry=parts, crs=4326).to_file(path)
    assert read_area(path).shape.area == 2


def test_a_polygon_that_crosses_itself_is_repaired_and_told(tmp_path, heard):
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    area = read_area(geojson(tmp_path / "bow.geojson", bow))
    assert area.shape.is_valid
    assert area.shape.area == 0.5
    assert "1 polygons cross themselves" in heard.warnings[0]


def test_one_of_several_layers_is_named_and_none_is_taken_unasked(tmp_path):
    path = tmp_path / "areas.gpkg"
    for name, east in {"town": 0, "county": 10}.items():
        geopandas.GeoDataFrame(geometry=[shapely.box(east, 0, east + 1, 1)], crs=4326).to_file(
            path, layer=name
        )
    assert read_area(Path(f"{path}:county")).shape.bounds == (10, 0, 11, 1)
    with pytest.raises(InputError, match="holds the layers town, county; say which one"):
        read_area(path)


def test_a_file_that_names_others_is_refused(tmp_path):
    (tmp_path / "area.geojson").write_text("<OGRVRTDataSource></OGRVRTDataSource>")
    with pytest.raises(InputError, match="makes GDAL read other files"):
        read_area(tmp_path / "area.geojson")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"type": "Point", "coordinates": [1, 2]}, "holds no polygon"),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "holds no polygon"),
        ({"type": "FeatureCollection", "features": []}, "holds no polygon|without geometries"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [2, 0], [0, 0]]]}, "its area is zero"),
        (
            {"type": "Polygon", "coordinates": [[[5e5, 5e6], [6e5, 5e6], [6e5, 6e6], [5e5, 5e6]]]},
            "is not longitude,latitude",
        ),
        ({"some": "json"}, "not a vector file that can be read"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_files_that_hold_no_area(tmp_path, content, reason):
    with pytest.raises(InputError, match=reason):
        read_area(geojson(tmp_path / "a.geojson", content))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        read_area(tmp_path / "none.geojson")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_without_crs(tmp_path):
    geopandas.GeoDataFrame(geometry=[SQUARE]).to_file(tmp_path / "a.shp")
    with pytest.raises(InputError, match="has no coordinate reference system"):
        read_area(tmp_path / "a.shp")


def test_a_table(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="holds no layer with geometry"):
        read_area(tmp_path / "a.csv")


@pytest.mark.parametrize("box", [(0, 1, 1, 1), (0, 2, 1, 1), (0, -91, 1, 0), (0, 0, 0, 1), (600, 0, 601, 1)])
def test_boxes_that_are_none(box):
    with pytest.raises(InputError):
        make_box_area(*box)


@given(lon=st.floats(-179.9, 179.9), lat=st.floats(-79, 83), size=st.floats(1, 20_000))
def test_a_square_around_a_point_holds_it_and_is_as_large_as_asked(lon, lat, size):
    area = make_square_area(lon, lat, size)
    left, bottom, right, top = area.shape.bounds
    assert abs(right - left - size) < 1e-6
    assert abs(top - bottom - size) < 1e-6
    x, y = Transformer.from_crs(WGS84, area.crs, always_xy=True).transform(lon, lat)
    assert abs(x - (left + right) / 2) <= 0.51
    assert abs(y - (bottom + top) / 2) <= 0.51


@pytest.mark.parametrize("place", [(0, 95, 100), (0, 0, 0), (0, 0, -5), (1000, 0, 5)])
def test_points_that_are_nowhere(place):
    with pytest.raises(InputError):
        make_square_area(*place)


def test_a_box_across_the_antimeridian_runs_on():
    assert make_box_area(179, -17, -179, -16).lonlat.bounds == (179, -17, 181, -16)


def test_a_shape_cut_at_the_antimeridian_is_made_whole():
    cut = shapely.MultiPolygon([shapely.box(179, -17, 180, -16), shapely.box(-180, -17, -179, -16)])
    assert unwrap_longitudes(cut).equals(shapely.box(179, -17, 181, -16))
    area = Area(cut, WGS84)
    left, bottom, right, top = Area(unwrap_longitudes(cut), WGS84).within(CRS.from_epsg(32760)).bounds
    assert 200_000 < right - left < 220_000
    assert 105_000 < top - bottom < 120_000
    assert area.crs == WGS84


def test_bent_edges_stay_covered():
    """A parallel of latitude bows north in a UTM zone: its middle lies beyond the line between its ends."""
    area = make_box_area(12.0, 50.0, 18.0, 51.0)
    bottom = area.within(CRS.from_epsg(32633)).bounds[1]
    to_utm = Transformer.from_crs(WGS84, 32633, always_xy=True)
    corners = min(to_utm.transform(lon, 50.0)[1] for lon in (12.0, 18.0))
    middle = to_utm.transform(15.0, 50.0)[1]
    assert middle < corners - 4000
    assert bottom <= middle + 1


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (5.3, 60.4, "EPSG:32632"),
        (15.6, 78.2, "EPSG:32633"),
        (8.0, 78.2, "EPSG:32631"),
        (10.0, 78.2, "EPSG:32633"),
        (5.3, 55.0, "EPSG:32631"),
        (178.0, -17.0, "EPSG:32760"),
        (-179.0, -17.0, "EPSG:32701"),
        (0.5, -1.0, "EPSG:32731"),
    ],
)
def test_the_zone_of_a_place_with_the_exceptions(lon, lat, zone):
    assert list(make_box_area(lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01).zones) == [zone]


def test_zones_share_the_area_without_loss():
    area = make_box_area(4.0, 54.0, 14.0, 66.0)
    zones = area.zones
    assert sum(zone.shape.area for zone in zones.values()) == pytest.approx(area.shape.area)
    assert next(iter(zones)) == "EPSG:32632"


def test_the_poles_need_a_crs():
    with pytest.raises(InputError, match="beyond the UTM zones"):
        _ = make_box_area(0, 85, 1, 86).zones


def test_the_area_of_a_point_is_true_on_the_ground():
    west, south, east, north = make_square_area(13.386, 52.508, 1000).lonlat.bounds
    geod = Geod(ellps="WGS84")
    assert abs(geod.inv(west, south, east, south)[2] - 1000) < 30
    assert np.isfinite([west, south, east, north]).all()
