"""Label rasters of other grids: fractions are exact, shares survive, nothing unknown is called known."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from heard import Heard
from made import RasterWriter, photo
from numpy.typing import NDArray
from pyproj import Transformer

from geoseg.cli.prepare import command
from geoseg.datasets.builder import DatasetBuilder, Origin
from geoseg.datasets.classes import parse_class_table
from geoseg.datasets.images import open_image, read_image_info, read_window
from geoseg.datasets.schema import Dataset, read_dataset
from geoseg.datasets.sentinel.dataset import SentinelOptions, SourcePatterns, find_sources, prepare_sentinel
from geoseg.datasets.sentinel.fractions import compute_fractions, count_points
from geoseg.datasets.sentinel.reflectance import (
    CloudOptions,
    Reflectance,
    parse_cloud_values,
    parse_reflectance,
)
from geoseg.errors import InputError
from geoseg.raster.grid import Grid

CORNER = (400_000, 5_800_000)
TEN_METRES = Affine.translation(*CORNER) @ Affine.scale(10, -10)
TWO_METRES = Affine.translation(*CORNER) @ Affine.scale(2, -2)
ESM = parse_class_table("esm")
RGB = ("red", "green", "blue")
BY_NAME = SourcePatterns("images/*.tif", "labels/*.tif")


def wanted(table: str = "esm", **changes: Any) -> SentinelOptions:
    return SentinelOptions(Origin("esm", "CC-BY-4.0", "JRC", "doi"), parse_class_table(table), RGB, **changes)


def prepared(
    folder: Path,
    table: str = "esm",
    files: SourcePatterns = BY_NAME,
    **changes: Any,
) -> Dataset:
    workshop = DatasetBuilder(folder / "out", 0, overwrite=True)
    return prepare_sentinel(find_sources(folder, files), wanted(table, **changes), workshop)


def label_of(dataset: Dataset, item: int = 0) -> list[list[int]]:
    found: list[list[int]] = read_window(dataset.label_path(dataset.items[item]))[0].tolist()
    return found


def fractions_of(
    label: Path, grid: Grid, points: int, table: str = "esm", tolerance: float = 0.01
) -> NDArray[np.float64]:
    with open_image(label) as dataset:
        return compute_fractions([dataset], grid, points, parse_class_table(table), tolerance)


@pytest.fixture
def pair(write_raster: RasterWriter) -> Callable[..., None]:
    """Writes an image of 2 x 2 pixels of 10 m, residential all over by a label of 2 m."""

    def write(image: NDArray[Any] | None = None, label: NDArray[Any] | None = None, **profile: Any) -> None:
        pixels = photo(2, 2) if image is None else image
        write_raster("images/a.tif", pixels, **{"transform": TEN_METRES} | profile)
        fine = np.full((10, 10), 255, np.uint8) if label is None else label
        write_raster("labels/a.tif", fine, transform=TWO_METRES)

    return write


def test_fractions_on_an_aligned_grid_are_exact(write_raster: RasterWriter) -> None:
    fine = np.random.default_rng(1).choice([1, 250, 255], (200, 300), p=[0.6, 0.1, 0.3]).astype(np.uint8)
    image = read_image_info(write_raster("images/a.tif", photo(40, 60), transform=TEN_METRES))
    label = write_raster("labels/a.tif", fine, transform=TWO_METRES)
    assert image.grid is not None
    assert count_points(image.grid, read_image_info(label).grid) == 5  # type: ignore[arg-type]
    found = fractions_of(label, image.grid, 5)
    expected = [(fine == value).reshape(40, 5, 60, 5).mean(axis=(1, 3)) for value in (1, 250, 255)]
    assert np.array_equal(found, expected)


@pytest.fixture
def european(write_raster: RasterWriter) -> tuple[Path, NDArray[np.uint8], Affine, Grid]:
    """ESM in EPSG:3035 with patches of every class under an image in EPSG:32633."""
    x, y = Transformer.from_crs(32633, 3035, always_xy=True).transform(CORNER[0] + 300, CORNER[1] - 200)
    place = Affine(2, 0, round(x / 2) * 2 - 800, 0, -2, round(y / 2) * 2 + 800)
    coarse = np.random.default_rng(3).choice([0, 1, 250, 255], (160, 160)).astype(np.uint8)
    fine = coarse.repeat(5, axis=0).repeat(5, axis=1)
    label = write_raster("labels/a.tif", fine, crs="EPSG:3035", transform=place)
    image = read_image_info(write_raster("images/a.tif", photo(40, 60), transform=TEN_METRES))
    assert image.grid is not None
    return label, fine, place, image.grid


def looked_up(fine: NDArray[np.uint8], place: Affine, points: int) -> NDArray[np.float64]:
    """The fractions of every class, each point projected by PROJ and looked up in the label one by one."""
    offsets = (np.arange(points) + 0.5) / points
    cols, rows = np.meshgrid(
        (np.arange(60)[:, None] + offsets).ravel(), (np.arange(40)[:, None] + offsets).ravel()
    )
    to_laea = Transformer.from_crs(32633, 3035, always_xy=True)
    there = ~place @ to_laea.transform(CORNER[0] + 10 * cols, CORNER[1] - 10 * rows)
    values = fine[np.floor(there[1]).astype(int), np.floor(there[0]).astype(int)]
    blocks = values.reshape(40, points, 60, points)
    return np.stack([(blocks == value).mean(axis=(1, 3)) for value in (1, 250, 255)])


def test_fractions_across_projections_are_exact(
    european: tuple[Path, NDArray[np.uint8], Affine, Grid],
) -> None:
    label, fine, place, grid = european
    assert np.array_equal(fractions_of(label, grid, 5, tolerance=1e-9), looked_up(fine, place, 5))


def test_fractions_across_projections_follow_the_ground(
    european: tuple[Path, NDArray[np.uint8], Affine, Grid],
) -> None:
    """At its everyday tolerance a few points fall on the neighbouring pixel; a fine lattice gives the true areas."""
    label, fine, place, grid = european
    found = fractions_of(label, grid, 5)
    exact, true = looked_up(fine, place, 5), looked_up(fine, place, 50)
    assert np.abs(found - exact).max() <= 2 / 25
    assert (found != exact).mean() < 0.05
    assert np.abs(found - true).mean() < 0.03
    assert np.abs(found.mean(axis=(1, 2)) - true.mean(axis=(1, 2))).max() < 0.001


def test_the_threshold_decides(write_raster: RasterWriter, tmp_path: Path) -> None:
    fine = np.ones((10, 10), np.uint8)
    fine[:5, :3] = 255  # 60 % of the first pixel
    fine[:5, 5:7] = 250  # 40 % of the second
    fine[5:, :] = 0  # nothing known
    write_raster("images/a.tif", photo(2, 2), transform=TEN_METRES)
    write_raster("labels/a.tif", fine, transform=TWO_METRES)
    dataset = prepared(tmp_path)
    assert label_of(dataset) == [[2, 0], [255, 255]]
    assert [each.name for each in dataset.classes] == ["other", "non-residential", "residential"]


def test_unknown_pixels_of_the_image_are_ignored(write_raster: RasterWriter, tmp_path: Path) -> None:
    pixels = photo(2, 2)
    pixels[:, 0, 0] = 0
    write_raster("images/a.tif", pixels, transform=TEN_METRES, nodata=0)
    write_raster("labels/a.tif", np.full((10, 10), 255, np.uint8), transform=TWO_METRES)
    dataset = prepared(tmp_path)
    assert label_of(dataset) == [[255, 2], [2, 2]]


def test_ground_beyond_the_label_is_ignored(write_raster: RasterWriter, tmp_path: Path) -> None:
    write_raster("images/a.tif", photo(2, 4), transform=TEN_METRES)
    write_raster("labels/a.tif", np.full((10, 10), 255, np.uint8), transform=TWO_METRES)
    dataset = prepared(tmp_path)
    assert label_of(dataset) == [[2, 2, 255, 255]] * 2


def test_values_that_the_table_does_not_know_are_refused(pair: Callable[..., None], tmp_path: Path) -> None:
    pair(label=np.full((10, 10), 77, np.uint8))
    with pytest.raises(InputError, match="holds 77, which the class table does not name"):
        prepared(tmp_path)


def test_square_metres_of_buildings_are_fractions(pair: Callable[..., None], tmp_path: Path) -> None:
    """GHS-BUILT-S: 0 to 100 m² of each cell; half of them reached is built-up, 255 is unknown."""
    built = np.zeros((10, 10), np.uint8)
    built[:5, :5] = 100
    built[:5, 5:] = 49
    built[5:, :5] = np.array([[60, 60, 40, 40, 60]])
    built[5:, 5:] = 255
    pair(label=built)
    assert label_of(prepared(tmp_path, "ghsl")) == [[1, 0], [1, 255]]
    record = json.loads((tmp_path / "out" / "shares.json").read_text())
    assert record["a"]["built-up"] == {
        "source": pytest.approx((1 + 0.49 + 0.52) / 3, abs=1e-5),
        "label": 0.666667,
    }


def test_values_above_the_whole_are_refused(pair: Callable[..., None], tmp_path: Path) -> None:
    pair(label=np.full((10, 10), 101, np.uint8))
    with pytest.raises(
        InputError, match="holds 101, but the class table takes its values for shares from 0 to 100"
    ):
        prepared(tmp_path, "ghsl")


def test_shares_are_of_two_classes() -> None:
    with pytest.raises(InputError, match="shares up to 100 are of two classes, not 3"):
        wanted("other=0,built-up=100%,water=200")


@pytest.mark.parametrize(
    ("table", "values", "classes"),
    [
        ("esm", [0, 1, 250, 255], [255, 0, 1, 2]),
        ("esm-built", [0, 1, 250, 255], [255, 0, 1, 1]),
        ("ghsl-class", [5, 11, 25, 255], [0, 1, 2, 255]),
        ("worldcover", [0, 50, 95, 10], [255, 1, 0, 0]),
        ("wsf", [0, 255, 255, 0], [0, 1, 1, 0]),
    ],
)
def test_published_legends(
    pair: Callable[..., None], tmp_path: Path, table: str, values: list[int], classes: list[int]
) -> None:
    quarters = np.array(values, np.uint8).reshape(2, 2).repeat(5, axis=0).repeat(5, axis=1)
    pair(label=quarters)
    assert label_of(prepared(tmp_path, table)) == np.reshape(classes, (2, 2)).tolist()


def test_no_settlement_and_no_label_differ(write_raster: RasterWriter, tmp_path: Path) -> None:
    """WSF calls both its nodata and unsettled ground 0: only ground beyond its tile is unknown."""
    write_raster("images/a.tif", photo(2, 4), transform=TEN_METRES)
    write_raster("labels/a.tif", np.zeros((10, 10), np.uint8), transform=TWO_METRES, nodata=0)
    assert label_of(prepared(tmp_path, "wsf")) == [[0, 0, 255, 255]] * 2


def test_tiles_serve_as_one_label(write_raster: RasterWriter, tmp_path: Path) -> None:
    """Tiles in two CRS, one with a hole, give the label that one raster of all of them gives."""
    write_raster("images/a.tif", photo(2, 4), transform=TEN_METRES)
    west = np.full((10, 10), 255, np.uint8)
    west[:5, :5] = 0
    write_raster("tiles/1.tif", west, transform=TWO_METRES, nodata=0)
    write_raster("tiles/2.tif", np.full((10, 20), 1, np.uint8), transform=TWO_METRES)
    write_raster("tiles/far.tif", west, transform=Affine.translation(9e5, 0) @ TWO_METRES)
    expected = [[0, 2, 0, 0], [2, 2, 0, 0]]
    for tiles in ("tiles", "tiles/*.tif"):
        files = SourcePatterns("images/*.tif", tiles=str(tmp_path / tiles))
        assert [path.name for path in find_sources(tmp_path, files)[0].labels] == ["1.tif", "2.tif"]
        assert label_of(prepared(tmp_path, files=files)) == expected


def test_tiles_that_are_nowhere_near_are_refused(write_raster: RasterWriter, tmp_path: Path) -> None:
    write_raster("images/a.tif", photo(2, 4), transform=TEN_METRES)
    far = write_raster("tiles/far.tif", photo(9, 9, 1), transform=Affine.translation(9e5, 0) @ TWO_METRES)
    with pytest.raises(InputError, match="no label tile lies under it"):
        find_sources(tmp_path, SourcePatterns("images/*.tif", tiles=str(far)))
    with pytest.raises(InputError, match="no raster is there"):
        find_sources(tmp_path, SourcePatterns("images/*.tif", tiles=str(tmp_path / "none/*.tif")))


@pytest.mark.parametrize("value", [0, 1, 3, 8, 9, 10, 11])
def test_clouds_in_a_band_of_the_image_are_ignored(
    pair: Callable[..., None], tmp_path: Path, value: int
) -> None:
    scl = np.array([[[4, value], [5, 6]]], np.uint8)
    pair(np.concatenate([photo(2, 2), scl]), descriptions=(*RGB, "SCL"))
    assert label_of(prepared(tmp_path)) == [[2, 255], [2, 2]]


def test_clouds_in_rasters_of_their_own_are_ignored(
    write_raster: RasterWriter, pair: Callable[..., None], tmp_path: Path
) -> None:
    """At 20 m, and short of the image's second column: what it does not tell is not known to be clear."""
    write_raster("images/a.tif", photo(4, 4), transform=TEN_METRES)
    write_raster("labels/a.tif", np.full((20, 20), 255, np.uint8), transform=TWO_METRES)
    write_raster("scl/a.tif", np.array([[9], [4]], np.uint8), transform=TEN_METRES @ Affine.scale(2))
    files = SourcePatterns("images/*.tif", "labels/*.tif", cloud="scl/*.tif")
    assert label_of(prepared(tmp_path, files=files)) == [[255] * 4] * 2 + [[2, 2, 255, 255]] * 2
    mask = CloudOptions(values=parse_cloud_values("4"))
    assert label_of(prepared(tmp_path, files=files, clouds=mask))[0] == [2, 2, 255, 255]


