from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import GRID, LONLAT, MERCATOR, UTM33, footprints, moved, scattered
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import geometry_mask

from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs, Extent
from geoseg.footprints.write.spool import REGION_COLUMNS
from geoseg.raster.grid import Grid, Window
from geoseg.regions.adjustment import ConfusionMatrix
from geoseg.regions.polygons import Regions, read_regions
from geoseg.regions.statistics import RegionStatistics

AREA = AreaCrs.choose(GRID)
LEFT, BOTTOM, RIGHT, TOP = GRID.bounds
TWO = {1: "residential", 2: "other"}


def named(shapes: Sequence[object], crs: CRS = UTM33) -> Regions:
    return Regions(tuple("abcdefghij"[: len(shapes)]), np.array(shapes, dtype=object), crs)


def table_of(
    regions: Regions, frame: gpd.GeoDataFrame, classes: dict[int, str] | None = None, batch: int = 10**9
) -> gpd.GeoDataFrame:
    statistics = RegionStatistics(regions, AREA, classes or {1: "building"}, GRID)
    for start in range(0, len(frame), batch):
        statistics.add_footprints(frame.iloc[start : start + batch])
    return statistics.table()


def uneven_partition(crs: CRS) -> Regions:
    """Three boxes over the grid, one of whose corners lies on another's edge, straight in their own CRS."""
    left, bottom, right, top = moved([shapely.box(*GRID.bounds).buffer(99)], UTM33, crs)[0].bounds
    x, y = (left + right) / 2, (bottom + top) / 2
    return named(
        [shapely.box(left, bottom, x, top), shapely.box(x, bottom, right, y), shapely.box(x, y, right, top)],
        crs,
    )


@pytest.mark.parametrize("crs", [UTM33, LONLAT, MERCATOR, CRS.from_epsg(32632), CRS.from_epsg(3035)], ids=str)
def test_a_partition_adds_up_to_the_whole(crs: CRS) -> None:
    frame = footprints(scattered(count=1000))
    table = table_of(uneven_partition(crs), frame)
    assert table["built_area_m2"].sum() == pytest.approx(frame["area_m2"].sum(), rel=1e-9)
    assert table["buildings"].sum() == len(frame)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), cuts=st.integers(2, 9), lonlat=st.booleans())
def test_any_partition_adds_up_and_counts_once(seed: int, cuts: int, lonlat: bool) -> None:
    rng = np.random.default_rng(seed)
    points = shapely.MultiPoint(rng.uniform((LEFT, BOTTOM), (RIGHT, TOP), (cuts, 2)))
    around = shapely.box(*GRID.bounds).buffer(50)
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=around)).tolist()
    crs = LONLAT if lonlat else UTM33
    frame = footprints(scattered(count=60, seed=seed))
    table = table_of(named(moved(cells, UTM33, crs).tolist(), crs), frame)
    assert table["built_area_m2"].sum() == pytest.approx(frame["area_m2"].sum(), rel=1e-9)
    assert table["buildings"].sum() == len(frame)


def test_a_building_on_a_border_is_split_exactly_and_counted_once() -> None:
    house = shapely.box(LEFT + 90, TOP - 30, LEFT + 120, TOP - 10)
    border = LEFT + 100
    regions = named([shapely.box(LEFT, BOTTOM, border, TOP), shapely.box(border, BOTTOM, RIGHT, TOP)])
    frame = footprints(np.array([house]))
    table = table_of(regions, frame)
    assert table["built_area_m2"].to_numpy() / frame["area_m2"][0] == pytest.approx([1 / 3, 2 / 3], rel=1e-6)
    assert table["buildings"].tolist() == [0, 1]


