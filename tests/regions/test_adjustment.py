"""The stratified estimator against the worked examples of its authors."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.errors import InputError
from geoseg.regions.adjustment import ConfusionMatrix

# Olofsson et al. 2014, Remote Sensing of Environment 148, table 8: deforestation, gain, stable forest, stable other.
GOOD_PRACTICES = ConfusionMatrix(
    ("deforestation", "forest gain", "stable forest", "stable non-forest"),
    ((66, 0, 5, 4), (0, 55, 8, 12), (1, 0, 153, 11), (2, 1, 9, 313)),
)
PIXELS_MAPPED = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES_PER_PIXEL = 0.09

# Olofsson et al. 2013, Remote Sensing of Environment 129, example 1, in pixels.
BETTER_USE = ConfusionMatrix(("1", "2", "3"), ((97, 0, 3), (3, 279, 18), (2, 1, 97)))


def test_the_published_areas_and_intervals_of_2014() -> None:
    area, low, high = GOOD_PRACTICES.adjust_areas(PIXELS_MAPPED * HECTARES_PER_PIXEL)
    assert area[0] == pytest.approx(21_158, abs=1)
    assert (high - area)[0] == pytest.approx(6_158, abs=1)
    assert (area - low) == pytest.approx(high - area)
    assert area.sum() == pytest.approx(900_000)


def test_the_published_area_and_error_of_2013() -> None:
    area, low, _ = BETTER_USE.adjust_areas(np.array([22_353.0, 1_122_543.0, 610_228.0]))
    assert area[0] == pytest.approx(45_112, abs=1)
    assert (area - low)[0] / 1.96 == pytest.approx(10_751, abs=2)


def test_many_regions_at_once_are_each_as_alone() -> None:
    mapped = np.array([[3e5, 1e5, 2e5, 9e5], [0.0, 0.0, 5e5, 1e5], [1.0, 2.0, 3.0, 4.0]])
    together = GOOD_PRACTICES.adjust_areas(mapped)
    for index, line in enumerate(mapped):
        for part, whole in zip(GOOD_PRACTICES.adjust_areas(line), together, strict=True):
            assert part == pytest.approx(whole[index])


def test_a_perfect_map_stays_as_it_is() -> None:
    perfect = ConfusionMatrix(("background", "building"), ((500, 0), (0, 100)))
    area, low, high = perfect.adjust_areas(np.array([900.0, 100.0]))
    assert area == pytest.approx([900, 100])
    assert low == pytest.approx(area)
    assert high == pytest.approx(area)


def test_the_interval_stays_within_what_is_possible() -> None:
    poor = ConfusionMatrix(("background", "building"), ((9, 1), (5, 5)))
    area, low, high = poor.adjust_areas(np.array([990.0, 10.0]))
    assert (low >= 0).all()
    assert (high <= 1000).all()
    assert ((low <= area) & (area <= high)).all()


@pytest.mark.parametrize(
    ("counts", "mapped"),
    [(((50, 1), (1, 0)), (90.0, 10.0)), (((50, 1), (5, 50)), (0.0, 0.0)), (((0, 0), (5, 50)), (90.0, 10.0))],
    ids=["one sample", "no area", "no sample"],
)
def test_what_cannot_be_known_is_left_empty(
    counts: tuple[tuple[int, ...], ...], mapped: tuple[float, float]
) -> None:
    estimates = ConfusionMatrix(("background", "building"), counts).adjust_areas(np.array(mapped))
    assert all(np.isnan(estimate).all() for estimate in estimates)


def test_a_class_that_is_not_on_the_map_needs_no_samples() -> None:
    matrix = ConfusionMatrix(("background", "building"), ((90, 10), (0, 0)))
    area, _, _ = matrix.adjust_areas(np.array([100.0, 0.0]))
    assert area == pytest.approx([90, 10])


@pytest.mark.parametrize("counts", [((1, 2),), ((1, 2), (3,)), ((1, 2, 3), (3, 4, 5)), ((1, -2), (3, 4))])
def test_a_matrix_that_is_none_is_refused(counts: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(InputError, match="confusion matrix"):
        ConfusionMatrix(("background", "building"), counts)