def test_clouds_that_are_not_there_are_refused(pair: Callable[..., None], tmp_path: Path) -> None:
    pair()
    with pytest.raises(InputError, match="has no band clear for `cloud`; it has none with a name"):
        prepared(tmp_path, clouds=CloudOptions("clear", is_required=True))
    (tmp_path / "scl").mkdir()
    (tmp_path / "images/a.tif").rename(tmp_path / "scl/b.tif")
    pair()
    with pytest.raises(InputError, match=r"a\.tif: has no cloud raster of the same name"):
        find_sources(tmp_path, SourcePatterns("images/*.tif", "labels/*.tif", cloud="scl/*.tif"))
    with pytest.raises(InputError, match="`cloud_values` clear: write whole numbers"):
        parse_cloud_values("clear")


DIGITAL = np.array(
    [[[0, 900], [1000, 1001]], [[0, 1500], [11_000, 65_535]], [[0, 2000], [4000, 5000]]], np.uint16
)
MEANT = np.where(DIGITAL == 0, 0, np.maximum(DIGITAL.astype(int) - 1000, 1))


def test_the_product_name_tells_the_offset(
    pair: Callable[..., None], tmp_path: Path, write_raster: RasterWriter
) -> None:
    """Processing baseline 05.09 in the name: 1,000 is taken off, and no data stays no data."""
    name = "S2A_MSIL2A_20230125T100311_N0509_R122_T33UUU_20230125T160058"
    write_raster(f"images/{name}.tif", DIGITAL, transform=TEN_METRES)
    write_raster(f"labels/{name}.tif", np.full((10, 10), 255, np.uint8), transform=TWO_METRES)
    dataset = prepared(tmp_path)
    assert dataset.items[0].image == f"images/{name}.vrt"
    image = dataset.image_path(dataset.items[0])
    assert np.array_equal(read_window(image), MEANT)
    assert read_image_info(image).names == RGB
    with open_image(image) as raster:
        assert (raster.nodata, raster.dtypes[0], raster.scales[0]) == (0, "uint16", 1e-4)
    assert label_of(dataset) == [[255, 2], [2, 2]]


