"""One pass in strips and tiles counts what the whole image in memory tells."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from made import HERE, UTM33, RasterWriter
from numpy.typing import NDArray
from pyproj import CRS
from scipy.ndimage import binary_dilation

from geoseg.errors import InputError
from geoseg.evaluation import counting
from geoseg.evaluation.counting import TileGrid
from geoseg.evaluation.inputs.maps import (
    ClassMap,
    EvaluationPair,
    MapStrip,
    RasterMap,
    VectorMap,
    limit_to_polygons,
)
from geoseg.raster.grid import Grid
from geoseg.raster.mask import open_mask
from geoseg.scores.calibration import ProbabilityCounts
from geoseg.scores.confusion import Confusion
from geoseg.scores.outlines import FootprintOutlines, extract_boundary

HEIGHT, WIDTH = 300, 410
GRID = Grid(CRS(UTM33), HERE, HEIGHT, WIDTH)
PIXEL_M2 = 0.09


def blobs(seed: int, classes: int = 3) -> NDArray[np.uint8]:
    """Random blobs of each class, and some unknown pixels."""
    rng = np.random.default_rng(seed)
    values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for number in [*range(1, classes), 255]:
        seeds = rng.random((HEIGHT, WIDTH)) < 0.002
        values[binary_dilation(seeds, np.ones((3, 3)), iterations=int(rng.integers(2, 6)))] = number
    return values


class Array:
    """A map that is an array in memory."""

    def __init__(self, classes: NDArray[np.uint8], probabilities: NDArray[np.uint8] | None = None) -> None:
        self.name, self.classes, self.probabilities = "array", classes, probabilities

    def read(self, rows: slice) -> MapStrip:
        levels = self.probabilities
        return MapStrip(self.classes[rows], None if levels is None else levels[:, rows])


def pair(predicted: ClassMap, truth: ClassMap, **changes: Any) -> EvaluationPair:
    return EvaluationPair(
        **{"name": "x", "place": "here", "grid": GRID, "predicted": predicted, "truth": truth, **changes}
    )


count_pair = partial(counting.count_pair, strip_pixels=37 * WIDTH)
"""Many strips, whose heights fit nothing."""


def test_pixels_and_boundaries_are_those_of_the_whole_image() -> None:
    predicted, true = blobs(1), blobs(2)
    counted = count_pair(pair(Array(predicted), Array(true)), 3, distance=4)
    whole = Confusion.empty(3)
    whole.add(true, predicted)
    np.testing.assert_array_equal(counted.confusion.total().counts, whole.counts)
    known = (true != 255) & (predicted != 255)
    for number in (1, 2):
        one, other = (extract_boundary((side == number) & known, 4) for side in (predicted, true))
        assert counted.boundary[:, number].sum(axis=0).tolist() == [(one & other).sum(), (one | other).sum()]


def test_probabilities_are_counted_where_the_truth_is_known() -> None:
    rng = np.random.default_rng(3)
    true, levels = blobs(4, 2), rng.integers(0, 251, (1, HEIGHT, WIDTH)).astype(np.uint8)
    counted = count_pair(pair(Array((levels[0] >= 125).astype(np.uint8), levels), Array(true)), 2)
    assert counted.probability is not None
    expected = ProbabilityCounts.of(true[true != 255] == 1, levels[0][true != 255])
    np.testing.assert_array_equal(counted.probability.counts[:, 1].sum(axis=0), expected.counts)
    assert counted.probability.counts[:, 0].sum() == 0


def test_footprints_are_those_that_gdal_traces() -> None:
    predicted, true = blobs(5), blobs(6)
    counted = count_pair(pair(Array(predicted), Array(true)), 3)
    unknown = (predicted == 255) | (true == 255)
    for side, found in ((predicted, counted.predicted), (true, counted.true)):
        shown = np.where(unknown, 0, side)
        traced = [shapely.geometry.shape(s) for s, _ in rasterio.features.shapes(shown, mask=shown > 0)]
        assert sorted(found.area_m2) == pytest.approx(sorted(p.area * PIXEL_M2 for p in traced), rel=2e-3)


def test_a_prediction_that_is_the_truth_matches_everywhere() -> None:
    true = blobs(7)
    counted = count_pair(pair(Array(true), Array(true)), 3)
    assert counted.predicted.matched.all()
    assert counted.true.matched.all()
    np.testing.assert_array_equal(counted.boundary[..., 0], counted.boundary[..., 1])


def test_small_predicted_footprints_may_be_left_out() -> None:
    true = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    true[10:20, 10:20], true[40:43, 40:43] = 1, 1
    counted = count_pair(pair(Array(true), Array(true), min_area_m2=1.0), 2)
    assert counted.predicted.area_m2 == pytest.approx([100 * PIXEL_M2], rel=1e-3)
    assert counted.true.area_m2 == pytest.approx([100 * PIXEL_M2, 9 * PIXEL_M2], rel=1e-3)


def test_confidence_is_the_mean_probability_inside() -> None:
    true = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    true[30:50, 40:60] = 1
    levels = np.full((1, HEIGHT, WIDTH), 10, dtype=np.uint8)
    levels[0, 30:40, 40:60], levels[0, 40:50, 40:60] = 200, 250
    counted = count_pair(pair(Array(true, levels), Array(true)), 2)
    assert counted.predicted.confidence.tolist() == [pytest.approx(0.9)]


def test_polygons_and_their_raster_count_alike() -> None:
    boxes = shapely.box([10, 100, 250], [20, 90, 200], [60, 160, 330], [55, 130, 290])
    outlines = FootprintOutlines(boxes, np.array([1, 2, 1]), np.full(3, np.nan))
    values = rasterio.features.rasterize(zip(boxes, [1, 2, 1], strict=True), (HEIGHT, WIDTH)).astype(np.uint8)
    of_polygons = count_pair(pair(VectorMap("v", outlines, WIDTH), Array(blobs(9))), 3)
    of_raster = count_pair(pair(Array(values), Array(blobs(9))), 3)
    np.testing.assert_array_equal(of_polygons.confusion.counts, of_raster.confusion.counts)
    np.testing.assert_array_equal(of_polygons.boundary, of_raster.boundary)


def test_background_drawn_above_a_building_hides_it_and_is_no_footprint() -> None:
    boxes = shapely.box([10, 20], [20, 30], [60, 40], [70, 50])
    courtyard = VectorMap("v", FootprintOutlines(boxes, np.array([1, 0]), np.full(2, np.nan)), WIDTH)
    values = rasterio.features.rasterize(zip(boxes, [1, 0], strict=True), (HEIGHT, WIDTH)).astype(np.uint8)
    seen = count_pair(pair(courtyard, Array(values)), 2)
    assert seen.confusion.counts.sum(axis=0).tolist() == [[HEIGHT * WIDTH - 2100, 0], [0, 2100]]
    assert len(seen.predicted.area_m2) == 1


def test_polygons_on_unknown_ground_do_not_count() -> None:
    boxes = shapely.box([10, 300], [20, 20], [40, 340], [50, 50])
    side = VectorMap("v", FootprintOutlines(boxes, np.array([1, 1]), np.full(2, np.nan)), WIDTH)
    true = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    true[:, 250:] = 255
    assert len(count_pair(pair(side, Array(true)), 2).predicted.area_m2) == 1


def test_outside_of_an_area_nothing_is_known() -> None:
    area = np.array([shapely.box(0, 0, 100, 100)])
    inside = limit_to_polygons(Array(np.zeros((HEIGHT, WIDTH), dtype=np.uint8)), area, WIDTH)
    labelled = VectorMap("v", FootprintOutlines.merge([]), WIDTH, area)
    for truth in (inside, labelled):
        counted = count_pair(pair(Array(np.zeros((HEIGHT, WIDTH), dtype=np.uint8)), truth), 2)
        assert counted.confusion.pixels.sum() == 100 * 100


def test_a_raster_on_disk_is_read_as_it_is(write_raster: RasterWriter) -> None:
    true = blobs(10)
    path = write_raster("mask.tif", true, nodata=255)
    side = RasterMap(open_mask(str(path)))
    np.testing.assert_array_equal(
        count_pair(pair(side, Array(blobs(1))), 3).confusion.counts,
        count_pair(pair(Array(true), Array(blobs(1))), 3).confusion.counts,
    )


@pytest.mark.parametrize("shape", [(1, 1), (128, 129), (300, 410), (9000, 100), (5000, 7000)])
def test_strips_and_tiles_cover_a_scene_once(shape: tuple[int, int]) -> None:
    tiles = TileGrid(*shape)
    rows = [row for strip in tiles.strips() for row in range(strip.start, strip.stop)]
    assert rows == list(range(shape[0]))
    assert all(strip.start // tiles.side == (strip.stop - 1) // tiles.side for strip in tiles.strips())
    corners = tiles.find(np.array([0, shape[0] - 1]), np.array([0, shape[1] - 1]))
    assert corners.tolist() == [0, tiles.number - 1]
    for strip in tiles.strips():
        for number, columns in tiles.columns(strip):
            assert tiles.find(np.array(strip.start), np.array(min(columns.start, shape[1] - 1))) == number


def test_unknown_classes_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="array: holds the value 2, but classes go from 0 to 1"):
        count_pair(pair(Array(blobs(1)), Array(blobs(2))), 2)


def test_areas_are_true_in_web_mercator(tmp_path: Path) -> None:
    """At 60 degrees north, a pixel of EPSG:3857 is a quarter as large as it says."""
    north = Grid(
        CRS.from_epsg(3857), Affine.translation(2_000_000, 8_399_737.9) @ Affine.scale(1, -1), HEIGHT, WIDTH
    )
    values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    values[100:140, 100:150] = 1
    counted = count_pair(pair(Array(values), Array(values), grid=north), 2)
    assert counted.true.area_m2 == pytest.approx([40 * 50 / 4], rel=0.01)
    assert counted.true.middle[1] == pytest.approx([60], abs=0.01)
