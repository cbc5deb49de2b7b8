"""Builders stay on their land, and their roofs are as geometry says."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import shapely

from geoseg.synthetic import buildings as blocks
from geoseg.synthetic import buildings as halls
from geoseg.synthetic import buildings as houses
from geoseg.synthetic.objects import Solid
from geoseg.synthetic.style import make_style

LAND = shapely.affinity.rotate(shapely.box(0, 0, 84, 62), 17)
TINY = shapely.box(0, 0, 4, 4)
MAKERS = [
    houses.build_house,
    houses.build_row,
    houses.build_shed,
    blocks.build_courtyard,
    blocks.build_slab,
    halls.build_hall,
]


def built(maker: Callable[..., list[Solid]], land: shapely.Polygon) -> list[Solid]:
    return [
        solid for seed in range(12) for solid in maker(land, make_style(seed), np.random.default_rng(seed))
    ]


@pytest.mark.parametrize("maker", MAKERS)
def test_buildings_are_valid_and_stay_on_their_land(maker: Callable[..., list[Solid]]) -> None:
    solids = built(maker, LAND)
    assert solids
    for solid in solids:
        assert solid.outline.is_valid
        assert LAND.buffer(1e-6).contains(solid.outline)
        assert solid.eave_m > 1


@pytest.mark.parametrize("maker", MAKERS)
def test_nothing_is_built_where_there_is_no_room(maker: Callable[..., list[Solid]]) -> None:
    assert built(maker, TINY) == []


def test_row_houses_share_the_very_same_walls() -> None:
    row = houses.build_row(LAND, make_style(1), np.random.default_rng(1))
    outlines = [solid.outline for solid in row]
    assert len(outlines) >= 4
    for one, other in itertools.pairwise(outlines):
        assert one.intersection(other).area == 0
        corners = {tuple(place) for place in shapely.get_coordinates(one)}
        assert len(corners & {tuple(place) for place in shapely.get_coordinates(other)}) == 2


def test_a_courtyard_has_a_hole_and_its_houses_fill_the_ring() -> None:
    all_built = [
        blocks.build_courtyard(LAND, make_style(seed), np.random.default_rng(seed)) for seed in range(12)
    ]
    whole = [solids[0] for solids in all_built if solids[0].kind == "courtyard"]
    split = [solids for solids in all_built if solids[0].kind == "town_house"]
    assert whole
    assert split
    assert all(len(solid.outline.interiors) == 1 for solid in whole)
    for solids in split:
        joined = shapely.union_all([solid.outline for solid in solids])
        assert joined.area == pytest.approx(sum(solid.outline.area for solid in solids))
        assert len(joined.interiors) == 1


def test_tanks_are_round() -> None:
    for tank in halls.build_tanks(LAND, np.random.default_rng(2)):
        roundness = 4 * np.pi * tank.outline.area / tank.outline.length**2
        assert roundness == pytest.approx(1, abs=0.01)