@pytest.mark.parametrize("told", ["tag", "bands", "flag", "decimals"])
def test_other_ways_to_tell_the_offset(pair: Callable[..., None], tmp_path: Path, told: str) -> None:
    pair(DIGITAL if told != "decimals" else (MEANT / 10_000).astype(np.float32))
    with rasterio.open(tmp_path / "images/a.tif", "r+") as raster:
        if told == "tag":
            raster.update_tags(PROCESSING_BASELINE="04.00")
        elif told == "bands":
            raster.scales, raster.offsets = (0.0001,) * 3, (-0.1,) * 3
        elif told == "decimals":
            raster.nodata = 0
    said = {"flag": Reflectance(0.0001, -0.1), "decimals": Reflectance(1.0, 0.0)}.get(told)
    dataset = prepared(tmp_path, reflectance=said)
    assert np.array_equal(read_window(dataset.image_path(dataset.items[0])), MEANT)


@pytest.mark.parametrize("baseline", ["02.14", "99.99"])
def test_images_of_the_usual_meaning_stay_where_they_are(
    pair: Callable[..., None], tmp_path: Path, baseline: str, heard: Heard
) -> None:
    pair(DIGITAL)
    with rasterio.open(tmp_path / "images/a.tif", "r+") as raster:
        raster.update_tags(PROCESSING_BASELINE=baseline)
    dataset = prepared(tmp_path)
    assert dataset.items[0].image == str(tmp_path / "images/a.tif")
    assert ("1 images do not say" in "".join(heard.lines)) == (baseline == "99.99")


