"""From a map to places to look at, and from the answers to figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from affine import Affine
from layers import GRID, LONLAT, footprints, write, write_raster
from pyproj import CRS, Transformer
from sampled import BOTTOM, LEFT, RIGHT, TOP, answer, draw, make_map

import geoseg
from geoseg.cli.main import geoseg as command_line
from geoseg.raster.grid import ELLIPSOID, Grid
from geoseg.regions.points import read_points


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map, two districts, and a sample that agrees with the map everywhere."""
    folder = tmp_path_factory.mktemp("place")
    make_map(folder)
    middle = (LEFT + RIGHT) / 2
    halves = [shapely.box(LEFT, BOTTOM, middle, TOP), shapely.box(middle, BOTTOM, RIGHT, TOP)]
    gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=halves, crs=GRID.crs).to_file(folder / "wards.gpkg")
    answer(draw(folder, "agreed.gpkg", points=120))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, list(map(str, arguments)))


def read(path: Path, layer: str = "points") -> gpd.GeoDataFrame:
    return gpd.read_file(path, layer=layer)


def test_each_stratum_has_its_points_area_and_chance(place: Path) -> None:
    frame = read(draw(place, "a.gpkg", points=100))
    assert len(frame) == 100
    assert frame["answer"].isin(["", None]).all()
    strata = frame.groupby("mapped").first()
    assert strata["stratum_m2"].sum() == pytest.approx(550 * 800, rel=1e-3)
    buildings = gpd.read_file(place / "buildings.gpkg", layer="buildings")
    assert strata.loc["building", "stratum_m2"] == pytest.approx(buildings["area_m2"].sum(), rel=1e-3)
    pixels = strata["stratum_points"] / strata["chance"]
    assert pixels.sum() == pytest.approx(550 * 800)
    assert strata["stratum_points"].min() >= 25


def test_points_lie_where_their_stratum_is_and_never_on_unseen_ground(place: Path) -> None:
    frame = read(draw(place, "b.gpkg", points=200))
    with rasterio.open(place / "mask.tif") as dataset:
        values = [v[0] for v in dataset.sample(zip(frame.geometry.x, frame.geometry.y, strict=True))]
    assert frame["mapped"].tolist() == ["building" if value == 1 else "background" for value in values]
    assert frame.duplicated("geometry").sum() == 0


def test_the_same_seed_draws_the_same_points_and_another_one_others(place: Path) -> None:
    one, again, other = (
        read(draw(place, "c.gpkg", seed=seed)).geometry.to_wkb().tolist() for seed in (3, 3, 4)
    )
    assert one == again
    assert set(one) != set(other)


def test_probabilities_make_strata_of_what_the_model_is_unsure_of(place: Path) -> None:
    frame = read(draw(place, "d.gpkg", points=200, probability=place / "probability.tif"))
    assert set(frame["stratum"]) == {
        "background",
        "background, uncertain",
        "building",
        "building, uncertain",
    }
    unsure = frame["stratum"].str.endswith("uncertain")
    assert (frame["probability"][unsure] == 0.5).all()
    assert not (frame["probability"][~unsure] == 0.5).any()


def test_every_region_gets_points_of_its_own(place: Path) -> None:
    frame = read(draw(place, "e.gpkg", points=80, regions=str(place / "wards.gpkg"), region_id="name"))
    counts = frame["stratum"].value_counts()
    assert set(counts.index) == {"west: background", "west: building", "east: background", "east: building"}
    assert counts.min() >= 10
    west = frame["stratum"].str.startswith("west")
    assert (frame.geometry.x[west] < (LEFT + RIGHT) / 2).all()
    assert (frame.geometry.x[~west] > (LEFT + RIGHT) / 2).all()


