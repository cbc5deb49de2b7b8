"""The photograph has no seams, and the truth is exact."""

import subprocess
import sys

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from geoseg.errors import InputError
from geoseg.raster.grid import Window
from geoseg.synthetic.landscape import Layout, make_district
from geoseg.synthetic.render import list_truth_polygons, render_photo, render_truth_mask
from geoseg.synthetic.style import DISTRICT_KINDS

TOWN, SUBURB = Layout(18), Layout(7)
WHOLE = Window(90, 130, 520, 560)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return render_photo(TOWN, WHOLE)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 120), st.integers(1, 160))
def test_a_window_is_cut_out_of_the_whole(
    photo: np.ndarray, row: int, col: int, height: int, width: int
) -> None:
    part = render_photo(TOWN, Window(WHOLE.row + row, WHOLE.col + col, height, width))
    np.testing.assert_array_equal(part, photo[:, row : row + height, col : col + width])


def test_a_photograph_is_three_bytes_a_pixel_with_contrast(photo: np.ndarray) -> None:
    assert photo.shape == (3, WHOLE.height, WHOLE.width)
    assert photo.dtype == np.uint8
    assert (photo.std(axis=(1, 2)) > 20).all()
    assert (photo == 255).mean() < 0.01


def test_seeds_give_different_places() -> None:
    window = Window(0, 0, 64, 64)
    photos = [render_photo(Layout(seed), window) for seed in range(4)]
    assert len({photo.tobytes() for photo in photos}) == 4


@pytest.mark.parametrize("layout", [TOWN, SUBURB, Layout(13, 0.5)])
def test_the_mask_is_gdals_of_the_polygons(layout: Layout) -> None:
    window = Window(100, 300, 400, 500)
    shapes = [
        shapely.affinity.translate(outline, -300, -100) for _, outline in list_truth_polygons(layout, window)
    ]
    mask = render_truth_mask(layout, window)
    assert 0.02 < mask.mean() < 0.6
    np.testing.assert_array_equal(mask, rasterize(shapes, out_shape=(400, 500)).astype(bool))


def test_the_mask_of_a_window_is_cut_out_of_the_whole() -> None:
    whole = render_truth_mask(TOWN, WHOLE)
    part = render_truth_mask(TOWN, Window(WHOLE.row + 70, WHOLE.col + 33, 200, 300))
    np.testing.assert_array_equal(part, whole[70:270, 33:333])


def test_a_world_without_buildings_has_an_empty_truth() -> None:
    assert list_truth_polygons(Layout(1), Window(200, 100, 40, 40)) == []
    assert not render_truth_mask(Layout(1), Window(200, 100, 40, 40)).any()


@pytest.mark.parametrize("seed", range(4))
def test_buildings_never_overlap(seed: int) -> None:
    solids = [solid for row in range(3) for col in range(3) for solid in make_district(seed, row, col).solids]
    outlines = np.array([solid.outline for solid in solids])
    assert shapely.is_valid(outlines).all()
    one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    pairs = one < other
    assert shapely.area(shapely.intersection(outlines[one[pairs]], outlines[other[pairs]])).sum() < 1e-6


def test_a_finer_resolution_shows_the_same_buildings() -> None:
    coarse = list_truth_polygons(Layout(7, 0.6), Window(0, 0, 200, 200))
    fine = list_truth_polygons(Layout(7, 0.3), Window(0, 0, 400, 400))
    assert [kind for kind, _ in coarse] == [kind for kind, _ in fine]
    areas = np.array(
        [[small.area * 0.36, large.area * 0.09] for (_, small), (_, large) in zip(coarse, fine, strict=True)]
    )
    np.testing.assert_allclose(areas[:, 0], areas[:, 1], rtol=1e-9)


def test_worlds_hold_every_kind_of_district() -> None:
    kinds = {make_district(seed, row, col).kind for seed in range(10) for row in range(2) for col in range(2)}
    assert len(kinds) >= len(DISTRICT_KINDS) - 1


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=f"seed {seed} is out of range"):
        Layout(seed)


@pytest.mark.parametrize("gsd_m", [0.0, -0.3, 0.01, 6.0, float("nan"), float("inf")])
def test_an_impossible_resolution_is_refused(gsd_m: float) -> None:
    with pytest.raises(InputError, match="choose a resolution"):
        Layout(1, gsd_m)


def test_pixels_are_made_without_rasterio_and_geopandas() -> None:
    code = (
        "import sys; sys.modules.update(rasterio=None, geopandas=None, pyogrio=None)\n"
        "from geoseg.synthetic.landscape import Layout\n"
        "from geoseg.synthetic.render import render_photo, render_truth_mask\n"
        "from geoseg.raster.grid import Window\n"
        "assert render_photo(Layout(3), Window(5, 5, 32, 32)).shape == (3, 32, 32)\n"
        "assert render_truth_mask(Layout(3), Window(5, 5, 32, 32)).shape == (32, 32)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
