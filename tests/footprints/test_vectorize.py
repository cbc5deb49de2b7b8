"""A mask on disk becomes a file of footprints, the same for any strips and workers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from calls import killed
from heard import Heard
from pyproj import Transformer
from rasterio.features import shapes
from scipy.ndimage import gaussian_filter

import geoseg
from geoseg.errors import GeosegError, InputError
from geoseg.raster.mask import open_mask
from geoseg.workflows.options import FootprintOptions
from geoseg.workflows.tracer import MaskStrip
from geoseg.workflows.vectorize import vectorize_mask
from geoseg.workflows.vectorizer import Vectorizer

UTM = "EPSG:32632"
NODATA = 255
NAMES = {1: "house", 2: "hall"}
LOW = (80, 650)
"""A town of as many pixels in fewer rows, for strips of one row each."""
AS_TRACED = FootprintOptions(min_area_m2=0, max_hole_m2=0, regularize=False)


def write(path: Path, values, *, gsd_m=0.5, crs=UTM, nodata=NODATA, scale=None, **profile) -> Path:
    values = np.atleast_3d(values.T).T
    count, height, width = values.shape
    transform = profile.pop("transform", Affine(gsd_m, 0, 500_000, 0, -gsd_m, 5_300_000))
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype,
        crs=crs, transform=transform, nodata=nodata, **profile,
    ) as raster:  # fmt: skip
        raster.write(values)
        if scale:
            raster.scales = [scale] * count
    return path


def town(height=260, width=200, seed=1, classes=(0, 1, 1)) -> np.ndarray:
    chance = np.random.default_rng(seed)
    mask = np.zeros((height, width), dtype=np.uint8)
    for _ in range(150):
        row, col = chance.integers(0, height), chance.integers(0, width)
        tall, wide = chance.integers(3, 30, 2)
        mask[row : row + tall, col : col + wide] = chance.choice(classes)
    return mask


def footprints(path: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(path, layer="buildings" if path.suffix == ".gpkg" else None)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_footprints_are_gdals_polygons_on_the_map(tmp_path: Path) -> None:
    values = town()
    mask = write(tmp_path / "mask.tif", values)
    summary = vectorize_mask(open_mask(str(mask)), tmp_path / "out.gpkg", AS_TRACED, strip_rows=37)
    ours = footprints(tmp_path / "out.gpkg")
    with rasterio.open(mask) as raster:
        theirs = [
            shapely.geometry.shape(s) for s, _ in shapes(values, values == 1, transform=raster.transform)
        ]
    assert summary.footprints == len(ours) == len(theirs)
    order = np.lexsort(shapely.bounds(ours.geometry.array).T)
    expected = np.array(theirs)[np.lexsort(shapely.bounds(theirs).T)]
    assert shapely.equals(shapely.make_valid(expected), ours.geometry.array[order]).all()
    assert ours["id"].tolist() == list(range(1, len(ours) + 1))
    np.testing.assert_allclose(ours["area_m2"], ours.area, rtol=2e-3)
    np.testing.assert_allclose(summary.area_m2, ours["area_m2"].sum())
    assert ours.crs == UTM
    assert set(ours["class"]) == {"building"}
    assert ours["confidence"].isna().all()


@pytest.mark.parametrize(
    ("options", "processes"),
    [
        (FootprintOptions(), 2),
        (FootprintOptions(connectivity=8, simplify_m=0.8), 0),
        (FootprintOptions(split="touching"), 1),
        (FootprintOptions(regularize=False, regions="grid:50m"), 0),
    ],
    ids=["regularized", "simplified", "split", "regions"],
)
def test_the_file_depends_on_neither_strips_nor_workers(
    tmp_path: Path, options: FootprintOptions, processes: int
) -> None:
    values = town(*LOW, classes=(0, 1, 1, 2))
    chance = np.random.default_rng(5).integers(100, 251, values.shape, dtype=np.uint8)
    mask = write(tmp_path / "mask.tif", values)
    probability = write(tmp_path / "probability.tif", chance, scale=0.004)
    opened = open_mask(str(mask), probability=str(probability))
    digests = set()
    for number, (rows, workers) in enumerate([(None, 0), (1, 0), (23, processes), (1000, 0)]):
        out = tmp_path / f"{number}" / "out.gpkg"
        out.parent.mkdir()
        vectorize_mask(opened, out, options, names=NAMES, workers=workers, strip_rows=rows)
        digests.add(digest(out))
    assert len(digests) == 1


def test_strips_fed_one_by_one_equal_the_whole_mask(tmp_path: Path) -> None:
    values, chance = town(), np.random.default_rng(2).integers(0, 251, (260, 200), dtype=np.uint8)
    mask = write(tmp_path / "mask.tif", values)
    probability = write(tmp_path / "probability.tif", chance, scale=0.004)
    opened = open_mask(str(mask), probability=str(probability))
    vectorize_mask(opened, tmp_path / "whole.gpkg")
    with Vectorizer(opened.grid, tmp_path / "fed.gpkg", FootprintOptions()) as vectorizer:
        for row in range(0, 260, 100):
            some = slice(row, min(row + 100, 260))
            strip = MaskStrip(
                row,
                some.stop - row,
                write(tmp_path / f"mask{row}.tif", values[some]),
                write(tmp_path / f"probability{row}.tif", chance[some]),
            )
            vectorizer.add(strip)
    assert digest(tmp_path / "whole.gpkg") == digest(tmp_path / "fed.gpkg")
    assert vectorizer.counts.footprints == len(footprints(tmp_path / "fed.gpkg"))


def write_outputs(path: Path, mask: np.ndarray, seed: int = 3) -> Path:
    """Every output of a network: probabilities, boundary and distance, blotchy enough to separate something."""
    chance = np.random.default_rng(seed)
    blotches = np.stack([gaussian_filter(chance.normal(size=mask.shape), 2) for _ in range(3)])
    bands = (125 + 60 * blotches / blotches.std(axis=(1, 2), keepdims=True)).clip(0, 250).astype(np.uint8)
    write(path, bands, scale=0.004)
    with rasterio.open(path, "r+") as raster:
        raster.descriptions = ("building", "boundary", "distance")
    return path


def test_outputs_that_tell_boundaries_separate_in_any_strips_and_workers(tmp_path: Path) -> None:
    values = town(*LOW)
    mask = write(tmp_path / "mask.tif", values)
    opened = open_mask(str(mask), probability=str(write_outputs(tmp_path / "outputs.tif", values)))
    assert opened.tells_boundaries
    found = {}
    for rows, workers in ((None, 0), (1, 0), (23, 1)):
        out = tmp_path / f"{rows}.gpkg"
        found[rows] = vectorize_mask(opened, out, workers=workers, strip_rows=rows).footprints
    assert len({(tmp_path / f"{rows}.gpkg").read_bytes() for rows in found}) == 1
    whole = vectorize_mask(opened, tmp_path / "whole.gpkg", FootprintOptions(split="none"))
    assert found[None] > whole.footprints
    separated, alone = (footprints(tmp_path / name) for name in ("None.gpkg", "whole.gpkg"))
    assert separated["area_m2"].sum() == pytest.approx(alone["area_m2"].sum(), rel=0.01)
    assert separated["confidence"].between(0, 1).all()
    assert shapely.area(separated.geometry.array).sum() == pytest.approx(
        shapely.union_all(separated.geometry.array).area, abs=0.01
    )


def test_every_output_of_a_network_alone_separates_as_it_does_beside_its_mask(tmp_path: Path) -> None:
    outputs = write_outputs(tmp_path / "outputs.tif", town(*LOW))
    with rasterio.open(outputs) as raster:
        chances = raster.read(1)
    mask = write(tmp_path / "mask.tif", (chances * 0.004 >= 0.5).astype(np.uint8))
    alone, beside = tmp_path / "alone.gpkg", tmp_path / "beside.gpkg"
    vectorize_mask(open_mask(str(outputs), threshold=0.5), alone)
    vectorize_mask(open_mask(str(mask), probability=str(outputs)), beside)
    assert len(footprints(alone)) > 0
    assert digest(alone) == digest(beside)


def test_probabilities_of_other_names_separate_nothing(tmp_path: Path) -> None:
    values = town()
    mask = write(tmp_path / "mask.tif", values)
    outputs = write_outputs(tmp_path / "outputs.tif", values)
    with rasterio.open(outputs, "r+") as raster:
        raster.descriptions = ("background", "building", "boundary")
    assert not open_mask(str(mask), probability=str(outputs)).tells_boundaries
    plain = write(tmp_path / "plain.tif", np.full(values.shape, 200, np.uint8), scale=0.004)
    assert not open_mask(str(mask), probability=str(plain)).tells_boundaries
    assert not open_mask(str(mask)).tells_boundaries


def test_confidence_is_the_mean_probability_inside(tmp_path: Path) -> None:
    values = np.zeros((8, 8), dtype=np.uint8)
    values[1:3, 1:5], values[5:7, 2:4] = 1, 1
    chance = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    chance[1, 1] = np.nan
    mask = write(tmp_path / "mask.tif", values)
    probability = write(tmp_path / "probability.tif", chance, nodata=np.nan)
    vectorize_mask(
        open_mask(str(mask), probability=str(probability)), tmp_path / "out.gpkg", AS_TRACED, strip_rows=2
    )
    expected = [np.nanmean(chance[1:3, 1:5]), chance[5:7, 2:4].mean()]
    np.testing.assert_allclose(footprints(tmp_path / "out.gpkg")["confidence"], expected, atol=1e-5)


def test_with_several_classes_confidence_is_that_of_the_own_class(tmp_path: Path) -> None:
    values = np.zeros((6, 9), dtype=np.uint8)
    values[1:4, 1:4], values[1:4, 5:8] = 1, 2
    chance = np.stack([np.full((6, 9), value, np.uint8) for value in (10, 150, 225)])
    mask = write(tmp_path / "mask.tif", values)
    probability = write(tmp_path / "probability.tif", chance, scale=0.004)
    opened = open_mask(str(mask), probability=str(probability))
    vectorize_mask(opened, tmp_path / "out.gpkg", FootprintOptions(min_area_m2=0), names=NAMES)
    found = footprints(tmp_path / "out.gpkg").set_index("class")["confidence"]
    np.testing.assert_allclose(found[["house", "hall"]], [0.6, 0.9])


def test_a_probability_with_a_threshold_is_mask_and_confidence(tmp_path: Path) -> None:
    chance = np.zeros((6, 6), dtype=np.float32)
    chance[2:5, 2:5] = [[0.5, 0.6, 0.7], [0.8, 0.9, 1.0], [0.49, 0.8, 0.3]]
    raster = write(tmp_path / "probability.tif", chance, nodata=None)
    vectorize_mask(open_mask(str(raster), threshold=0.5), tmp_path / "out.gpkg", AS_TRACED)
    found = footprints(tmp_path / "out.gpkg")
    np.testing.assert_allclose(found["confidence"], [chance[chance >= 0.5].mean()], atol=1e-5)
    np.testing.assert_allclose(found.area, 7 * 0.25)


def test_heights_with_a_threshold_have_no_confidence(tmp_path: Path) -> None:
    heights = np.pad(np.full((4, 4), 7.5, dtype=np.float32), 2)
    raster = write(tmp_path / "heights.tif", heights, nodata=-9999)
    vectorize_mask(open_mask(str(raster), threshold=2.5), tmp_path / "out.gpkg", AS_TRACED)
    found = footprints(tmp_path / "out.gpkg")
    assert len(found) == 1
    assert found["confidence"].isna().all()


def test_what_touches_the_edge_or_nodata_says_so(tmp_path: Path) -> None:
    values = np.zeros((12, 16), dtype=np.uint8)
    values[0:3, 2:5], values[5:8, 5:8], values[5:8, 11:14] = 1, 1, 1
    values[5:8, 14:] = NODATA
    vectorize_mask(
        open_mask(str(write(tmp_path / "m.tif", values))), tmp_path / "out.gpkg", AS_TRACED, strip_rows=3
    )
    found = footprints(tmp_path / "out.gpkg")
    assert found["touches_edge"].astype(bool).tolist() == [True, False, False]
    assert found["touches_nodata"].astype(bool).tolist() == [False, False, True]


def test_small_footprints_go_and_small_holes_are_filled_by_true_size(tmp_path: Path) -> None:
    values = np.zeros((30, 40), dtype=np.uint8)
    values[2:12, 2:12], values[2:12, 20:36], values[20:22, 5:7] = 1, 1, 1
    values[4:6, 4:6] = 0
    values[4:8, 24:28] = 0
    # Web Mercator doubles lengths at 60 degrees: pixels of 1 m there are 0.25 true square metres.
    far_north = Affine(1, 0, 1_000_000, 0, -1, 8_399_737.9)
    mask = open_mask(str(write(tmp_path / "m.tif", values, crs="EPSG:3857", transform=far_north)))
    summary = vectorize_mask(
        mask, tmp_path / "o.gpkg", FootprintOptions(min_area_m2=3, max_hole_m2=1.5, regularize=False)
    )
    found = footprints(tmp_path / "o.gpkg")
    assert (summary.footprints, summary.dropped) == (2, 1)
    assert sorted(shapely.get_num_interior_rings(found.geometry.array)) == [0, 1]
    np.testing.assert_allclose(sorted(found["area_m2"]), [100 / 4, (160 - 16) / 4], rtol=5e-3)


def test_a_hole_that_holds_a_footprint_is_never_filled(tmp_path: Path) -> None:
    values = np.pad(np.pad(np.ones((3, 3), np.uint8), 1), 2, constant_values=1)
    mask = open_mask(str(write(tmp_path / "m.tif", np.pad(values, 1), gsd_m=1)))
    vectorize_mask(
        mask, tmp_path / "o.gpkg", FootprintOptions(min_area_m2=5, max_hole_m2=1000, regularize=False)
    )
    found = footprints(tmp_path / "o.gpkg")
    assert len(found) == 2
    assert shapely.intersection(*found.geometry).area == 0


def test_simplified_neighbours_keep_their_wall(tmp_path: Path) -> None:
    row, col = np.indices((80, 80))
    values = np.where(row + 0.3 * col < 50, 1, 2).astype(np.uint8)
    values[:5], values[-5:], values[:, :5], values[:, -5:] = 0, 0, 0, 0
    mask = open_mask(str(write(tmp_path / "m.tif", values)))
    vectorize_mask(mask, tmp_path / "o.gpkg", FootprintOptions(simplify_m=1.0, regularize=False))
    one, other = footprints(tmp_path / "o.gpkg").geometry
    traced = shapely.box(500_002.5, 5_299_962.5, 500_037.5, 5_299_997.5)
    assert shapely.intersection(one, other).area == pytest.approx(0, abs=1e-9)
    assert shapely.union(one, other).area == pytest.approx(traced.area, rel=0.02)
    assert shapely.get_num_coordinates([one, other]).max() < 20


@pytest.mark.parametrize(
    "options",
    [
        FootprintOptions(connectivity=8),
        FootprintOptions(split="touching"),
        FootprintOptions(simplify_m=1, regularize=False),
    ],
)
def test_every_shape_is_valid_and_simplified_ones_never_overlap(
    tmp_path: Path, options: FootprintOptions
) -> None:
    mask = open_mask(str(write(tmp_path / "m.tif", town(400, 400, seed=8))))
    vectorize_mask(mask, tmp_path / "o.gpkg", options)
    found = footprints(tmp_path / "o.gpkg").geometry.array
    assert shapely.is_valid(found).all()
    if not options.regularize and options.simplify_m:
        assert shapely.area(found).sum() == pytest.approx(shapely.union_all(found).area)


def test_the_crs_asked_for_is_that_of_the_file_and_areas_stay_true(tmp_path: Path) -> None:
    mask = open_mask(str(write(tmp_path / "m.tif", town())))
    here = vectorize_mask(mask, tmp_path / "here.gpkg")
    there = vectorize_mask(mask, tmp_path / "there.gpkg", FootprintOptions(crs="EPSG:4326"))
    found = footprints(tmp_path / "there.gpkg")
    assert found.crs == "EPSG:4326"
    assert there.area_m2 == pytest.approx(here.area_m2, rel=1e-6)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_footprints_that_the_antimeridian_crosses_are_in_one_piece(tmp_path: Path, crs: str) -> None:
    x, y = Transformer.from_crs(4326, 32760, always_xy=True).transform(180, -16)
    place = Affine(0.5, 0, x - 50, 0, -0.5, y)
    mask = open_mask(str(write(tmp_path / "m.tif", town(), crs="EPSG:32760", transform=place)))
    here = vectorize_mask(mask, tmp_path / "here.gpkg")
    there = vectorize_mask(mask, tmp_path / "there.gpkg", FootprintOptions(crs=crs))
    assert there.area_m2 == pytest.approx(here.area_m2, rel=1e-6)
    widths = footprints(tmp_path / "there.gpkg").to_crs("EPSG:32760").bounds.eval("maxx - minx")
    assert widths.max() < 150
    boxes = footprints(tmp_path / "there.gpkg").bounds
    assert (boxes["maxx"] - boxes["minx"]).max() < 150 * (1e-5 if crs == "EPSG:4326" else 1.1)


def test_a_raster_that_lies_turned_on_the_map_turns_its_footprints(tmp_path: Path) -> None:
    values = np.pad(np.ones((10, 30), dtype=np.uint8), 5)
    turned = Affine.translation(500_000, 5_300_000) @ Affine.rotation(-30) @ Affine.scale(0.5, -0.5)
    mask = open_mask(str(write(tmp_path / "m.tif", values, transform=turned)))
    vectorize_mask(mask, tmp_path / "o.gpkg")
    found = footprints(tmp_path / "o.gpkg").iloc[0]
    assert found["orientation_deg"] == pytest.approx(120, abs=0.01)
    assert found["length_m"] == pytest.approx(15, rel=1e-3)
    assert found.geometry.area == pytest.approx(75, rel=1e-6)


@pytest.mark.parametrize("degrees", [0.0, 1e-12, -1e-12])
def test_what_points_north_but_for_rounding_points_north(tmp_path: Path, degrees: float) -> None:
    values = np.pad(np.ones((30, 10), dtype=np.uint8), 5)
    turned = Affine.translation(500_000, 5_300_000) @ Affine.rotation(degrees) @ Affine.scale(0.5, -0.5)
    mask = open_mask(str(write(tmp_path / "m.tif", values, transform=turned)))
    vectorize_mask(mask, tmp_path / "o.gpkg", AS_TRACED)
    assert footprints(tmp_path / "o.gpkg")["orientation_deg"][0] == pytest.approx(0, abs=1e-9)


def test_a_raster_with_its_first_row_in_the_south_is_read_right(tmp_path: Path) -> None:
    values = np.zeros((20, 20), dtype=np.uint8)
    values[2:8, 3:15] = 1
    upward = Affine(0.5, 0, 500_000, 0, 0.5, 5_300_000)
    vectorize_mask(open_mask(str(write(tmp_path / "m.tif", values, transform=upward))), tmp_path / "o.gpkg")
    found = footprints(tmp_path / "o.gpkg")
    assert found.total_bounds == pytest.approx([500_001.5, 5_300_001, 500_007.5, 5_300_004])
    assert found["orientation_deg"][0] == pytest.approx(90)


def test_no_building_at_all_is_a_valid_empty_layer(tmp_path: Path) -> None:
    mask = open_mask(str(write(tmp_path / "m.tif", np.zeros((50, 40), dtype=np.uint8))))
    for name in ("o.gpkg", "o.fgb", "o.geojson", "o.parquet"):
        assert vectorize_mask(mask, tmp_path / name, strip_rows=7).footprints == 0
    assert len(footprints(tmp_path / "o.gpkg")) == 0
    assert "area_m2" in footprints(tmp_path / "o.gpkg")


def test_regions_are_counted_on_the_way(tmp_path: Path) -> None:
    chance = np.full((260, 200), 125, dtype=np.uint8)
    mask = write(tmp_path / "mask.tif", town())
    probability = write(tmp_path / "probability.tif", chance, scale=0.004)
    opened = open_mask(str(mask), probability=str(probability))
    summary = vectorize_mask(opened, tmp_path / "o.gpkg", FootprintOptions(regions="grid:1km"), strip_rows=50)
    regions = gpd.read_file(tmp_path / "o.gpkg", layer="regions")
    assert summary.regions == len(regions)
    assert regions["buildings"].sum() == summary.footprints
    assert regions["built_area_m2"].sum() == pytest.approx(summary.area_m2, rel=1e-9)
    assert regions["expected_area_m2"].sum() == pytest.approx(0.5 * regions["seen_area_m2"].sum())
    assert footprints(tmp_path / "o.gpkg")["region"].notna().all()


def test_classes_that_nobody_named_are_counted_too(tmp_path: Path) -> None:
    mask = str(write(tmp_path / "m.tif", town(classes=(0, 1, 2, 3))))
    result = geoseg.vectorize(mask, classes="2=hall", regions="grid:1km", min_area_m2=0)
    assert result.counts.footprints == result.regions["buildings"].sum()
    counted = result.regions.groupby("class")["buildings"].sum()
    assert dict(counted) == dict(result.buildings["class"].value_counts())
    assert set(counted.index) == {"class 1", "hall", "class 3"}


@pytest.mark.parametrize(
    ("classes", "words"),
    [(["1=a", "1=b"], "gives one value two names"), (["1=a", "2=a"], "give each class a name of its own")],
)
def test_names_of_classes_that_tell_nothing_are_refused(
    tmp_path: Path, classes: list[str], words: str
) -> None:
    mask = str(write(tmp_path / "m.tif", town()))
    with pytest.raises(InputError, match=rf"`classes` {classes[0]}, {classes[1]}: .*{words}"):
        geoseg.vectorize(mask, classes=classes, regions="grid:1km")


def test_a_file_that_is_there_is_kept_unless_overwrite_is_given(tmp_path: Path) -> None:
    mask = open_mask(str(write(tmp_path / "m.tif", town())))
    vectorize_mask(mask, tmp_path / "o.gpkg")
    before = digest(tmp_path / "o.gpkg")
    with pytest.raises(InputError, match="`overwrite`"):
        vectorize_mask(mask, tmp_path / "o.gpkg")
    assert digest(tmp_path / "o.gpkg") == before
    vectorize_mask(mask, tmp_path / "o.gpkg", FootprintOptions(overwrite=True))
    assert digest(tmp_path / "o.gpkg") == before


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_raster_leaves_nothing_behind(tmp_path: Path, workers: int) -> None:
    chance = np.random.default_rng(0).integers(0, 2, (512, 512), dtype=np.uint8)
    path = write(tmp_path / "m.tif", chance, compress="deflate")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"m\.tif: rows .* cannot be read"):
        vectorize_mask(open_mask(str(path)), tmp_path / "o.gpkg", workers=workers, strip_rows=64)
    assert [file.name for file in tmp_path.iterdir()] == ["m.tif"]


def test_a_killed_worker_is_told_in_one_line(tmp_path: Path) -> None:
    mask = open_mask(str(write(tmp_path / "m.tif", town())))
    with pytest.raises(GeosegError, match="`workers`"):  # noqa: SIM117 - the error comes from inside
        with Vectorizer(mask.grid, tmp_path / "o.gpkg", FootprintOptions(), workers=1) as vectorizer:
            vectorizer._workers.submit(killed)
    assert not (tmp_path / "o.gpkg").exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"connectivity": 6}, "`connectivity` 6"),
        ({"min_area_m2": -1}, "`min_area_m2` -1"),
        ({"max_hole_m2": float("nan")}, "`max_hole_m2` nan"),
        ({"simplify_m": float("inf")}, "`simplify_m` inf"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(option: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        FootprintOptions(**option)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"crs": "EPSG:nowhere"}, "`crs`"),
        ({"area_crs": "EPSG:4326"}, "`area_crs`"),
        ({"regions": "no.gpkg"}, "no.gpkg"),
    ],
)
def test_options_are_checked_before_any_work(tmp_path: Path, option: dict[str, str], words: str) -> None:
    mask = open_mask(str(write(tmp_path / "m.tif", town())))
    with pytest.raises(InputError, match=words):
        vectorize_mask(mask, tmp_path / "o.gpkg", FootprintOptions(**option))
    assert not (tmp_path / "o.gpkg").exists()


def test_areas_in_a_bad_crs_are_warned_about(tmp_path: Path, heard: Heard) -> None:
    mask = open_mask(str(write(tmp_path / "m.tif", town())))
    vectorize_mask(mask, tmp_path / "o.gpkg", FootprintOptions(area_crs="EPSG:3857"))
    assert any("too large" in line for line in heard.warnings)
