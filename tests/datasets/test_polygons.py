"""Labels as outlines: burnt on their scene's pixels they are the masks, and they keep what masks lose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from heard import Heard
from hypothesis import given, settings
from hypothesis import strategies as st
from made import HERE, UTM33, RasterWriter, photo
from numpy.typing import NDArray
from scipy import ndimage
from town import on_map, square

from geoseg.datasets.audit.run import audit_dataset, fix_dataset
from geoseg.datasets.benchmarks import find_spacenet_pairs
from geoseg.datasets.builder import DatasetBuilder, ImageLabelPair, Origin, find_pairs, pair_with_label
from geoseg.datasets.classes import parse_class_table
from geoseg.datasets.images import read_window
from geoseg.datasets.polygons import LabelForm, repair_polygons
from geoseg.datasets.schema import IGNORE, Dataset, read_dataset
from geoseg.datasets.vectors import VectorOptions, prepare_vectors
from geoseg.errors import InputError
from geoseg.raster.grid import Window

SHAPE = (60, 80)
TABLE = parse_class_table("background=none,house=hut villa,farm=barn,ignore=cloud")
HOUSES = VectorOptions(
    Origin("town", "ODbL", "me", "here"),
    parse_class_table("background=,building=*"),
    ("red", "green", "blue"),
)
KINDS = replace(HOUSES, table=TABLE, class_field="kind")
BOW = [(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)]


def layer(path: Path, shapes: list[Any], crs: str = UTM33, **fields: Any) -> Path:
    geopandas.GeoDataFrame(fields, geometry=shapes, crs=UTM33).to_crs(crs).to_file(path)
    return path


def prepared(folder: Path, wanted: VectorOptions = HOUSES, out: str = "out", again: bool = False) -> Dataset:
    shop = DatasetBuilder(folder / out, 0, again)
    return prepare_vectors(find_pairs(folder, "*.tif", "*.gpkg"), wanted, shop)


def both(folder: Path, wanted: VectorOptions, pairs: list[ImageLabelPair]) -> tuple[Dataset, Dataset]:
    """The same scenes with outlines and with masks."""
    forms: tuple[LabelForm, LabelForm] = ("vectors", "masks")
    vectors, masks = (
        prepare_vectors(pairs, replace(wanted, form=form), DatasetBuilder(folder / form, 0)) for form in forms
    )
    return vectors, masks


def burnt(dataset: Dataset, number: int = 0, apart: bool = False) -> NDArray[np.uint8]:
    """An item's label as training reads it, on the scene's own pixels."""
    from geoseg.datasets.reading.images import open_item_image
    from geoseg.datasets.reading.sites import open_item_labels

    item = dataset.items[number]
    image = open_item_image(dataset, item, dataset.gsd_m)
    return open_item_labels(dataset, item, image, apart).read(Window(0, 0, *image.shape))


def mask(dataset: Dataset, number: int = 0) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = read_window(dataset.label_path(dataset.items[number]))[0]
    return values


def written(dataset: Dataset, number: int = 0) -> geopandas.GeoDataFrame:
    return geopandas.read_file(dataset.label_path(dataset.items[number]))


@pytest.fixture
def scene(write_raster: RasterWriter, tmp_path: Path) -> Path:
    write_raster("a.tif", photo(*SHAPE))
    return tmp_path


# Off the raster of pixels, so that hardly an edge goes through a pixel's very centre.
COORDINATES = st.integers(-200, 1200).map(lambda number: number / 13 + 0.0137)
RINGS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=6)
SHAPES = st.lists(st.tuples(RINGS, st.sampled_from(["none", "hut", "villa", "barn", "cloud"])), max_size=8)


@settings(max_examples=20)
@given(SHAPES, st.none() | st.lists(RINGS, max_size=3), st.sampled_from([UTM33, "EPSG:4326"]))
def test_burnt_outlines_are_the_masks(
    shapes: list[tuple[Any, str]], areas: list[Any] | None, crs: str
) -> None:
    """Whatever lies above, below or beside one another, crosses itself, or is not known."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with rasterio.open(
            folder / "a.tif", "w", driver="GTiff", dtype="uint8", count=3, height=60, width=80, crs=UTM33, transform=HERE
        ) as dataset:  # fmt: skip
            dataset.write(photo(*SHAPE))
        drawn = [on_map(*ring) for ring, _ in shapes]
        layer(folder / "a.gpkg", drawn, crs, kind=np.array([kind for _, kind in shapes], object))
        mapped = None if areas is None else layer(folder / "areas.fgb", [on_map(*ring) for ring in areas])
        wanted = replace(KINDS, labelled=mapped)
        vectors, masks = both(folder, wanted, find_pairs(folder, "*.tif", "*.gpkg"))
        assert np.array_equal(burnt(vectors), mask(masks))