def test_in_degrees_pixels_are_drawn_by_their_true_area(tmp_path: Path) -> None:
    """From 59 to 71 degrees north: at the top, pixels cover less than two thirds of what they do at the bottom."""
    tall = Grid(LONLAT, Affine(0.1, 0, 10, 0, -0.02, 71), 600, 20)
    write(tmp_path / "buildings.gpkg", footprints(np.array([shapely.box(10.0, 70.9, 10.1, 71)]), LONLAT))
    write_raster(tmp_path / "mask.tif", np.zeros(tall.shape, np.uint8), tall, nodata=255)
    frame = read(draw(tmp_path, points=2000))
    inside = frame[frame["mapped"] == "background"]
    shares = np.histogram(inside.geometry.y, [59, 63, 67, 71])[0] / len(inside)
    areas = np.diff(np.sin(np.radians([59, 63, 67, 71])))
    assert shares == pytest.approx(areas / areas.sum(), abs=0.04)
    ground = shapely.segmentize(
        shapely.box(10, 59, 12, 71), 0.01
    )  # edges along parallels, as pixels have them
    true = abs(ELLIPSOID.geometry_area_perimeter(ground)[0])
    assert frame.groupby("stratum")["stratum_m2"].first().sum() == pytest.approx(true, rel=1e-3)


