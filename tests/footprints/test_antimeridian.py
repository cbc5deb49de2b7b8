from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import CRS

from geoseg.footprints.antimeridian import find_full_turn, find_shortest_span, shift_near, unwrap_polygons


@pytest.mark.parametrize(
    ("code", "turn"),
    [
        ("EPSG:4326", 360.0),
        ("EPSG:4807", 400.0),
        ("EPSG:3857", 40_075_016.685578),
        ("+proj=cea +lon_0=-135 +datum=WGS84", 40_075_016.685578),
        ("+proj=cea +lon_0=180 +datum=WGS84", 40_075_016.685578),
        ("+proj=tcea +lon_0=9 +datum=WGS84", np.inf),
        ("EPSG:32633", np.inf),
    ],
)
def test_how_far_x_goes_once_round(code: str, turn: float) -> None:
    assert find_full_turn(CRS(code)) == pytest.approx(turn)


def test_a_line_round_earth_stays_as_it_is() -> None:
    equator = shapely.LineString([(-180, 0), (180, 0)])
    assert unwrap_polygons(np.array([equator, shapely.box(0, 0, 1, 1)], dtype=object), 360)[0] == equator


@pytest.mark.parametrize("hole", [False, True])
def test_a_ring_across_the_antimeridian_goes_on_beyond_it(hole: bool) -> None:
    shell = [(179, 0), (-179, 0), (-179, 2), (179, 2)]
    holes = [[(-179.5, 0.5), (-179.2, 0.5), (-179.2, 1.0)]] if hole else []
    laid = unwrap_polygons(np.array([shapely.Polygon(shell, holes)], dtype=object), 360)[0]
    assert laid.bounds == (179, 0, 181, 2)
    assert laid.is_valid
    assert laid.area == pytest.approx(4 - (0.075 if hole else 0))


def test_the_parts_of_a_building_that_the_antimeridian_cuts_lie_side_by_side() -> None:
    cut = shapely.MultiPolygon([shapely.box(179, 0, 180, 2), shapely.box(-180, 0, -179, 2)])
    laid = unwrap_polygons(np.array([cut], dtype=object), 360)[0]
    assert laid.bounds == (179, 0, 181, 2)
    assert laid.area == cut.area


@pytest.mark.parametrize(
    "polygon",
    [
        shapely.box(-10, 0, 10, 5),
        shapely.box(-180, -90, 180, 90),
        shapely.Polygon([(-180, -90), (-180, -70), (-60, -72), (60, -72), (180, -70), (180, -90)]),
    ],
    ids=["small", "whole Earth", "around a pole"],
)
def test_other_rings_stay_as_they_are(polygon: shapely.Polygon) -> None:
    assert unwrap_polygons(np.array([polygon], dtype=object), 360)[0].equals_exact(polygon)


def test_polygons_come_near_by_whole_turns() -> None:
    boxes = np.array([shapely.box(-180, 0, -179, 1), shapely.box(170, 0, 171, 1)], dtype=object)
    near = shift_near(boxes, 179.0, 360.0)
    assert [box.bounds[0] for box in near] == [180, 170]


@pytest.mark.parametrize("seed", range(20))
def test_the_shortest_span_goes_round_the_far_side_where_that_is_shorter(seed: int) -> None:
    chance = np.random.default_rng(seed)
    left = chance.uniform(-180, 180, 1 + seed % 5)
    right = left + chance.uniform(0, 40, len(left))
    begin, end = find_shortest_span(left, np.where(right > 180, right - 360, right), 360)
    lifted = [start + (left - start) % 360 + right - left for start in left]
    assert end - begin == pytest.approx(
        min(each.max() - start for each, start in zip(lifted, left, strict=True))
    )
    assert ((left - begin) % 360 + right - left <= end - begin + 1e-9).all()