def test_bands_are_taken_by_name(pair: Callable[..., None], tmp_path: Path) -> None:
    pair(DIGITAL, descriptions=("blue", "green", "red"))
    dataset = prepared(tmp_path, reflectance=Reflectance(0.0001, -0.1))
    assert np.array_equal(read_window(dataset.image_path(dataset.items[0])), MEANT[::-1])


@pytest.mark.parametrize("text", ["0.0001", "a,b", "0,1", "1,2,3"])
def test_reflectance_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="`reflectance`"):
        parse_reflectance(text)


def test_an_interrupted_run_warps_only_what_is_missing_or_changed(
    write_raster: RasterWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    for name in "abc":
        write_raster(f"images/{name}.tif", photo(2, 2), transform=TEN_METRES)
        write_raster(f"labels/{name}.tif", np.full((10, 10), 255, np.uint8), transform=TWO_METRES)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DatasetBuilder, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            prepared(tmp_path)
    made = {name: tmp_path / f"out/labels/{name}.tif" for name in "abc"}
    before = {name: path.stat().st_mtime_ns for name, path in made.items()}
    made["a"].unlink()
    write_raster("labels/b.tif", np.full((10, 10), 250, np.uint8), transform=TWO_METRES)
    os.utime(tmp_path / "labels/b.tif", ns=(1, 1))
    dataset = prepared(tmp_path)
    assert {name for name, path in made.items() if path.stat().st_mtime_ns != before[name]} == {"a", "b"}
    assert [label_of(dataset, item)[0][0] for item in range(3)] == [2, 1, 2]
    assert "residential: 66.7% of the ground by the source, 66.7% by the label" in heard.lines


def test_other_settings_warp_anew(pair: Callable[..., None], tmp_path: Path) -> None:
    fine = np.ones((10, 10), np.uint8)
    fine[:, ::2] = 255
    pair(label=fine)
    assert label_of(prepared(tmp_path, threshold=0.3)) == [[2, 2], [2, 2]]
    assert label_of(prepared(tmp_path, threshold=0.9)) == [[0, 0], [0, 0]]


def test_shares_that_the_threshold_changes_are_told(
    pair: Callable[..., None], tmp_path: Path, heard: Heard
) -> None:
    fine = np.ones((10, 10), np.uint8)
    fine[:, [0, 1, 5, 6]] = 255
    pair(label=fine)
    prepared(tmp_path)
    assert "residential: 40.0% of the ground by the source, 0.0% by the label" in heard.lines


@pytest.mark.parametrize(
    ("file", "profile", "words"),
    [
        ("images/a.tif", {"crs": None, "transform": None}, "images/a.tif: has no place on Earth"),
        ("labels/a.tif", {"crs": None, "transform": None}, "labels/a.tif: has no place on Earth"),
        ("labels/a.tif", {"count": 3}, "has 3 bands; a label raster has one"),
        ("images/a.tif", {"count": 1}, "has 1 bands, fewer than red, green, blue"),
    ],
)
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_files_that_do_not_serve_are_refused(
    write_raster: RasterWriter, pair: Callable[..., None], tmp_path: Path, file: str, profile: dict[str, Any],
    words: str,
) -> None:  # fmt: skip
    pair()
    bands = profile.pop("count", 3 if "images" in file else 1)
    write_raster(file, photo(2, 2, bands), **{"transform": TEN_METRES} | profile)
    with pytest.raises(InputError, match=words):
        prepared(tmp_path)


def test_damaged_files_are_refused(
    write_raster: RasterWriter, pair: Callable[..., None], tmp_path: Path
) -> None:
    pair()
    label = write_raster("labels/a.tif", photo(300, 300, 1), transform=TWO_METRES, compress="deflate")
    label.write_bytes(label.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"labels/a\.tif"):
        prepared(tmp_path, "background=*")
    assert not list((tmp_path / "out/labels").glob("*.tif"))
    label.write_bytes(b"no raster")
    with pytest.raises(InputError, match=r"labels/a\.tif"):
        prepared(tmp_path, "background=*")


def test_a_threshold_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="`threshold` 0"):
        wanted(threshold=0.0)


