"""Light, height and shadow of single things, compared with closed forms."""

from math import tan

import numpy as np
import pytest
import shapely

from geoseg.synthetic.geometry import LocalFrame, make_flat_roof, make_gable_roof
from geoseg.synthetic.objects import RoofFinish, Solid
from geoseg.synthetic.pixels import burn_mask, extract_segments
from geoseg.synthetic.sprites import draw_solid
from geoseg.synthetic.style import Style, make_style

BOX = (-8.0, -5.0, 8.0, 5.0)
GSD_M = 0.25


def building(slope: float, angle: float = 0.0) -> Solid:
    frame = LocalFrame.at(30.0, 40.0, angle)
    wing = make_gable_roof(BOX, slope) if slope else make_flat_roof(BOX)
    return Solid(frame.box(BOX), 6.0, (frame.planes(wing),), RoofFinish((200, 100, 80), 0, 0), "house")


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2])
def test_a_ridge_is_as_high_as_half_the_width_times_the_slope(angle: float) -> None:
    sprite = draw_solid(building(0.6, angle), make_style(0), GSD_M)
    assert sprite.height.max() == pytest.approx(6 + 0.6 * 5, abs=0.1)
    assert sprite.height[sprite.alpha > 0.99].min() == pytest.approx(6, abs=0.2)


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.9])
def test_a_house_covers_the_pixels_of_its_outline(angle: float) -> None:
    solid = building(0.5, angle)
    sprite = draw_solid(solid, make_style(1), GSD_M)
    truth = burn_mask(extract_segments(solid.outline) / GSD_M, sprite.window)
    assert ((sprite.alpha > 0.5) != truth).sum() <= 0.02 * truth.sum()
    assert (sprite.alpha[truth] > 0.3).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_shadow_is_as_long_as_the_height_over_the_suns_tangent(seed: int) -> None:
    style = make_style(seed)
    sprite = draw_solid(building(0.0), style, GSD_M)
    shade = (sprite.shadow > 0).sum() * GSD_M**2
    assert shade == pytest.approx(swept_area(style, 6.0), rel=0.05)


def swept_area(style: Style, height_m: float) -> float:
    """The area of the box swept along its shadow, for a box along the axes."""
    x, y, _ = style.sun.towards
    reach = height_m / tan(style.sun.elevation) / np.hypot(x, y)
    return float(shapely.MultiPoint(swept_corners(x * reach, y * reach)).convex_hull.area)


def swept_corners(dx: float, dy: float) -> np.ndarray:
    corners = np.array([(u, v) for u in BOX[::2] for v in BOX[1::2]])
    return np.vstack([corners, corners - (dx, dy)])


@pytest.mark.parametrize("seed", range(6))
def test_the_side_towards_the_sun_is_the_brighter_one(seed: int) -> None:
    style = make_style(seed)
    x, y, _ = style.sun.towards
    sprite = draw_solid(building(0.6, float(np.arctan2(y, x)) + np.pi / 2), style, GSD_M)
    rows, cols = np.nonzero(sprite.alpha > 0.99)
    side = ((cols - cols.mean()) * x + (rows - rows.mean()) * y) > 0
    tones = sprite.color[0][rows, cols]
    assert tones[side].mean() > 1.2 * tones[~side].mean()
