"""The audit finds what spoils training, says nothing against good data, and mends what it can."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from made import HERE, RasterWriter
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.cli.prepare import command
from geoseg.datasets.audit.findings import AuditResult
from geoseg.datasets.audit.page import draw_overlay
from geoseg.datasets.audit.run import audit_dataset, fix_dataset
from geoseg.datasets.reading.sites import open_site
from geoseg.datasets.schema import Dataset, Item, read_dataset, write_dataset
from geoseg.errors import InputError
from geoseg.raster.palette import ClassEntry

CLASSES = (ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e"))
Maker = Callable[..., Dataset]


def ground(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Rolling ground with grain, as a camera would see it."""
    chance = np.random.default_rng(seed)
    rough = sum(
        ndimage.gaussian_filter(chance.normal(0, size**1.2, (height, width)), size) for size in (1.5, 4, 12)
    )
    scaled = (rough - rough.min()) / np.ptp(rough)
    return np.stack([scaled * gain for gain in (200, 180, 150)]).astype(np.uint8)


def town(height: int, width: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Ground with bright roofs on it, and where they are."""
    label = np.zeros((height, width), np.uint8)
    chance = np.random.default_rng(seed)
    for row in range(10, height - 40, 45):
        for col in range(10, width - 40, 45):
            down, across = chance.integers(15, 32, 2)
            label[row : row + down, col : col + across] = 1
    image = ground(height, width, seed) // 3 + 20
    roofs = chance.integers(60, 120)
    return (image + label[None] * np.uint8(roofs)).astype(np.uint8), label


@pytest.fixture
def made(tmp_path: Path, write_raster: RasterWriter) -> Maker:
    """Writes a data set of images and labels; without labels everything is half building."""

    def make(
        images: dict[str, Any], labels: dict[str, Any] | None = None, splits: str = "", **profile: Any
    ) -> Dataset:
        items = []
        names = {"t": "train", "v": "validation", "x": "test"}
        for index, (name, pixels) in enumerate(images.items()):
            label = (labels or {}).get(name)
            if label is None:
                label = (np.indices(pixels.shape[1:])[0] % 2).astype(np.uint8)
            place = {"crs": None, "transform": None} | profile
            write_raster(f"images/{name}.tif", pixels, **place)
            write_raster(f"labels/{name}.tif", label, **place)
            split: Any = names[splits[index]] if splits else "train"
            items.append(Item(f"images/{name}.tif", f"labels/{name}.tif", name, split, 0.3))
        dataset = Dataset(
            "made", "CC0", "me", "here", 0.3, ("red", "green", "blue"), CLASSES, tuple(items), tmp_path
        )
        write_dataset(dataset, tmp_path)
        return dataset

    return make


def kinds(audited: AuditResult) -> list[str]:
    return sorted({finding.kind for finding in audited.findings})


def audited(dataset: Dataset) -> AuditResult:
    return audit_dataset(dataset, workers=0)


pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


def test_good_data_raise_no_alarm(made: Maker) -> None:
    towns = {name: town(400, 400, seed) for seed, name in enumerate("abc")}
    found = audited(made({n: t[0] for n, t in towns.items()}, {n: t[1] for n, t in towns.items()}))
    assert found.problems == ()
    assert found.shared == ()
    assert (found.dataset.folder / "audit.png").stat().st_size > 10_000
    assert found.summary["class_shares"]["train"]["building"] == pytest.approx(
        np.mean([t[1] for t in towns.values()]), abs=1e-3
    )


@pytest.mark.parametrize(("down", "across"), [(5, 4), (-8, 0), (0, 9)])
def test_a_constant_offset_is_measured(made: Maker, down: int, across: int) -> None:
    image, label = town(500, 500, 3)
    moved = np.roll(label, (-down, -across), (0, 1))
    found = audited(made({"a": image}, {"a": moved}))
    assert {finding.kind for finding in found.problems} == {"shifted"}
    shift = found.looks[0].shift
    assert shift is not None
    assert (shift.south_m, shift.east_m) == pytest.approx((down * 0.3, across * 0.3), abs=0.31)


def test_identical_files_are_found_and_dropped(made: Maker) -> None:
    pixels = ground(100, 120, 0)
    found = audited(made({"a": pixels, "b": ground(100, 120, 1), "c": pixels}, splits="tvv"))
    assert [(pair.first, pair.second, pair.kind) for pair in found.shared] == [(0, 2, "identical")]
    assert "leak" in kinds(found)
    mended = fix_dataset(found)
    assert [item.place for item in mended.dataset.items] == ["b", "c"]
    assert mended.done[0] == "Dropped images/a.tif: a copy of images/c.tif"
    assert read_dataset(mended.dataset.folder) == mended.dataset
    assert (mended.dataset.folder / "dataset.before-fix.toml").exists()
    assert not audited(mended.dataset).shared


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: np.rot90(pixels, axes=(1, 2)),
        lambda pixels: pixels[:, :, ::-1],
        lambda pixels: (pixels * 0.8 + 20).astype(np.uint8),
        lambda pixels: np.clip(pixels + np.random.default_rng(0).normal(0, 4, pixels.shape), 0, 255).astype(
            np.uint8
        ),
    ],
    ids=["turned", "mirrored", "stretched", "noisy"],
)
def test_near_duplicates_are_found(made: Maker, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    pixels = ground(128, 128, 0)
    found = audited(made({"a": pixels, "b": ground(128, 128, 1), "c": np.ascontiguousarray(change(pixels))}))
    assert [(pair.first, pair.second) for pair in found.shared] == [(0, 2)]
    assert found.shared[0].kind == "near-duplicate"


def test_crops_of_the_same_ground_are_found_and_brought_together(made: Maker) -> None:
    wide = ground(300, 500, 0)
    crop = (wide[:, 60:260, 250:450] * 0.7 + 30).astype(np.uint8)
    found = audited(made({"a": wide[:, :, :400], "b": ground(200, 200, 1), "c": crop}, splits="ttv"))
    assert [(pair.first, pair.second, pair.kind) for pair in found.shared] == [(0, 2, "same ground")]
    assert "+60 rows" in found.shared[0].how or "+61" in found.shared[0].how or "+59" in found.shared[0].how
    assert "leak" in kinds(found)
    mended = fix_dataset(found)
    assert [item.split for item in mended.dataset.items] == ["validation", "train", "validation"]
    assert mended.done[0] == "Moved place a to validation"


def test_no_split_is_emptied(made: Maker) -> None:
    """Both validation places share ground with training; the smaller group of places goes to validation as a whole."""
    one, other = ground(300, 500, 0), ground(300, 500, 1)
    images = {"a": one[:, :, :300], "b": one[:, :, 150:450], "c": one[:, :, 100:400], "d": other[:, :, :300]}
    found = audited(made({**images, "e": other[:, :, 150:450]}, splits="ttvtv"))
    assert {(pair.first, pair.second) for pair in found.shared} >= {(0, 1), (3, 4)}
    mended = fix_dataset(found)
    assert [item.split for item in mended.dataset.items] == ["train"] * 3 + ["validation"] * 2
    assert not audited(mended.dataset).leaks


def test_like_blocks_on_ground_apart_are_no_common_ground(made: Maker, write_raster: RasterWriter) -> None:
    """Blocks of flats of one plan look the same on two maps that do not overlap; without a place they are suspicious."""
    wide = ground(300, 500, 0)
    images = {"a": wide[:, :, :400], "b": (wide[:, 60:260, 250:450] * 0.7 + 30).astype(np.uint8)}
    dataset = made(images, splits="tv")
    assert audited(dataset).leaks
    for name, pixels in images.items():
        apart = HERE @ Affine.translation(0 if name == "a" else 5_000, 0)
        write_raster(f"images/{name}.tif", pixels, transform=apart, crs="EPSG:32633")
        label = (np.indices(pixels.shape[1:])[0] % 2).astype(np.uint8)
        write_raster(f"labels/{name}.tif", label, transform=apart, crs="EPSG:32633")
    assert not audited(dataset).shared


def test_without_training_items_there_is_a_problem(made: Maker) -> None:
    found = audited(made({"a": ground(64, 64, 0)}, splits="v"))
    assert "no usable item is of the split train" in [finding.text for finding in found.problems]


def test_overlapping_maps_are_found(made: Maker) -> None:
    dataset = made({"a": ground(100, 100, 0), "b": ground(100, 100, 1)}, transform=HERE, crs="EPSG:32633")
    assert [pair.kind for pair in audited(dataset).shared] == ["overlapping"]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (np.full((50, 50), 255, np.uint8), "nothing of its label is known"),
        (np.full((50, 50), 7, np.uint8), "holds 7, which is no class"),
        (np.full((50, 50), 257, np.uint16), "holds values from 257 to 257; classes are bytes"),
        (np.zeros((40, 50), np.uint8), "its image 50 x 50"),
    ],
)
def test_unusable_items_are_found_and_dropped(
    made: Maker, write_raster: RasterWriter, label: NDArray[Any], words: str
) -> None:
    dataset = made({"a": ground(50, 50, 0), "b": ground(50, 50, 1)})
    write_raster("labels/b.tif", label, crs=None, transform=None)
    found = audited(dataset)
    assert [finding.items for finding in found.problems] == [(1,)]
    assert words in found.problems[0].text
    assert [item.place for item in fix_dataset(found).dataset.items] == ["a"]


def test_damaged_and_flat_images_are_found(made: Maker) -> None:
    dataset = made({"a": ground(300, 300, 0), "b": np.full((3, 50, 50), 9, np.uint8), "c": ground(50, 50, 2)})
    file = dataset.folder / "images/a.tif"
    file.write_bytes(file.read_bytes()[:1000])
    (dataset.folder / "labels/c.tif").unlink()
    texts = [finding.text for finding in audited(dataset).problems]
    assert len(texts) == 3
    assert "one value everywhere" in texts[1]
    assert "no such file" in texts[2]


def test_a_set_with_nothing_usable_is_not_mended(made: Maker) -> None:
    dataset = made({"a": np.full((3, 50, 50), 9, np.uint8)})
    with pytest.raises(InputError, match="nothing usable would be left"):
        fix_dataset(audited(dataset))


def test_label_shift_between_splits_is_noted(made: Maker) -> None:
    labels = {"a": np.zeros((60, 60), np.uint8), "b": np.ones((60, 60), np.uint8)}
    found = audited(made({"a": ground(60, 60, 0), "b": ground(60, 60, 1)}, labels, splits="tv"))
    assert "classes differ between train and validation by 100%" in "".join(found.summary["notes"])


def test_arrays_serve_as_images(made: Maker, tmp_path: Path) -> None:
    dataset = made({"a": ground(60, 60, 0)})
    np.save(tmp_path / "a.npy", ground(60, 60, 0))
    np.save(tmp_path / "l.npy", np.ones((60, 60), np.uint8))
    arrays = replace(dataset, items=(Item("a.npy", "l.npy", "a", gsd_m=0.3),))
    assert audited(arrays).problems == ()


@pytest.mark.parametrize("written", ["building", "Building", "1"])
def test_polygons_serve_as_labels(made: Maker, tmp_path: Path, written: str) -> None:
    """Their classes are told by name, as the data set writes it, or by number."""
    dataset = made({"a": ground(60, 60, 0)}, transform=HERE, crs="EPSG:32633")
    building = shapely.Polygon([HERE @ corner for corner in ((10, 10), (30, 10), (30, 20), (10, 20))])
    layer = geopandas.GeoDataFrame({"kind": [written]}, geometry=[building], crs="EPSG:32633")
    layer.to_file(tmp_path / "a.gpkg")
    classes = (CLASSES[0], replace(CLASSES[1], name="Building" if written == "Building" else "building"))
    items = (Item("images/a.tif", "a.gpkg", "a", class_field="kind"),)
    found = audited(replace(dataset, classes=classes, items=items))
    assert found.problems == ()
    assert found.looks[0].counts[1] == 200


@pytest.mark.parametrize(("field", "kind"), [(None, "shed"), ("kind", "shed"), ("kind", None)])
def test_the_audit_reads_the_classes_of_polygons_as_training_does(
    made: Maker, tmp_path: Path, field: str | None, kind: str | None
) -> None:
    dataset = made({"a": ground(60, 60, 0)}, transform=HERE, crs="EPSG:32633")
    building = shapely.Polygon([HERE @ corner for corner in ((10, 10), (30, 10), (30, 20), (10, 20))])
    layer = geopandas.GeoDataFrame({"kind": ["shed", kind]}, geometry=[building] * 2, crs="EPSG:32633")
    layer.to_file(tmp_path / "a.gpkg")
    items = (Item("images/a.tif", "a.gpkg", "a", class_field=field),)
    dataset = replace(dataset, classes=(*CLASSES, ClassEntry("shed", "#2e86ab")), items=items)
    found = audited(dataset)
    if kind is None:
        assert "kind is empty in 1 of 2 polygons" in str(found.problems)
        with pytest.raises(InputError, match="kind is empty in 1 of 2 polygons"):
            open_site(dataset, items[0], dataset.gsd_m)
    else:
        counts = open_site(dataset, items[0], dataset.gsd_m).counts.sum((0, 1))
        assert found.looks[0].counts[:3].tolist() == counts[:3].tolist()
        assert counts[2 if field else 1] == 200


def test_label_shift_of_one_scarce_class_is_noted(made: Maker) -> None:
    few, more = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    few[:2], more[:10] = 1, 1
    found = audited(
        made({"a": ground(100, 100, 0), "b": ground(100, 100, 1)}, {"a": few, "b": more}, splits="tv")
    )
    assert "building covers 2.0% of train but 10.0% of validation" in found.summary["notes"]


def chips(count: int, down: int, across: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Small pieces of towns, a roof or two each, with labels off by some pixels."""
    images, labels = {}, {}
    for seed in range(count):
        image, label = town(64, 64, seed)
        images[f"c{seed:02}"], labels[f"c{seed:02}"] = image, np.roll(label, (-down, -across), (0, 1))
    return images, labels


@pytest.mark.parametrize("in_one_place", [True, False])
def test_small_images_tell_an_offset_together(made: Maker, in_one_place: bool) -> None:
    dataset = made(*chips(24, 5, -4))
    items = tuple(replace(item, place="town" if in_one_place else item.place) for item in dataset.items)
    found = audited(replace(dataset, items=items))
    assert all(look.shift is None or not look.shift.has_enough_blocks for look in found.looks)
    assert len(found.pooled) == 1
    assert found.pooled[0].place == ("town" if in_one_place else None)
    assert (found.pooled[0].south_m, found.pooled[0].east_m) == pytest.approx((1.5, -1.2), abs=0.31)
    assert [finding.kind for finding in found.problems] == ["shifted"]


def test_small_images_that_fit_raise_no_alarm(made: Maker) -> None:
    assert audited(made(*chips(24, 0, 0))).problems == ()


def test_statistics_are_of_pixels_whose_label_is_known(made: Maker) -> None:
    pixels = ground(60, 60, 0)
    label = np.ones((60, 60), np.uint8)
    label[:, 30:] = 255
    pixels[:, :, 30:] = 255
    found = audited(made({"a": pixels}, {"a": label}))
    known = pixels[:, :, :30].astype(float)
    for band, expected in zip(found.summary["bands"], known, strict=True):
        assert (band["mean"], band["std"]) == pytest.approx((expected.mean(), expected.std()), abs=1e-3)
        assert (band["min"], band["max"]) == (expected.min(), expected.max())


def test_bands_are_taken_by_name(made: Maker, write_raster: RasterWriter) -> None:
    dataset = made({"a": ground(60, 60, 0)})
    pixels = np.stack([np.full((60, 60), value, np.uint8) for value in (10, 20, 30)])
    pixels[:, 0, 0] += 1
    write_raster("images/a.tif", pixels, crs=None, transform=None, descriptions=("blue", "green", "red"))
    means = [band["mean"] for band in audited(dataset).summary["bands"]]
    assert means == pytest.approx([30, 20, 10], abs=0.01)


def test_colours_that_contradict_the_classes_are_found(made: Maker, tmp_path: Path) -> None:
    """A label whose own colour table shows building's value in background's colour, and one in another colour."""
    dataset = made({name: ground(50, 50, seed) for seed, name in enumerate("abc")})
    tables = {
        "a": {0: (0, 0, 0), 1: (228, 87, 46)},
        "b": {0: (228, 87, 46), 1: (0, 0, 0)},
        "c": {1: (9, 9, 9)},
    }
    for name, colors in tables.items():
        with rasterio.open(tmp_path / f"labels/{name}.tif", "r+") as label:
            label.write_colormap(1, colors)
    texts = [finding.text for finding in audited(dataset).problems if finding.kind == "colour table"]
    assert "labels" not in "".join(texts)
    assert [text.split(":")[0] for text in texts] == ["images/b.tif"] * 2 + ["images/c.tif"]
    assert "shows value 0 as #e4572e, the colour of building, not of background" in texts[0]


@pytest.mark.parametrize(
    ("bands", "profile", "words"),
    [
        (3, {"crs": "EPSG:32633", "transform": HERE}, "has 3 bands, but a label has one"),
        (1, {"crs": "EPSG:32634", "transform": HERE}, "is in EPSG:32634, its image in EPSG:32633"),
        (
            1,
            {"crs": "EPSG:32633", "transform": HERE @ Affine.translation(5, 0)},
            "lies 5.0 pixels off its image",
        ),
    ],
)
def test_labels_of_other_images_are_found(
    made: Maker, write_raster: RasterWriter, bands: int, profile: dict[str, Any], words: str
) -> None:
    dataset = made({"a": ground(50, 50, 0)}, crs="EPSG:32633", transform=HERE)
    write_raster("labels/a.tif", np.ones((bands, 50, 50), np.uint8), **profile)
    assert [words in finding.text for finding in audited(dataset).problems] == [True]


def test_damaged_polygons_are_found(made: Maker, tmp_path: Path) -> None:
    dataset = made({"a": ground(60, 60, 0), "b": ground(60, 60, 1)}, transform=HERE, crs="EPSG:32633")
    (tmp_path / "a.gpkg").write_bytes(b"no geopackage")
    drawn = replace(dataset, items=(Item("images/a.tif", "a.gpkg", "a"), dataset.items[1]))
    problems = audited(drawn).problems
    assert [(finding.kind, finding.items) for finding in problems if finding.kind != "overlapping"] == [
        ("unreadable", (0,))
    ]
    assert "a.gpkg" in problems[0].text


def test_polygons_are_drawn_on_the_page(made: Maker, tmp_path: Path) -> None:
    dataset = made({"a": np.full((3, 60, 60), 90, np.uint8)}, transform=HERE, crs="EPSG:32633")
    corners = ((10, 10), (50, 10), (50, 30), (10, 30))
    layer = geopandas.GeoDataFrame(
        {"kind": ["building"]}, geometry=[shapely.Polygon([HERE @ xy for xy in corners])], crs="EPSG:32633"
    )
    layer.to_file(tmp_path / "a.gpkg")
    sample = draw_overlay(dataset, Item("images/a.tif", "a.gpkg", "a", class_field="kind"))
    red = sample[:, :, 0].astype(int) > sample[:, :, 2].astype(int) + 20
    rows, cols = np.nonzero(red)
    times = 380 // 60
    edges = [value // times for value in (rows.min(), rows.max(), cols.min(), cols.max())]
    assert edges == pytest.approx([10, 29, 10, 49], abs=1)


def test_of_many_copies_one_stays_and_it_is_the_one_for_testing(made: Maker) -> None:
    pixels = ground(128, 128, 0)
    noisy = np.clip(pixels + np.random.default_rng(0).normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
    pictures = {
        "a": pixels,
        "b": pixels,
        "c": noisy,
        "d": np.ascontiguousarray(noisy[:, ::-1]),
        "e": ground(128, 128, 1),
    }
    mended = fix_dataset(audited(made(pictures, splits="ttxtv")))
    assert [item.place for item in mended.dataset.items] == ["c", "e"]
    assert [item.split for item in mended.dataset.items] == ["test", "validation"]
    assert not audited(mended.dataset).shared


def test_mending_twice_keeps_every_former_state(made: Maker) -> None:
    pixels = ground(100, 100, 0)
    dataset = made({"a": pixels, "b": pixels, "c": ground(100, 100, 1)})
    folder = dataset.folder
    files = {path: path.read_bytes() for path in folder.rglob("*.tif")}
    original = (folder / "dataset.toml").read_bytes()
    first = fix_dataset(audited(dataset))
    between = (folder / "dataset.toml").read_bytes()
    make_flat(folder / "images/c.tif")
    second = fix_dataset(audited(first.dataset))
    assert (folder / "dataset.before-fix.toml").read_bytes() == original
    assert (folder / "dataset.before-fix-2.toml").read_bytes() == between
    assert "dataset.before-fix-2.toml" in second.done[-1]
    assert all(path.read_bytes() == content for path, content in files.items() if path.name != "c.tif")
    assert fix_dataset(audited(second.dataset)).done == ("Nothing had to be changed",)
    assert not (folder / "dataset.before-fix-3.toml").exists()


def make_flat(path: Path) -> None:
    """Make an image flat, so that it is of no use."""
    with rasterio.open(path, "r+") as image:
        image.write(np.full((3, 100, 100), 7, np.uint8))


def test_leaks_are_told_first(made: Maker) -> None:
    """Crops without a place on Earth, which training itself cannot know for the same ground."""
    wide = ground(300, 500, 0)
    pictures = {"a": np.full((3, 50, 50), 9, np.uint8), "b": wide[:, :, :400], "c": wide[:, 60:260, 250:450]}
    dataset = made(pictures, splits="ttv")
    found = audit_dataset(dataset, workers=0)
    assert [finding.kind for finding in found.problems] == ["leak", "empty"]
    assert found.summary["leaks"] == 1


def test_every_kind_ends_with_the_audit_and_its_warning(made: Maker, tmp_path: Path) -> None:
    wide = ground(300, 500, 0)
    made({"b": np.ascontiguousarray(wide[:, :, :400]), "c": np.ascontiguousarray(wide[:, 60:260, 250:450])})
    arguments = [
        "masks", str(tmp_path), "--out", str(tmp_path / "out"), "--gsd", "0.3", "--classes", "a=0,b=1", "--licence",
        "CC0", "--source", "here", "--validation", "c", "--workers", "0", "--quiet", "--json",
    ]  # fmt: skip
    made_set = CliRunner().invoke(command, arguments)
    assert made_set.exit_code == 0, made_set.output
    assert "1 pair of items show the same ground in two splits" in made_set.stderr
    assert json.loads(made_set.stdout)["leaks"] == 1
    mended = CliRunner().invoke(command, ["audit", str(tmp_path / "out"), "--fix", "--workers", "0"])
    assert mended.exit_code == 0
    assert "Moved place c to train" in mended.stdout
    assert "in two splits" not in mended.stderr  # what is mended in the same run is no warning
    assert CliRunner().invoke(command, ["audit", str(tmp_path / "none")]).exit_code == 2


SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not SHARED.exists(), reason="needs real imagery beside the repository")
def test_real_imagery(tmp_path: Path) -> None:
    """Neighbouring Sentinel-2 pieces, stretched apart, are known as the same ground."""
    pieces = [SHARED / "s2_india" / f"{name}.tif" for name in ("003", "010", "030")]
    items = tuple(Item(str(p), str(p.with_name(f"{p.stem}_classes.png")), p.stem, gsd_m=10.0) for p in pieces)
    classes = (*CLASSES, ClassEntry("c", "#00ff00"), ClassEntry("d", "#0000ff"))
    dataset = Dataset("s2", "MIT", "me", "here", 10, ("r", "g", "b", "n"), classes, items, tmp_path)
    assert [(pair.first, pair.second) for pair in audited(dataset).shared] == [(0, 2)]