def test_outlines_are_whole_named_and_in_the_scenes_crs(scene: Path) -> None:
    shapes = [square(70, 50, 30), square(10, 10, 5), square(500, 0, 9), square(12, 12, 5)]
    layer(scene / "a.gpkg", shapes, "EPSG:4326", kind=["barn", "villa", "hut", "barn"])
    dataset = prepared(scene, KINDS)
    found = written(dataset)
    assert found.crs == UTM33
    assert found["class"].tolist() == ["farm", "house", "farm"]
    assert found.area.to_numpy() == pytest.approx([(size * 0.3) ** 2 for size in (30, 5, 5)], rel=1e-4)
    (item,) = dataset.items
    assert (item.label, item.class_field, item.labelled) == ("labels/a.fgb", "class", None)
    assert [path.name for path in (scene / "out/labels").iterdir()] == ["a.fgb"]
    assert read_dataset(dataset.folder) == dataset


def test_houses_wall_to_wall_stay_apart(scene: Path) -> None:
    layer(scene / "a.gpkg", [square(10, 10, 12), square(22, 10, 12)])
    vectors, masks = both(scene, HOUSES, find_pairs(scene, "*.tif", "*.gpkg"))
    assert ndimage.label(mask(masks))[1] == ndimage.label(burnt(vectors))[1] == 1
    assert ndimage.label(burnt(vectors, apart=True))[1] == 2


def test_unknown_ground_is_taken_from_what_is_labelled(scene: Path) -> None:
    """It lies below all polygons, wherever it stands in the file."""
    layer(scene / "a.gpkg", [square(20, 20, 10), square(10, 10, 30)], kind=["hut", "cloud"])
    mapped = layer(scene / "mapped.geojson", [square(0, 0, 50)])
    for labelled, beyond in ((None, 0), (mapped, IGNORE)):
        dataset = prepared(scene, replace(KINDS, labelled=labelled), out=f"beyond{beyond}")
        assert written(dataset)["class"].tolist() == ["house"]
        assert dataset.items[0].labelled == "labels/a.labelled.fgb"
        assert burnt(dataset)[[25, 15, 5, 55], [25, 15, 5, 5]].tolist() == [1, IGNORE, 0, beyond]


def test_areas_elsewhere_leave_nothing_known(scene: Path) -> None:
    layer(scene / "a.gpkg", [square(20, 20, 10)])
    mapped = layer(scene / "mapped.geojson", [square(5000, 0, 50)])
    assert (burnt(prepared(scene, replace(HOUSES, labelled=mapped))) == IGNORE).all()


def test_odd_polygons_are_mended(scene: Path, heard: Heard) -> None:
    """What crosses itself, spikes without ground, heights, and houses without any area."""
    spike = on_map((20, 5), (30, 5), (30, 10), (60, 10), (30, 10), (20, 10))
    flat = on_map((40, 40), (60, 40), (50, 40))
    layer(scene / "a.gpkg", [on_map(*BOW), shapely.force_3d(spike, 7.0), flat])
    dataset = prepared(scene)
    found = written(dataset)
    assert found.is_valid.all()
    assert not found.has_z.any()
    assert set(found.geom_type) == {"MultiPolygon"}
    assert found.area.to_numpy() == pytest.approx([50 * 0.09, 50 * 0.09], rel=1e-4)
    assert heard.warnings == ["2 polygons cross themselves and were mended"]
    assert np.array_equal(burnt(dataset), mask(prepared(scene, replace(HOUSES, form="masks"), "masks")))


def test_scenes_without_polygons_are_background(scene: Path, heard: Heard) -> None:
    layer(scene / "a.gpkg", [square(9000, 0, 4)])
    dataset = prepared(scene)
    assert len(written(dataset)) == 0
    assert burnt(dataset).tolist() == np.zeros(SHAPE).tolist()
    assert "no polygon lies on any image; do both say the right CRS?" in heard.warnings