def test_a_map_read_in_many_strips_is_drawn_as_well(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.raster.mask.STRIP_PIXELS", 40 * 800)
    frame = read(draw(place, "strips.gpkg", points=200))
    whole = read(draw(place, "b.gpkg", points=200)).groupby("stratum")["stratum_m2"].first()
    assert frame.groupby("stratum")["stratum_m2"].first().to_dict() == pytest.approx(whole.to_dict())
    with rasterio.open(place / "mask.tif") as dataset:
        values = [v[0] for v in dataset.sample(zip(frame.geometry.x, frame.geometry.y, strict=True))]
    assert frame["mapped"].tolist() == ["building" if value == 1 else "background" for value in values]
    below = (TOP - frame.geometry.y) // 40
    assert below.nunique() > 10


@pytest.fixture
def two_classes(place: Path, tmp_path: Path) -> Path:
    """The same map with houses in the west and sheds in the east, in a layer of another name."""
    frame = gpd.read_file(place / "buildings.gpkg", layer="buildings")
    is_west = frame.geometry.bounds["minx"] < (LEFT + RIGHT) / 2
    frame.assign(**{"class": np.where(is_west, "house", "shed")}).to_file(
        tmp_path / "buildings.gpkg", layer="roofs"
    )
    for name in ("mask.tif", "wards.gpkg"):
        (tmp_path / name).write_bytes((place / name).read_bytes())
    return tmp_path


def test_several_classes_have_strata_answers_and_figures_of_their_own(two_classes: Path) -> None:
    sample = draw(two_classes, points=150, qgis_project=two_classes / "points.qgz")
    assert (two_classes / "points.qgz").exists()
    answer(sample, lambda number, mapped: "shed" if mapped == "house" and number % 4 == 0 else mapped)
    summary = json.loads(stats(two_classes, sample).stdout)
    house, shed = summary["accuracy"][1:]
    assert (house["class"], shed["class"]) == ("house", "shed")
    assert 0.5 < house["users_accuracy"] < 0.95
    assert shed["users_accuracy"] == 1
    assert shed["producers_accuracy"] < 1
    assert house["adjusted_area_m2"] + shed["adjusted_area_m2"] == pytest.approx(
        house["mapped_area_m2"] + shed["mapped_area_m2"]
    )


def test_a_class_that_is_called_as_an_answer_is_refused(two_classes: Path) -> None:
    frame = gpd.read_file(two_classes / "buildings.gpkg").assign(**{"class": "unsure"})
    frame.to_file(two_classes / "odd.gpkg")
    done = run(
        *("sample", two_classes / "odd.gpkg", "--mask", two_classes / "mask.tif"),
        *("--out", two_classes / "points.gpkg"),
    )
    assert done.exit_code == 2
    assert "has a class unsure" in done.output


def test_half_widths_ask_for_points_and_more_where_they_are_narrower(place: Path) -> None:
    wide, narrow = (
        json.loads(
            run(
                *("sample", place / "buildings.gpkg", "--mask", place / "mask.tif", "--half-width", width),
                *("--out", place / "f.gpkg", "--overwrite", "--json", "--quiet"),
            ).stdout
        )
        for width in ("30%", "15%")
    )
    assert narrow["points"] > 2 * wide["points"]
    assert wide["expected_half_width"] <= 0.3
    assert narrow["expected_half_width"] == pytest.approx(0.15, rel=0.02)


def test_a_table_holds_the_same_points(place: Path) -> None:
    draw(place, "g.csv")
    table, frame = read_points(place / "g.csv").frame, read_points(draw(place, "g.gpkg")).frame
    pd.testing.assert_frame_equal(
        table[["id", "longitude", "stratum_m2"]], frame[["id", "longitude", "stratum_m2"]], check_dtype=False
    )


def stats(place: Path, sample: Path, *further: object, footprints: str = "buildings.gpkg") -> Result:
    out = place / f"{sample.stem}-out.gpkg"
    return run(
        *("stats", place / footprints, "--regions", place / "wards.gpkg", "--mask", place / "mask.tif"),
        *("--samples", sample, "--out", out, "--overwrite", "--json", "--quiet", *further),
    )


def test_a_map_that_agrees_with_all_points_keeps_its_areas_with_some_doubt(place: Path) -> None:
    done = stats(place, place / "agreed.gpkg")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    whole = summary["accuracy"][1]
    built = summary["built_area_m2"]
    assert whole["class"] == "building"
    assert whole["adjusted_area_m2"] == pytest.approx(built, rel=1e-3)
    assert whole["adjusted_low_m2"] < built < whole["adjusted_high_m2"]
    assert (whole["users_accuracy"], whole["producers_accuracy"]) == (1, 1)
    assert whole["users_accuracy_low"] < 1
    rows = {row["region"]: row for row in summary["rows"]}
    assert rows["west"]["sample_points"] + rows["east"]["sample_points"] == 120
    for row in rows.values():
        assert row["adjusted_low_m2"] < row["built_area_m2"] < row["adjusted_high_m2"]
    layer = gpd.read_file(place / "agreed-out.gpkg", layer="regions")
    assert layer["adjusted_by"].tolist() == [row["adjusted_by"] for row in summary["rows"]]


@pytest.mark.parametrize("code", [4326, 3857, 32760])
def test_points_on_both_sides_of_the_antimeridian_are_found(tmp_path: Path, code: int) -> None:
    crs = CRS.from_epsg(code)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(180, -17)
    pixel = 5e-6 if crs.is_geographic else 0.5
    place = Affine.translation(abs(x), y) @ Affine.scale(pixel, -pixel) @ Affine.translation(-400, 0)
    mask = np.zeros((300, 800), np.uint8)
    for row, col in np.ndindex(7, 19):
        mask[20 + 40 * row :, 20 + 40 * col :][:16, :14] = 1
    profile = {"dtype": "uint8", "count": 1, "height": 300, "width": 800, "crs": crs, "transform": place}
    with rasterio.open(tmp_path / "mask.tif", "w", nodata=255, **profile) as dataset:
        dataset.write(mask, 1)
    buildings = tmp_path / "buildings.gpkg"
    geoseg.vectorize(tmp_path / "mask.tif", buildings, regularize=False)
    points = answer(draw(tmp_path))
    found = geoseg.stats(buildings, "grid:1km", samples=points, mask=tmp_path / "mask.tif")
    assert found.accuracy is not None
    assert found.accuracy["points"].sum() == found.regions["sample_points"].sum() == 60
    assert found.accuracy["users_accuracy"].tolist() == [1, 1]


def test_a_point_counts_in_every_region_that_it_lies_in(place: Path, tmp_path: Path) -> None:
    """Regions over each other: each as if it were alone. One in which nothing was seen has no figures, and no source."""
    middle, width = (LEFT + RIGHT) / 2, RIGHT - LEFT
    shapes = [
        shapely.box(LEFT, BOTTOM, middle + width / 4, TOP),
        shapely.box(middle - width / 4, BOTTOM, RIGHT, TOP),
        shapely.box(RIGHT + 1e5, BOTTOM, RIGHT + 2e5, TOP),
    ]
    wards = gpd.GeoDataFrame({"region": ["west", "east", "far"]}, geometry=shapes, crs=GRID.crs)
    given = {"mask": place / "mask.tif", "samples": place / "agreed.gpkg"}
    together = geoseg.stats(place / "buildings.gpkg", wards, **given).regions
    points = read(place / "agreed.gpkg")
    held = [int(points.intersects(shape).sum()) for shape in shapes]
    assert together["sample_points"].tolist() == held
    assert sum(held) > len(points)
    assert together["adjusted_by"].isna().tolist() == [False, False, True]
    assert together["adjusted_area_m2"].isna().tolist() == [False, False, True]
    alone = [geoseg.stats(place / "buildings.gpkg", wards[at : at + 1], **given).regions for at in range(2)]
    assert [int(table["sample_points"].iloc[0]) for table in alone] == held[:2]


def test_false_alarms_are_taken_off(place: Path) -> None:
    """A tenth of what is mapped as building is none: the built area falls by a tenth, and a tenth is left out of accuracy."""
    sample = draw(place, "tenth.gpkg", points=1200)
    answer(sample, lambda number, mapped: mapped if number % 10 else "background")
    whole = json.loads(stats(place, sample).stdout)["accuracy"][1]
    assert whole["users_accuracy"] == pytest.approx(0.9, abs=0.03)
    assert whole["adjusted_area_m2"] == pytest.approx(whole["users_accuracy"] * whole["mapped_area_m2"])


def test_points_serve_a_second_map_of_the_same_ground(place: Path) -> None:
    """The second map lost every building of the west; the points know of them."""
    frame = gpd.read_file(place / "buildings.gpkg", layer="buildings")
    write(place / "second.gpkg", frame[frame.geometry.bounds["minx"] > (LEFT + RIGHT) / 2], overwrite=True)
    done = stats(place, place / "agreed.gpkg", footprints="second.gpkg")
    assert done.exit_code == 0, done.output
    whole = json.loads(done.stdout)["accuracy"][1]
    assert whole["adjusted_low_m2"] < frame["area_m2"].sum() < whole["adjusted_high_m2"]
    assert whole["producers_accuracy"] == pytest.approx(0.5, abs=0.1)


def mark(path: Path, marks: gpd.GeoSeries) -> None:
    """All squares done, and these marks."""
    squares = read(path, "squares").assign(done=True)
    pyogrio.write_dataframe(squares, path, layer="squares")
    pyogrio.write_dataframe(
        gpd.GeoDataFrame({"remark": [""] * len(marks)}, geometry=marks), path, layer="marks"
    )


def test_squares_count_the_buildings(place: Path) -> None:
    """Half of the buildings are marked twice, as two that the map has joined."""
    options = {"points": None, "squares": 30, "side_m": 60.0}
    path = draw(place, "squares.gpkg", **options)
    frame = gpd.read_file(place / "buildings.gpkg", layer="buildings")
    middles = frame.geometry.representative_point()
    mark(path, pd.concat([middles, middles[::2]], ignore_index=True))
    summary = json.loads(stats(place, path).stdout)
    count = 1.5 * len(frame)
    assert summary["adjusted_buildings_low"] < count < summary["adjusted_buildings_high"]
    assert summary["adjusted_buildings"] == pytest.approx(count, rel=0.2)
    rows = summary["rows"]
    assert sum(row["adjusted_buildings"] for row in rows) == pytest.approx(summary["adjusted_buildings"])


def test_the_table_on_the_screen_says_it_in_words(place: Path) -> None:
    done = run(
        *("stats", place / "buildings.gpkg", "--regions", place / "wards.gpkg", "--mask", place / "mask.tif"),
        *("--samples", place / "agreed.gpkg", "--out", place / "words.gpkg", "--overwrite"),
    )
    assert "all ground, building:" in done.stdout
    assert "user's accuracy 100.0% (" in done.stdout


def test_python_says_the_same(place: Path) -> None:
    result = geoseg.stats(
        place / "buildings.gpkg", place / "wards.gpkg", mask=place / "mask.tif", samples=place / "agreed.gpkg"
    )
    assert result.accuracy is not None
    assert result.accuracy["class"].tolist() == ["background", "building"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "give the --mask or the --probability"),
        (("--mask", "mask.tif", "--points", 3, "--half-width", "5%"), "both say how many points"),
        (("--mask", "mask.tif", "--half-width", "5 cm"), "give a percentage"),
        (("--mask", "mask.tif", "--half-width", "0.1%"), "points would only reach"),
        (("--mask", "mask.tif", "--points", 1), "too few for 2 strata"),
        (("--mask", "mask.tif", "--squares", 5, "--side", 5000), "choose a smaller --side"),
        (("--mask", "mask.tif", "--points", 0), "at least 1"),
        (("--mask", "missing.tif"), "no such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_one_line(place: Path, flags: tuple[object, ...], words: str) -> None:
    named = [place / flag if str(flag).endswith(".tif") else flag for flag in flags]
    done = run("sample", place / "buildings.gpkg", "--out", place / "never.gpkg", *named)
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (place / "never.gpkg").exists()


def test_answers_are_not_overwritten_unasked(place: Path) -> None:
    done = run(
        "sample", place / "buildings.gpkg", "--mask", place / "mask.tif", "--out", place / "agreed.gpkg"
    )
    assert done.exit_code == 2
    assert "exists already" in done.output
    assert (read(place / "agreed.gpkg")["answer"] != "").all()


@pytest.mark.parametrize("name", ["points.csv", "points.shp"])
def test_squares_and_projects_need_a_geopackage(place: Path, name: str) -> None:
    done = run(
        *("sample", place / "buildings.gpkg", "--mask", place / "mask.tif", "--squares", 5),
        *("--out", place / name),
    )
    assert done.exit_code == 2
    assert ".gpkg" in done.output


def test_points_of_another_place_are_refused(place: Path, tmp_path: Path) -> None:
    def away(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        return frame.assign(latitude=frame["latitude"] + 1).set_geometry(
            gpd.points_from_xy(frame["longitude"], frame["latitude"] + 1, crs=LONLAT)
        )

    pyogrio.write_dataframe(away(read(place / "agreed.gpkg")), tmp_path / "away.gpkg", layer="points")
    done = stats(place, tmp_path / "away.gpkg")
    assert done.exit_code == 2
    assert "is it of this place?" in done.output


def test_a_sample_without_a_mask_is_refused(place: Path) -> None:
    done = run(
        *("stats", place / "buildings.gpkg", "--regions", place / "wards.gpkg"),
        *("--samples", place / "agreed.gpkg", "--out", place / "no.gpkg"),
    )
    assert done.exit_code == 2
    assert "with --samples, give the map's --mask or --probability too" in done.output


def test_squares_that_nobody_has_worked_on_are_told(place: Path) -> None:
    done = stats(place, draw(place, "fresh.gpkg", points=None, squares=6, side_m=60.0))
    assert done.exit_code == 2
    assert "no square is done yet" in done.output


def test_a_file_without_a_sample_is_refused(place: Path) -> None:
    done = stats(place, place / "wards.gpkg")
    assert done.exit_code == 2
    assert "holds neither points nor squares" in done.output