def test_a_large_polygon_is_split_truly_where_the_plane_distorts() -> None:
    field = moved([shapely.box(9, 60, 9.2, 60.4)], LONLAT, MERCATOR)
    border = moved([shapely.Point(9, 60.1)], LONLAT, MERCATOR)[0].y
    left, bottom, right, top = field[0].buffer(1000).bounds
    regions = named(
        [shapely.box(left, bottom, right, border), shapely.box(left, border, right, top)], MERCATOR
    )
    place = Extent(MERCATOR, field[0].bounds)
    area = AreaCrs.choose(place)
    frame = gpd.GeoDataFrame(
        {"class": ["building"], "area_m2": area.areas(field, MERCATOR)}, geometry=field, crs=MERCATOR
    )
    statistics = RegionStatistics(regions, area, {1: "building"}, place)
    statistics.add_footprints(frame)
    parts = area.areas([shapely.intersection(field[0], shape) for shape in regions.shapes], MERCATOR)
    built = statistics.table()["built_area_m2"].to_numpy()
    assert built == pytest.approx(parts, rel=1e-4)
    assert built.sum() == pytest.approx(frame["area_m2"][0], rel=1e-9)


def test_a_representative_point_on_a_border_counts_in_one_region() -> None:
    house = shapely.box(LEFT + 90, TOP - 30, LEFT + 110, TOP - 10)
    border = shapely.point_on_surface(house).x
    regions = named([shapely.box(LEFT, BOTTOM, border, TOP), shapely.box(border, BOTTOM, RIGHT, TOP)])
    assert table_of(regions, footprints(np.array([house])))["buildings"].tolist() == [1, 0]


def test_sizes_and_confidence_are_those_of_the_counted_footprints() -> None:
    frame = footprints(scattered(count=500), classes=("residential", "other"))
    regions = uneven_partition(UTM33)
    table = table_of(regions, frame, TWO, batch=37)
    points = frame.geometry.representative_point()
    for row in table.itertuples():
        mine = frame[points.within(row.geometry) & (frame["class"] == row[2])]
        assert row.buildings == len(mine) > 20
        assert row.mean_area_m2 == pytest.approx(mine["area_m2"].mean(), rel=1e-12)
        assert row.median_area_m2 == np.median(mine["area_m2"])
        assert row.p90_area_m2 == pytest.approx(np.percentile(mine["area_m2"], 90), rel=1e-12)
        assert row.mean_confidence == pytest.approx(np.nanmean(mine["confidence"]), rel=1e-12)


def test_the_table_does_not_depend_on_batches() -> None:
    frame = footprints(scattered(count=300))
    whole = table_of(uneven_partition(LONLAT), frame)
    for batch in (1, 7, 100):
        assert table_of(uneven_partition(LONLAT), frame, batch=batch).equals(whole)


def test_one_row_per_region_and_class_with_the_columns_in_order() -> None:
    table = table_of(uneven_partition(UTM33), footprints(scattered(), classes=("residential", "other")), TWO)
    assert list(table.columns) == [column.name for column in REGION_COLUMNS] + ["geometry"]
    assert list(zip(table["region"], table["class"], strict=True)) == [
        (region, kind) for region in "abc" for kind in ("residential", "other")
    ]


def test_each_footprint_is_told_its_region() -> None:
    frame = footprints(scattered())
    west = named([shapely.box(LEFT, BOTTOM, LEFT + 300, TOP)])
    names = RegionStatistics(west, AREA, {1: "building"}, GRID).add_footprints(frame)
    inside = frame.geometry.representative_point().x < LEFT + 300
    assert [name == "a" for name in names] == inside.tolist()
    assert all(name is None for name in names[~inside])


def test_overlapping_regions_count_each_for_itself() -> None:
    frame = footprints(scattered())
    everything = shapely.box(*GRID.bounds).buffer(10)
    statistics = RegionStatistics(
        named([everything, everything.buffer(5), everything]), AREA, {1: "building"}, GRID
    )
    names = statistics.add_footprints(frame)
    table = statistics.table()
    assert table["buildings"].tolist() == [len(frame)] * 3
    assert table["built_area_m2"].to_numpy() == pytest.approx([frame["area_m2"].sum()] * 3, rel=1e-12)
    assert set(names) == {"a"}


def test_regions_outside_the_scene_are_there_and_empty() -> None:
    away = shapely.box(LEFT + 5000, BOTTOM, RIGHT + 5000, TOP)
    statistics = RegionStatistics(named([away, shapely.box(*GRID.bounds)]), AREA, {1: "building"}, GRID)
    statistics.add_footprints(footprints(scattered()))
    statistics.add_strip(
        Window(0, 0, *GRID.shape), np.zeros(GRID.shape, np.uint8), np.full(GRID.shape, 50, np.uint8)
    )
    row = statistics.table().iloc[0]
    assert (row["buildings"], row["built_area_m2"], row["seen_area_m2"], row["expected_area_m2"]) == (
        0,
        0,
        0,
        0,
    )
    assert row["region_area_m2"] == pytest.approx(480_000, rel=1e-3)
    assert np.isnan([row["share"], row["mean_area_m2"], row["median_area_m2"], row["mean_confidence"]]).all()


