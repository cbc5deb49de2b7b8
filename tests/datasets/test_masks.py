"""Masks of values and of colours become class values; what does not match is refused in one line."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import RasterWriter, photo
from numpy.typing import NDArray

from geoseg.datasets.audit.run import audit_dataset
from geoseg.datasets.builder import DatasetBuilder, Origin, SplitRule, find_pairs
from geoseg.datasets.classes import parse_class_table
from geoseg.datasets.images import read_window
from geoseg.datasets.masks import MaskOptions, prepare_masks
from geoseg.datasets.reading.sites import open_site, open_sites
from geoseg.datasets.schema import Dataset, read_dataset
from geoseg.errors import InputError
from geoseg.raster.grid import PICTURE_CRS, PICTURE_TRANSFORM, Window

WANTED = MaskOptions(
    Origin("set", "CC0", "me", "here"),
    parse_class_table("land=0,roof=1 2,ignore=9"),
    ("red", "green", "blue"),
)


def save(path: Path, values: NDArray[np.uint8], palette: Sequence[int] | None = None) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image = image.convert("P")
        image.putdata(values.ravel().tolist())
        image.putpalette(palette)
    image.save(path)


def prepared(folder: Path, wanted: MaskOptions = WANTED, **options: Any) -> Dataset:
    return prepare_masks(find_pairs(folder, None, None), wanted, DatasetBuilder(folder / "out", 0, **options))


def label(dataset: Dataset) -> list[list[int]]:
    values: list[list[int]] = read_window(dataset.label_path(dataset.items[0]))[0].tolist()
    return values


def test_values(write_raster: RasterWriter, tmp_path: Path) -> None:
    write_raster("images/a.tif", photo(2, 3))
    write_raster("masks/a.tif", np.array([[0, 1, 2], [9, 0, 1]], np.uint8))
    dataset = prepared(tmp_path)
    assert label(dataset) == [[0, 1, 1], [255, 0, 1]]
    assert dataset.gsd_m == pytest.approx(0.3, rel=0.01)
    assert read_dataset(tmp_path / "out") == dataset


def test_colours_and_palettes(tmp_path: Path) -> None:
    table = replace(WANTED, table=parse_class_table("land=#000000,roof=#ff0000,ignore=#0000ff"), gsd_m=0.5)
    save(tmp_path / "images/a.jpg", np.moveaxis(photo(2, 2), 0, -1))
    save(tmp_path / "masks/a.png", np.array([[[0, 0, 0], [255, 0, 0]], [[0, 0, 255], [0, 0, 0]]], np.uint8))
    assert label(prepared(tmp_path, table)) == [[0, 1], [255, 0]]
    save(tmp_path / "masks/a.png", np.array([[0, 1], [2, 0]], np.uint8), [0, 0, 0, 255, 0, 0, 0, 0, 255])
    assert label(prepared(tmp_path, table, overwrite=True)) == [[0, 1], [255, 0]]


def test_nodata_of_the_image_is_ignored(write_raster: RasterWriter, tmp_path: Path) -> None:
    pixels = photo(2, 2)
    pixels[:, 1, 1] = 0
    write_raster("images/a.tif", pixels, nodata=0)
    write_raster("masks/a.tif", np.ones((2, 2), np.uint8))
    assert label(prepared(tmp_path)) == [[1, 1], [1, 255]]


def test_an_alpha_band_says_what_is_known_unless_it_is_used_by_name(
    write_raster: RasterWriter, tmp_path: Path
) -> None:
    pixels = photo(2, 2, 4)
    pixels[3] = 0
    write_raster("masks/a.tif", np.ones((2, 2), np.uint8))
    write_raster("images/a.tif", pixels, photometric="RGB", alpha="YES")
    assert label(prepared(tmp_path)) == [[255, 255], [255, 255]]
    with_infrared = replace(WANTED, bands=("red", "green", "blue", "nir"))
    with pytest.raises(InputError, match=r"marked as alpha; .* gdal_edit\.py -colorinterp_4 undefined"):
        prepared(tmp_path, with_infrared, overwrite=True)
    write_raster(
        "images/a.tif", pixels, photometric="RGB", alpha="YES", descriptions=("red", "green", "blue", "nir")
    )
    assert label(prepared(tmp_path, with_infrared)) == [[1, 1], [1, 1]]


def test_nodata_of_the_mask_is_ignored_unless_the_table_names_it(
    write_raster: RasterWriter, tmp_path: Path
) -> None:
    write_raster("images/a.tif", photo(1, 3))
    write_raster("masks/a.tif", np.array([[0, 1, 255]], np.uint8), nodata=255)
    buildings = replace(WANTED, table=parse_class_table("building"))
    assert label(prepared(tmp_path, buildings)) == [[0, 1, 255]]
    named = replace(WANTED, table=parse_class_table("background=0,building=1,void=255"))
    assert label(prepared(tmp_path, named, overwrite=True)) == [[0, 1, 2]]
    write_raster("masks/a.tif", np.array([[0, 1, np.nan]], np.float32))
    assert label(prepared(tmp_path, buildings, overwrite=True)) == [[0, 1, 255]]


def test_large_masks_are_read_window_by_window(
    write_raster: RasterWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, 3, (700, 900)).astype(np.uint8)
    write_raster("images/a.tif", photo(700, 900))
    write_raster("masks/a.tif", values)
    monkeypatch.setattr("geoseg.datasets.images.ImageInfo.windows.__defaults__", (512,))
    assert np.array_equal(label(prepared(tmp_path)), values > 0)


def test_another_size(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", np.moveaxis(photo(30, 40), 0, -1))
    save(tmp_path / "masks/a.png", np.kron(np.array([[0, 1], [2, 0]]), np.ones((15, 20))).astype(np.uint8))
    dataset = prepared(tmp_path, replace(WANTED, size=(4, 6), gsd_m=0.5))
    assert label(dataset) == [[0, 0, 0, 1, 1, 1]] * 2 + [[1, 1, 1, 0, 0, 0]] * 2
    pixel_m = 0.5 * (30 * 40 / (4 * 6)) ** 0.5
    assert dataset.items[0].gsd_m == pytest.approx(pixel_m), "a copy's pixels are larger"
    assert dataset.gsd_m == pytest.approx(pixel_m, abs=1e-4)
    assert 4 * 6 * dataset.items[0].gsd_m ** 2 == pytest.approx(30 * 40 * 0.5**2), (
        "the ground is as large as before"
    )
    assert read_window(dataset.image_path(dataset.items[0])).shape == (3, 4, 6)


def test_nodata_of_the_image_is_ignored_in_copies_of_another_size(
    write_raster: RasterWriter, tmp_path: Path
) -> None:
    pixels = photo(8, 8)
    pixels[:, :4] = 0
    write_raster("images/a.tif", pixels, nodata=0)
    write_raster("masks/a.tif", np.ones((8, 8), np.uint8))
    assert label(prepared(tmp_path, replace(WANTED, size=(4, 2)))) == [[255, 255]] * 2 + [[1, 1]] * 2


def test_copies_of_an_earlier_set_are_written_anew(write_raster: RasterWriter, tmp_path: Path) -> None:
    write_raster("images/a.tif", photo(16, 16))
    write_raster("masks/a.tif", np.ones((16, 16), np.uint8))
    for size in ((8, 8), (4, 4)):
        dataset = prepared(tmp_path, replace(WANTED, size=size), overwrite=True)
        assert read_window(dataset.image_path(dataset.items[0])).shape == (3, *size)


def test_copies_of_a_run_that_stopped_stay(write_raster: RasterWriter, tmp_path: Path) -> None:
    for name, value in {"a": 1, "b": 7}.items():
        write_raster(f"images/{name}.tif", photo(4, 4))
        write_raster(f"masks/{name}.tif", np.full((4, 4), value, np.uint8))
    small = replace(WANTED, size=(2, 2))
    with pytest.raises(InputError, match="holds 7"):
        prepared(tmp_path, small)
    copy = tmp_path / "out/images/a.tif"
    before = copy.stat().st_mtime_ns
    write_raster("masks/b.tif", np.ones((4, 4), np.uint8))
    assert len(prepared(tmp_path, small).items) == 2
    assert copy.stat().st_mtime_ns == before


def test_a_copy_never_lies_over_its_image(write_raster: RasterWriter, tmp_path: Path) -> None:
    image = write_raster("images/a.tif", photo(4, 4))
    write_raster("masks/a.tif", np.ones((4, 4), np.uint8))
    before = image.read_bytes()
    wanted = replace(WANTED, size=(2, 2))
    with pytest.raises(InputError, match=r"`out`: a copy of .*a\.tif would lie over the image itself"):
        prepare_masks(find_pairs(tmp_path, None, None), wanted, DatasetBuilder(tmp_path, 0))
    assert image.read_bytes() == before


@pytest.mark.filterwarnings("ignore:The given matrix is equal to Affine.identity")
def test_a_picture_in_a_plane_of_its_own_has_no_place(write_raster: RasterWriter, tmp_path: Path) -> None:
    """As geoseg infer writes the results of a picture that lies nowhere."""
    nowhere = {"crs": PICTURE_CRS.to_wkt(), "transform": PICTURE_TRANSFORM}
    write_raster("images/a.tif", photo(4, 4), **nowhere)
    write_raster("masks/a.tif", np.ones((4, 4), np.uint8), **nowhere)
    with pytest.raises(InputError, match="does not say its resolution"):
        prepared(tmp_path)
    dataset = prepared(tmp_path, replace(WANTED, gsd_m=0.5))
    assert audit_dataset(dataset, 0).problems == ()
    assert as_trained(dataset).image.grid is None


def as_trained(dataset: Dataset) -> Any:
    """The first item as training opens it."""
    return open_site(dataset, dataset.items[0], dataset.gsd_m)


def test_undefined_is_ignored_and_the_others_are_numbered_anew(
    write_raster: RasterWriter, tmp_path: Path
) -> None:
    """As hand-drawn land cover of Sentinel-2 comes: 0 undefined, 1 built-up, 2 vegetation, 3 water, near infrared
    in a band that the file calls alpha, and no place on Earth."""
    pixels = photo(2, 4, 4)
    write_raster(
        "images/a.tif", pixels, crs=None, photometric="RGB", alpha="YES",
        descriptions=("B4", "B3", "B2", "B8"),
    )  # fmt: skip
    save(tmp_path / "masks/a.png", np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8))
    table = parse_class_table("vegetation=2,built-up=1,water=3,ignore=0")
    wanted = replace(WANTED, table=table, bands=("B4", "B3", "B2", "B8"), gsd_m=10.0)
    dataset = prepared(tmp_path, wanted)
    assert [each.name for each in dataset.classes] == ["vegetation", "built-up", "water"]
    assert label(dataset) == [[255, 1, 0, 2], [2, 0, 1, 255]]
    patch = as_trained(dataset).read(Window(0, 0, 2, 4))
    assert np.array_equal(patch.values, pixels)
    assert patch.classes.tolist() == label(dataset)


def test_bands_that_training_could_not_tell_are_refused(write_raster: RasterWriter, tmp_path: Path) -> None:
    write_raster(
        "images/a.tif", photo(2, 2, 4), photometric="MINISBLACK", descriptions=("vv", "vh", "hh", "hv")
    )
    write_raster("masks/a.tif", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match=r"has the bands 1 \(vv\), .* e\.g\. `bands` vv,vh,hh,hv"):
        prepared(tmp_path)


@pytest.mark.parametrize("bands", [("B8", "B4"), ("B4", "B3", "B2", "B8")])
def test_smaller_copies_hold_the_bands_in_their_order(
    write_raster: RasterWriter, tmp_path: Path, bands: tuple[str, ...]
) -> None:
    pixels = np.repeat(photo(1, 1, 4), 16, axis=1).repeat(16, axis=2)
    write_raster(
        "images/a.tif", pixels, photometric="RGB", alpha="YES", descriptions=("B4", "B3", "B2", "B8")
    )
    write_raster("masks/a.tif", np.zeros((16, 16), np.uint8))
    site = as_trained(prepared(tmp_path, replace(WANTED, bands=bands, size=(4, 4))))
    values = site.read(Window(0, 0, *site.image.shape)).values
    order = [("B4", "B3", "B2", "B8").index(band) for band in bands]
    assert np.array_equal(values[:, 0, 0], pixels[order, 0, 0])


def test_the_built_in_tables_open(tmp_path: Path) -> None:
    dubai = parse_class_table("dubai")
    colors = np.array([[[0x9B, 0x3C, 0x84]], [[0x9B, 0x10, 0x29]], [[0x9B, 0x98, 0xF6]]], np.uint8)
    assert dubai.map_colors(colors, "x").tolist() == [[255, 1, 0]]
    assert [each.name for each in parse_class_table("massachusetts").classes] == ["background", "building"]
    assert parse_class_table("building").map_values(np.array([[0, 1, 255]]), "x").tolist() == [[0, 1, 1]]


def test_places_and_splits(tmp_path: Path) -> None:
    for name in ("tile1_a", "tile1_b", "tile2_a", "tile3_a"):
        save(tmp_path / f"images/{name}.png", np.moveaxis(photo(4, 4), 0, -1))
        save(tmp_path / f"masks/{name}.png", np.zeros((4, 4), np.uint8))
    rule = SplitRule(validation=["tile1"], test=["tile3"])
    dataset = prepared(tmp_path, replace(WANTED, place=r"tile\d", splits=rule, gsd_m=0.5))
    assert [item.split for item in dataset.items] == ["validation", "validation", "train", "test"]


def test_a_run_that_stopped_goes_on(write_raster: RasterWriter, tmp_path: Path) -> None:
    for name in "ab":
        write_raster(f"images/{name}.tif", photo(4, 4))
        write_raster(f"masks/{name}.tif", np.full((4, 4), 1 if name == "a" else 7, np.uint8))
    with pytest.raises(InputError, match="holds 7"):
        prepared(tmp_path)
    assert not (tmp_path / "out/dataset.toml").exists()
    before = (tmp_path / "out/labels/a.tif").stat().st_mtime_ns
    write_raster("masks/b.tif", np.ones((4, 4), np.uint8))
    assert len(prepared(tmp_path).items) == 2
    assert (tmp_path / "out/labels/a.tif").stat().st_mtime_ns == before
    DatasetBuilder(tmp_path / "out").end()
    with pytest.raises(InputError, match="holds a data set already"):
        prepared(tmp_path)


@pytest.mark.parametrize(
    ("mask", "wanted", "message"),
    [
        (np.full((4, 4), 5), WANTED, "holds 5, which the class table does not name"),
        (np.zeros((4, 5)), WANTED, "is 5 x 4 pixels, but its image"),
        (np.zeros((4, 4)), replace(WANTED, bands=("a", "b", "c", "d")), "has 3 bands, fewer than"),
        (np.zeros((4, 4)), replace(WANTED, gsd_m=None), "does not say its resolution"),
        (np.zeros((4, 4)), replace(WANTED, table=parse_class_table("roof=#ff0000")), "has no colours"),
        (np.zeros((4, 4)), replace(WANTED, table=parse_class_table("land=soil,roof=tile")), "holds 0, which the class"),
        (photo(4, 4), WANTED, "is a mask of colours"),
        (np.zeros((4, 4)), replace(WANTED, place="town"), "finds nothing in the name a"),
        (np.zeros((4, 4)), replace(WANTED, place="("), "not a regular expression"),
        (np.zeros((4, 4)), replace(WANTED, splits=SplitRule(validation=["x"])), "x: no such place"),
    ],
)  # fmt: skip
def test_what_does_not_match_is_refused(
    tmp_path: Path, mask: NDArray[Any], wanted: MaskOptions, message: str
) -> None:
    save(tmp_path / "images/a.png", np.moveaxis(photo(4, 4), 0, -1))
    values = mask.astype(np.uint8)
    save(tmp_path / "masks/a.png", np.moveaxis(values, 0, -1) if values.ndim == 3 else values)
    wanted = wanted if "resolution" in message else replace(wanted, gsd_m=0.5)
    with pytest.raises(InputError, match=message), warnings.catch_warnings():
        prepared(tmp_path, wanted)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", np.moveaxis(photo(4, 4), 0, -1))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.png: not a raster"):
        prepared(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"holds no folder images .* `images` '\*\.tif' or"),
        (["images/a.png"], "holds no folder masks"),
        (["images/a.png", "masks/b.png"], "has no image of the same name"),
        (["images/a.txt", "masks/a.png"], "no file fits"),
        (["images/a.jpg", "images/a.png", "masks/a.png"], "would be named a is there twice"),
    ],
)
def test_wrong_layouts_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=message):
        find_pairs(tmp_path, None, None)


def test_patterns_pair_files_of_one_folder(tmp_path: Path) -> None:
    for name in ("000.tif", "001.tif", "000_classes.png", "001_classes.png", "scene.tif"):
        (tmp_path / name).touch()
    pairs = find_pairs(tmp_path, "*.tif", "*_classes.png")
    assert [(pair.name, pair.image.name, pair.label.name) for pair in pairs] == [
        ("000", "000.tif", "000_classes.png"),
        ("001", "001.tif", "001_classes.png"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("roof", "write NAME=LABELS"),
        ("a=1,b=1", "1 is given to two classes"),
        ("a=#12", "not a colour written like"),
        ("ignore=3", "names no class"),
        ("missing.csv", "not a class table"),
        (",".join(f"c{number}={number}" for number in range(256)), "names 256 classes; labels hold 255"),
    ],
)
def test_wrong_class_tables_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_class_table(text)


def test_fractions_are_no_classes() -> None:
    with pytest.raises(InputError, match=r"x: holds 0\.7, but a mask of classes holds whole numbers"):
        parse_class_table("building").map_values(np.array([[0.0, 1.0, 0.7]]), "x")


def test_large_codes_are_read_as_they_are_written() -> None:
    """A field with gaps comes as floating numbers."""
    table = parse_class_table("land=1234567,roof=7654321")
    assert table.map_words([7654321.0, 1234567.0], "x").tolist() == [1, 0]


def test_a_class_table_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("name,labels,color\nland,0,#00ff00\nroof,1 2,#ff0000\nignore,9,\n")
    table = parse_class_table(str(tmp_path / "classes.csv"))
    assert [each.color for each in table.classes] == ["#00ff00", "#ff0000"]
    assert table.map_values(np.array([[0, 2, 9]]), "x").tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_share_for_validation_leaves_places_to_learn_from(share: float, count: int) -> None:
    """Of two places 80 % is both of them, rounded: before, no place was left to train on."""
    places = [f"place {number}" for number in range(count)]
    splits = list(SplitRule(share=share).of(places).values())
    assert "train" in splits
    assert splits.count("validation") == min(round(share * count), count - 1)


def test_places_that_are_all_named_for_validation_are_a_problem_of_the_set(
    write_raster: RasterWriter, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_raster(f"images/{name}.tif", photo(20, 20, seed=ord(name)))
        write_raster(f"masks/{name}.tif", np.indices((20, 20))[0].astype(np.uint8) % 2)
    dataset = prepared(tmp_path, replace(WANTED, splits=SplitRule(validation=("a", "b"))))
    texts = [problem.text for problem in audit_dataset(dataset, 0).problems]
    assert "no usable item is of the split train" in texts
    with pytest.raises(InputError, match="no item is in the split train; give some places to it"):
        open_sites(dataset, "train", 0.3)