def test_a_crs_of_ones_own(write_raster: RasterWriter, tmp_path: Path) -> None:
    """Polygons keep their place through a file where the scene's CRS has no number."""
    own = "+proj=tmerc +lat_0=52 +lon_0=13.1 +k=0.9999 +x_0=7000 +y_0=8000 +ellps=bessel +units=m"
    place = rasterio.Affine.translation(7_000, 8_000) @ rasterio.Affine.scale(0.3, -0.3)
    write_raster("a.tif", photo(*SHAPE), crs=own, transform=place)
    corners = np.random.default_rng(0).uniform(0, 60, (30, 2))
    shapes = [shapely.affinity.rotate(shapely.box(x, y, x + 7, y + 4), 11 * x) for x, y in corners]
    on_ground = [shapely.transform(each, lambda x, y: place @ (x, y), interleaved=False) for each in shapes]
    geopandas.GeoDataFrame(geometry=on_ground, crs=own).to_crs(4326).to_file(tmp_path / "a.gpkg")
    vectors, masks = both(tmp_path, HOUSES, find_pairs(tmp_path, "*.tif", "*.gpkg"))
    assert burnt(vectors).any()
    assert np.array_equal(burnt(vectors), mask(masks))


def test_one_file_for_all_images(write_raster: RasterWriter, tmp_path: Path) -> None:
    for number in range(3):
        place = HERE @ HERE.translation(number * 200, 0)
        write_raster(f"images/{number}.tif", photo(*SHAPE), transform=place)
    everything = layer(
        tmp_path / "all.geojson", [square(number * 90 + 7.2, 9.3, 40.5) for number in range(6)]
    )
    vectors, masks = both(tmp_path, HOUSES, pair_with_label(tmp_path, "images/*.tif", everything))
    for number in range(3):
        assert burnt(vectors, number).any()
        assert np.array_equal(burnt(vectors, number), mask(masks, number))


def test_spacenet(write_raster: RasterWriter, tmp_path: Path) -> None:
    """Its outlines have heights."""
    write_raster("PS-RGB/x_AOI_2_Vegas_PS-RGB_img1.tif", photo(*SHAPE))
    (tmp_path / "geojson_buildings").mkdir()
    house = shapely.force_3d(square(10, 10, 20), 0.0)
    layer(tmp_path / "geojson_buildings/x_AOI_2_Vegas_geojson_buildings_img1.geojson", [house], "EPSG:4326")
    vectors, masks = both(tmp_path, HOUSES, find_spacenet_pairs(tmp_path))
    assert vectors.items[0].label == "labels/AOI_2_Vegas_img1.fgb"
    assert np.array_equal(burnt(vectors), mask(masks))


def test_an_interrupted_run_goes_on(write_raster: RasterWriter, tmp_path: Path) -> None:
    for name in "ab":
        write_raster(f"{name}.tif", photo(*SHAPE))
        layer(tmp_path / f"{name}.gpkg", [square(10, 10, 20), square(0, 0, 60)], kind=["hut", "cloud"])
    good = (tmp_path / "b.gpkg").read_bytes()
    (tmp_path / "b.gpkg").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a vector file"):
        prepared(tmp_path, KINDS)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/labels").iterdir()}
    assert sorted(path.name for path in made) == ["a.fgb", "a.labelled.fgb"]
    assert not (tmp_path / "out/dataset.toml").exists()
    (tmp_path / "b.gpkg").write_bytes(good)
    dataset = prepared(tmp_path, KINDS)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert [item.labelled for item in dataset.items] == ["labels/a.labelled.fgb", "labels/b.labelled.fgb"]


def test_masks_give_way_to_outlines_and_back(scene: Path) -> None:
    layer(scene / "a.gpkg", [square(10, 10, 20), square(0, 0, 60)], kind=["hut", "cloud"])
    forms: tuple[tuple[LabelForm, list[str]], ...] = (
        ("masks", ["a.tif"]), ("vectors", ["a.fgb", "a.labelled.fgb"]), ("masks", ["a.tif"]),
    )  # fmt: skip
    for form, names in forms:
        prepared(scene, replace(KINDS, form=form), again=True)
        assert sorted(path.name for path in (scene / "out/labels").iterdir()) == names