def test_multipolygons_with_holes() -> None:
    ring = shapely.box(LEFT, BOTTOM, RIGHT, TOP) - shapely.box(
        LEFT + 200, BOTTOM + 200, RIGHT - 200, TOP - 200
    )
    far = shapely.box(LEFT + 9000, BOTTOM, LEFT + 9100, TOP)
    frame = footprints(scattered(count=400))
    table = table_of(named([shapely.union(ring, far)]), frame)
    inside = shapely.area(shapely.intersection(frame.geometry.array, ring)) / shapely.area(
        frame.geometry.array
    )
    assert table["built_area_m2"][0] == pytest.approx((inside * frame["area_m2"]).sum(), rel=1e-7)


def test_an_area_without_buildings() -> None:
    table = table_of(uneven_partition(UTM33), footprints(np.empty(0, dtype=object)))
    assert table["buildings"].tolist() == [0, 0, 0]
    assert table["built_area_m2"].tolist() == [0, 0, 0]
    assert table["share"].tolist() == [0, 0, 0]


def rasters(seed: int = 0, bands: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2, GRID.shape, dtype=np.uint8)
    mask[:200, :300] = 255
    return mask, rng.integers(0, 251, (bands, *GRID.shape), dtype=np.uint8)


def fed(
    statistics: RegionStatistics, mask: NDArray[np.uint8], probability: NDArray[np.uint8], height: int
) -> gpd.GeoDataFrame:
    for row in range(0, GRID.height, height):
        window = Window(row, 0, min(height, GRID.height - row), GRID.width)
        rows = slice(row, window.stop_row)
        statistics.add_strip(window, mask[rows], probability[:, rows])
    return statistics.table()


def test_seen_and_expected_area_by_pixels() -> None:
    mask, probability = rasters()
    aligned = named([shapely.box(LEFT + 100, TOP - 300, LEFT + 500, TOP - 50), shapely.box(*GRID.bounds)])
    table = fed(RegionStatistics(aligned, AREA, {1: "building"}, GRID), mask, probability, 64)
    rows, cols = np.mgrid[: GRID.height, : GRID.width] + 0.5
    sizes = AREA.compute_pixel_areas(GRID).at(rows, cols)
    for shape, row in zip(aligned.shapes, table.itertuples(), strict=True):
        mine = geometry_mask([shape], GRID.shape, GRID.transform, invert=True) & (mask != 255)
        assert row.seen_area_m2 == pytest.approx(sizes[mine].sum(), rel=1e-6)
        assert row.expected_area_m2 == pytest.approx((sizes * probability[0] * 0.004)[mine].sum(), rel=1e-6)


def test_the_rasters_sums_do_not_depend_on_strips() -> None:
    mask, probability = rasters()
    tables = [
        fed(
            RegionStatistics(uneven_partition(LONLAT), AREA, {1: "building"}, GRID), mask, probability, height
        )
        for height in (1, 37, 256, GRID.height)
    ]
    assert all(table.equals(tables[0]) for table in tables)


def test_a_region_seen_wholly_has_its_own_area_seen() -> None:
    circle = shapely.Point(LEFT + 500, TOP - 400).buffer(77.7)
    table = fed(RegionStatistics(named([circle]), AREA, {1: "building"}, GRID), *rasters(), 100)
    assert table["seen_area_m2"][0] == pytest.approx(table["region_area_m2"][0], rel=1e-6)


def test_share_is_of_the_seen_area() -> None:
    mask, probability = rasters()
    frame = footprints(scattered())
    everything = named([shapely.box(*GRID.bounds).buffer(100)])
    statistics = RegionStatistics(everything, AREA, {1: "building"}, GRID)
    statistics.add_footprints(frame)
    row = fed(statistics, mask, probability, 128).iloc[0]
    assert row["share"] == row["built_area_m2"] / row["seen_area_m2"]
    assert row["seen_area_m2"] == pytest.approx(
        AREA.areas([shapely.box(*GRID.bounds)], UTM33)[0] * 7 / 8, rel=1e-6
    )


