"""Straightened footprints at the edge of an image: none leaves it, cut walls lie on it, neighbours keep their walls."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given
from hypothesis import strategies as st
from layers import UTM33, write_raster
from numpy.typing import NDArray

import geoseg
from geoseg.footprints.regularize.blocks import regularize_footprints
from geoseg.footprints.regularize.edges import fit_to_image
from geoseg.raster.grid import Grid

SIDE = 80
IMAGE = (0.0, 0.0, float(SIDE), float(SIDE))
ONE = np.zeros(1, np.int64)
FRAME = shapely.box(*IMAGE)


def trace(values: NDArray[np.uint8]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """The outlines of all values but 0 along pixels, and the clusters in which they touch."""
    found = [shapely.geometry.shape(shape) for shape, value in rasterio.features.shapes(values) if value > 0]
    outlines = np.array(found, dtype=object)
    parts = shapely.get_parts(shapely.union_all(outlines))
    return outlines, np.array([int(np.argmax(shapely.covers(parts, each))) for each in outlines])


def draw_houses(seed: int, count: int = 25) -> NDArray[np.uint8]:
    """Turned houses all over an image and beyond its edges, half of them divided in two by a wall."""
    rng = np.random.default_rng(seed)
    values = np.zeros((SIDE, SIDE), np.uint8)
    for number in range(count):
        x, y = rng.uniform(-4, SIDE + 4, 2)
        width, length, turn = rng.uniform(6, 12), rng.uniform(8, 20), rng.uniform(0, 90)
        halves = [
            shapely.box(x, y, x + width, y + length / 2),
            shapely.box(x, y + length / 2, x + width, y + length),
        ]
        for half, box in enumerate(shapely.affinity.rotate(each, turn, origin=(x, y)) for each in halves):
            value = 1 + 2 * number + half * int(number % 2)
            rasterio.features.rasterize([box], out=values, default_value=value)
    return values


@given(seed=st.integers(0, 10_000))
def test_no_footprint_leaves_the_image_and_neighbours_keep_their_walls(seed: int) -> None:
    outlines, clusters = trace(draw_houses(seed))
    straight, _ = regularize_footprints(outlines, clusters, 1.0)
    fitted, broken = fit_to_image(straight, outlines, clusters, IMAGE, 1.0)
    kept = fitted[~np.isin(clusters, clusters[broken])]
    assert shapely.is_valid(kept).all()
    assert shapely.within(kept, FRAME).all()
    inside = shapely.within(straight, shapely.box(3, 3, SIDE - 3, SIDE - 3))
    assert (fitted[inside] == straight[inside]).all()
    for cluster in np.unique(clusters):
        members = (clusters == cluster) & ~np.isin(clusters, clusters[broken])
        if shapely.coverage_is_valid(straight[members]):
            assert shapely.coverage_is_valid(fitted[members], gap_width=0)


def measure_on_edge(shapes: NDArray[np.object_]) -> float:
    return float(shapely.length(shapely.intersection(shapely.boundary(shapes), FRAME.exterior)).sum())


def test_cut_walls_lie_on_the_edge() -> None:
    """Straightening alone leaves half of them there."""
    lengths = np.zeros(3)
    for seed in range(20):
        outlines, clusters = trace(draw_houses(seed))
        straight, _ = regularize_footprints(outlines, clusters, 1.0)
        fitted, _ = fit_to_image(straight, outlines, clusters, IMAGE, 1.0)
        lengths += [measure_on_edge(shapes) for shapes in (outlines, straight, fitted)]
    traced, straightened, kept = lengths
    assert straightened < 0.7 * traced
    assert kept > 0.88 * traced


def test_regions_sum_to_the_total(tmp_path: Path) -> None:
    """Squares of a grid cover the image and no more: what reached over its edge was in no region."""
    grid = Grid(UTM33, rasterio.Affine(0.3, 0, 300_000, 0, -0.3, 5_400_000), SIDE, SIDE)
    path = write_raster(tmp_path / "mask.tif", (draw_houses(3) > 0).astype(np.uint8), grid)
    left, bottom, right, top = grid.bounds
    frame = gpd.GeoDataFrame({"name": ["all"]}, geometry=[shapely.box(left, bottom, right, top)], crs=UTM33)
    result = geoseg.vectorize(path, tmp_path / "out.gpkg", regions=frame, region_id="name", min_area_m2=0)
    assert result.regions is not None
    assert result.regions["built_area_m2"].sum() == pytest.approx(result.area_m2, rel=1e-9)
    assert result.buildings is not None
    assert result.buildings["regularized"].mean() > 0.8


def test_a_shape_that_the_edge_tears_is_told() -> None:
    """A fork whose handle lies outside the image falls into its prongs."""
    fork = shapely.union_all([shapely.box(-2, 0, -1, 9), shapely.box(-1, 0, 9, 3), shapely.box(-1, 6, 9, 9)])
    traced = shapely.union_all([shapely.box(0, 0, 1, 9), shapely.box(0, 0, 9, 3), shapely.box(0, 6, 9, 9)])
    shapes, outlines = np.array([fork], object), np.array([traced], object)
    assert fit_to_image(shapes, outlines, ONE, IMAGE, 1.0)[1].tolist() == [True]


def test_a_shape_beyond_the_edge_is_told() -> None:
    gone, traced = np.array([shapely.box(-3, 5, -1, 9)], object), np.array([shapely.box(0, 5, 1, 9)], object)
    assert fit_to_image(gone, traced, ONE, IMAGE, 1.0)[1].tolist() == [True]


def test_a_shallow_shape_does_not_vanish() -> None:
    """All its corners are within reach of the edge; it is only cut off there."""
    shallow, traced = (
        np.array([shapely.box(-1, 5, 1, 9)], object),
        np.array([shapely.box(0, 5, 1, 9)], object),
    )
    fitted, failed = fit_to_image(shallow, traced, ONE, IMAGE, 1.0)
    assert fitted[0].equals(traced[0])
    assert not failed.any()


def test_where_nothing_is_near_the_edge_nothing_changes() -> None:
    inner = np.array([shapely.box(5, 5, 9, 9)], object)
    assert fit_to_image(inner, inner, ONE, IMAGE, 1.0)[0].tolist() == inner.tolist()
    none = np.array([], object)
    assert len(fit_to_image(none, none, ONE[:0], IMAGE, 1.0)[0]) == 0