def test_the_audit_says_of_outlines_what_it_says_of_masks(write_raster: RasterWriter, tmp_path: Path) -> None:
    """Labels beside the edges, empty scenes and copies; --fix mends both alike."""
    chance = np.random.default_rng(1)
    for number in range(3):
        spots = [square(col, row, 14) for col, row in chance.uniform(0, 220, (25, 2))] if number else []
        ground = np.full((240, 240), 60, np.uint8)
        burned = rasterio.features.rasterize(spots, (240, 240), transform=HERE) if spots else ground * 0
        image = np.stack([ground + 120 * burned + chance.integers(0, 9, ground.shape, np.uint8)] * 3)
        write_raster(f"{number}.tif", image)
        write_raster(f"{number}copy.tif", image)
        moved = [shapely.affinity.translate(each, 3.0, 0) for each in spots]
        for name in (f"{number}.gpkg", f"{number}copy.gpkg"):
            layer(tmp_path / name, moved or [square(9000, 0, 4)], kind=["hut"] * (len(moved) or 1))
    vectors, masks = both(tmp_path, KINDS, find_pairs(tmp_path, "*.tif", "*.gpkg"))
    seen = [audit_dataset(dataset, 0) for dataset in (vectors, masks)]
    lines = [[line.replace(str(each.dataset.folder), "") for line in each.lines[:-1]] for each in seen]
    assert [line.replace("vectors", "masks").replace(".fgb", ".tif") for line in lines[0]] == lines[1]
    assert any("should move" in line for line in lines[0])
    one, other = (fix_dataset(each).dataset for each in seen)
    assert [item.image for item in one.items] == [item.image for item in other.items]
    assert 0 < len(one.items) < len(vectors.items)
    assert all(item.class_field == "class" for item in read_dataset(vectors.folder).items)


def test_an_evaluation_finds_masks_and_outlines_of_one_mind(scene: Path) -> None:
    from geoseg.cli.evaluate import command

    shapes = [square(8.2 + 14 * i, 9.3 + 5 * i, 9.4) for i in range(4)]
    layer(scene / "a.gpkg", shapes, kind=["hut"] * 4)
    wanted = replace(HOUSES, labelled=layer(scene / "mapped.geojson", [square(0, 0, 60)]))
    vectors, masks = both(scene, wanted, find_pairs(scene, "*.tif", "*.gpkg"))
    asked = ["-q", masks.folder / "labels", vectors.folder, "--split", "train", "--json"]
    done = CliRunner().invoke(command, [str(each) for each in asked])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["pixels"] == 60 * 60
    assert found["classes"][1]["iou"]["value"] == 1


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_file_without_a_crs_is_refused(scene: Path) -> None:
    geopandas.GeoDataFrame(geometry=[square(0, 0, 4)]).to_file(scene / "a.gpkg")
    with pytest.raises(
        InputError, match=r"a\.gpkg: has no coordinate reference system; outlines of a photograph"
    ):
        prepared(scene)
    assert not (scene / "out/dataset.toml").exists()


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_areas_without_a_crs_are_refused(scene: Path) -> None:
    layer(scene / "a.gpkg", [square(0, 0, 4)])
    geopandas.GeoDataFrame(geometry=[square(0, 0, 4)]).to_file(scene / "areas.fgb")
    with pytest.raises(InputError, match=r"areas\.fgb: has no coordinate reference system"):
        prepared(scene, replace(HOUSES, labelled=scene / "areas.fgb"))


def test_an_image_without_a_place_is_refused(write_raster: RasterWriter, tmp_path: Path) -> None:
    layer(tmp_path / "a.gpkg", [square(0, 0, 4)])
    write_raster("a.tif", photo(*SHAPE), crs=None)
    with pytest.raises(InputError, match=r"a\.tif: has no place on Earth"):
        prepared(tmp_path)


def test_words_that_no_class_has_are_refused(scene: Path) -> None:
    layer(scene / "a.gpkg", [square(0, 0, 4)], kind=["tent"])
    with pytest.raises(InputError, match="holds tent, which the class table does not name"):
        prepared(scene, KINDS)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("beyond", [np.inf, np.nan])
def test_what_reaches_where_the_plane_does_not_becomes_empty(beyond: float) -> None:
    bent = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    lost = shapely.Polygon([(0, 0), (beyond, 0), (1, 1)])
    mended = repair_polygons(np.array([bent, lost, shapely.Polygon()]))
    assert shapely.area(mended).tolist() == [2.0, 0.0, 0.0]
    assert shapely.is_empty(mended).tolist() == [False, True, True]