def test_without_a_raster_share_is_of_the_region() -> None:
    row = table_of(uneven_partition(UTM33), footprints(scattered())).iloc[0]
    assert row["share"] == row["built_area_m2"] / row["region_area_m2"]
    assert np.isnan([row["seen_area_m2"], row["expected_area_m2"], row["adjusted_area_m2"]]).all()


@pytest.mark.parametrize("bands", [2, 3], ids=["classes only", "with background"])
def test_each_class_expects_its_own_band(bands: int) -> None:
    mask, _ = rasters()
    probability = np.stack([np.full(GRID.shape, 250 // (index + 1), np.uint8) for index in range(bands)])
    everything = named([shapely.box(*GRID.bounds)])
    row = fed(RegionStatistics(everything, AREA, TWO, GRID), mask, probability, 100)
    part = row["expected_area_m2"] / row["seen_area_m2"]
    levels = probability[-2:, 0, 0] * 0.004
    assert part.to_numpy() == pytest.approx(levels, rel=1e-6)


def test_probabilities_as_floats() -> None:
    mask, probability = rasters()
    floats = (probability * np.float32(0.004)).astype(np.float32)
    floats[:, 500:] = np.nan
    everything = named([shapely.box(*GRID.bounds)])
    table = fed(RegionStatistics(everything, AREA, {1: "building"}, GRID), mask, floats, 100)
    probability[:, 500:] = 255
    bytes_table = fed(RegionStatistics(everything, AREA, {1: "building"}, GRID), mask, probability, 100)
    assert table["expected_area_m2"][0] == pytest.approx(bytes_table["expected_area_m2"][0], rel=1e-6)


def test_without_a_mask_nodata_of_the_probability_is_unseen() -> None:
    _, probability = rasters()
    probability[:, :150] = 255
    statistics = RegionStatistics(named([shapely.box(*GRID.bounds)]), AREA, {1: "building"}, GRID)
    statistics.add_strip(Window(0, 0, *GRID.shape), None, probability[0])
    row = statistics.table().iloc[0]
    assert row["seen_area_m2"] / row["region_area_m2"] == pytest.approx(0.75, rel=1e-6)


def test_the_adjusted_area_follows_the_estimator() -> None:
    matrix = ConfusionMatrix(("background", "other", "residential"), ((95, 2, 3), (4, 40, 6), (5, 1, 44)))
    frame = footprints(scattered(), classes=("residential", "other"))
    everything = named([shapely.box(*GRID.bounds).buffer(100)])
    statistics = RegionStatistics(everything, AREA, TWO, GRID, matrix)
    statistics.add_footprints(frame)
    table = fed(statistics, *rasters(bands=2), 100)
    residential, other = table["built_area_m2"]
    mapped = np.array([table["seen_area_m2"][0] - residential - other, other, residential])
    area, low, high = matrix.adjust_areas(mapped)
    assert table["adjusted_area_m2"].tolist() == pytest.approx(area[[2, 1]])
    assert table["adjusted_low_m2"].tolist() == pytest.approx(low[[2, 1]])
    assert table["adjusted_high_m2"].tolist() == pytest.approx(high[[2, 1]])


@pytest.mark.parametrize("crs", [LONLAT, CRS.from_epsg(32760), MERCATOR], ids=["degrees", "utm", "mercator"])
@pytest.mark.parametrize(
    "region",
    [
        shapely.MultiPolygon([shapely.box(179.9, -18, 180, -16), shapely.box(-180, -18, -179.9, -16)]),
        shapely.Polygon([(179.9, -18), (-179.9, -18), (-179.9, -16), (179.9, -16)]),
    ],
    ids=["cut in two", "ring across"],
)
def test_buildings_on_the_antimeridian(crs: CRS, region: shapely.Geometry) -> None:
    lonlat = np.array([shapely.box(lon, -17, lon + 2e-4, -16.9998) for lon in (179.9997, 179.9999, 180.0001)])
    wrapped = moved(lonlat, LONLAT, crs) if crs.to_epsg() == 32760 else lonlat
    if crs == MERCATOR:
        turn = 2 * np.pi * 6_378_137
        wrapped = shapely.transform(lonlat, lambda x, y: (x * turn / 360, moved_y(y)), interleaved=False)
    bounds = tuple(shapely.total_bounds(wrapped))
    grid = Grid(
        crs,
        Affine((bounds[2] - bounds[0]) / 100, 0, bounds[0], 0, -(bounds[3] - bounds[1]) / 50, bounds[3]),
        50,
        100,
    )
    area = AreaCrs.choose(grid)
    frame = gpd.GeoDataFrame(
        {"class": ["building"] * 3, "area_m2": area.areas(wrapped, crs)}, geometry=wrapped, crs=crs
    )
    statistics = RegionStatistics(named([region], LONLAT), area, {1: "building"}, grid)
    assert statistics.add_footprints(frame).tolist() == ["a"] * 3
    statistics.add_strip(Window(0, 0, 50, 100), np.zeros((50, 100), np.uint8), None)
    row = statistics.table().iloc[0]
    assert row["buildings"] == 3
    assert row["built_area_m2"] == pytest.approx(frame["area_m2"].sum(), rel=1e-9)
    assert row["seen_area_m2"] == pytest.approx(area.areas([shapely.box(*grid.bounds)], crs)[0], rel=1e-4)


def moved_y(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Northings of Web Mercator."""
    return np.asarray([point.y for point in moved([shapely.Point(0, lat) for lat in y], LONLAT, MERCATOR)])


def test_a_scene_over_the_pole() -> None:
    polar = CRS.from_epsg(3413)
    grid = Grid(polar, Affine(1000, 0, -50_000, 0, -1000, 50_000), 100, 100)
    area = AreaCrs.choose(grid)
    cap = shapely.box(-180, 80, 180, 90)
    statistics = RegionStatistics(named([cap], LONLAT), area, {1: "building"}, grid)
    polygons = scattered(grid, 30)
    frame = gpd.GeoDataFrame(
        {"class": "building", "area_m2": area.areas(polygons, polar)}, geometry=polygons, crs=polar
    )
    statistics.add_footprints(frame)
    statistics.add_strip(Window(0, 0, 100, 100), np.zeros((100, 100), np.uint8), None)
    row = statistics.table().iloc[0]
    assert row["seen_area_m2"] == pytest.approx(area.areas([shapely.box(*grid.bounds)], polar)[0], rel=1e-3)


def test_classes_must_be_known() -> None:
    with pytest.raises(InputError, match="none of the classes residential, other"):
        table_of(uneven_partition(UTM33), footprints(scattered()), TWO)


def test_strips_need_a_grid_and_something_in_them() -> None:
    regions = uneven_partition(UTM33)
    window = Window(0, 0, *GRID.shape)
    with pytest.raises(InputError, match="need the raster's grid"):
        RegionStatistics(regions, AREA, {1: "building"}, Extent(UTM33, GRID.bounds)).add_strip(
            window, rasters()[0], None
        )
    with pytest.raises(InputError, match="a mask or a probability"):
        RegionStatistics(regions, AREA, {1: "building"}, GRID).add_strip(window, None, None)


def test_bands_must_fit_the_classes() -> None:
    mask, probability = rasters(bands=1)
    with pytest.raises(InputError, match="1 bands does not fit the classes residential, other"):
        fed(RegionStatistics(uneven_partition(UTM33), AREA, TWO, GRID), mask, probability, 100)


def test_a_matrix_of_other_classes_is_refused() -> None:
    matrix = ConfusionMatrix(("background", "road"), ((9, 1), (1, 9)))
    with pytest.raises(InputError, match="knows road; the footprints are building"):
        RegionStatistics(uneven_partition(UTM33), AREA, {1: "building"}, GRID, matrix)


def test_squares_share_the_sum() -> None:
    frame = footprints(scattered(count=400))
    table = table_of(read_regions("grid:250m", GRID), frame)
    assert table["built_area_m2"].sum() == pytest.approx(frame["area_m2"].sum(), rel=1e-9)