def test_the_command_takes_tiles_clouds_and_reflectance(write_raster: RasterWriter, tmp_path: Path) -> None:
    scl = np.array([[[4, 9], [4, 4]]], np.uint16)
    write_raster("s2/a.tif", np.concatenate([DIGITAL, scl]), transform=TEN_METRES, descriptions=(*RGB, "SCL"))
    write_raster("esm/N36E44.tif", np.full((10, 10), 255, np.uint8), transform=TWO_METRES)
    arguments = [
        "sentinel-esm", str(tmp_path / "s2"), "--images", "*.tif", "--label-tiles", str(tmp_path / "esm"), "--cloud",
        "SCL", "--reflectance", "0.0001,-0.1", "--out", str(tmp_path / "out"), "--workers", "0", "--json",
    ]  # fmt: skip
    run = CliRunner().invoke(command, arguments)
    assert run.exit_code == 0, run.output
    summary = json.loads(run.stdout)
    assert summary["class_shares"]["train"] == {"other": 0, "non-residential": 0, "residential": 1}
    # Of four pixels one holds no data and one lies under a cloud.
    assert [(band["min"], band["max"]) for band in summary["bands"]] == [
        (1, 1),
        (10_000, 64_535),
        (3000, 4000),
    ]
    assert label_of(read_dataset(tmp_path / "out")) == [[255, 255], [2, 2]]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--reflectance", "much", "write SCALE,OFFSET"),
        ("--cloud-values", "clouds", "write whole numbers"),
        ("--cloud", "clouds/*.tif", "no file fits"),
        ("--label-tiles", "/nowhere/*.tif", "no raster is there"),
        ("--classes", "esn", "--classes esn"),
        ("--threshold", "2", "must be above 0 and at most 1"),
    ],
)
def test_the_command_refuses_what_means_nothing(
    pair: Callable[..., None], tmp_path: Path, option: str, value: str, words: str
) -> None:
    pair()
    run = CliRunner().invoke(
        command, ["sentinel-esm", str(tmp_path), "--out", str(tmp_path / "o"), option, value]
    )
    assert run.exit_code == 2
    assert run.stderr.count("\n") == 1
    assert words in run.stderr
    assert not (tmp_path / "o" / "dataset.toml").exists()
