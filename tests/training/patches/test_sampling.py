from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from made import HERE, UTM33, RasterWriter
from PIL import Image
from scipy.stats import chisquare
from squares import CLASSES, array_set, town

from geoseg.datasets.reading.sites import Patch, Site, open_site, open_sites, sum_class_counts
from geoseg.datasets.schema import Dataset, Item
from geoseg.errors import InputError
from geoseg.models.card import Scaling
from geoseg.raster.grid import Window, make_placeholder_grid
from geoseg.training.patches.batches import ExtraTargets, PatchDataset, read_batches
from geoseg.training.patches.sampling import GridPatches, RandomPatches, SamplingWeights, parse_class_factors

Opener = Callable[..., Site]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Open one item of a data set in the test's folder."""

    def open_one(image: str, label: str, target_m: float = 0.3, apart: bool = False, **changes: Any) -> Site:
        item = Item(image, label, "here", **changes)
        dataset = Dataset(
            "d", "CC0", "me", "here", target_m, ("red", "green", "blue"), CLASSES, (item,), tmp_path
        )
        return open_site(dataset, item, target_m, apart)

    return open_one


def test_patches_are_the_pixels_of_image_and_label(write_raster: RasterWriter, opened: Opener) -> None:
    image, labels = town(100, 1)
    write_raster("a.tif", image)
    write_raster("b.tif", labels)
    site = opened("a.tif", "b.tif")
    patch = site.read(Window(10, 20, 32, 48))
    assert np.array_equal(patch.values, image[:, 10:42, 20:68])
    assert np.array_equal(patch.classes, labels[10:42, 20:68])
    assert site.counts.sum(axis=(0, 1)).tolist() == np.bincount(labels.ravel()).tolist()


def test_beyond_the_image_and_in_its_nodata_nothing_is_known(
    write_raster: RasterWriter, opened: Opener
) -> None:
    image, labels = town(40, 1)
    image[:, :8] = 0
    write_raster("a.tif", image, nodata=0)
    write_raster("b.tif", labels)
    patch = opened("a.tif", "b.tif").read(Window(-4, 20, 48, 48))
    assert patch.values.shape == (3, 48, 48)
    assert not patch.valid[:12].any()
    assert not patch.valid[:, 20:].any()
    assert (patch.classes[~patch.valid] == 255).all()
    assert np.array_equal(patch.classes[12:44, :20], labels[8:, 20:])


def test_arrays_and_rasters_of_the_same_pixels_give_the_same_patches(
    write_raster: RasterWriter, opened: Opener, tmp_path: Path
) -> None:
    image, labels = town(64, 2)
    write_raster("a.tif", image)
    write_raster("b.tif", labels)
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "b.npy", labels)
    window = Window(-3, 5, 50, 70)
    one, two = (site.read(window) for site in (opened("a.tif", "b.tif"), opened("a.npy", "b.npy", gsd_m=0.3)))
    assert np.array_equal(one.values, two.values)
    assert np.array_equal(one.classes, two.classes)


@pytest.mark.parametrize("kind", ["tif", "npy"])
def test_coarser_training_averages_the_image_and_keeps_labels_whole(
    kind: str, write_raster: RasterWriter, opened: Opener, tmp_path: Path
) -> None:
    image, labels = town(64, 3)
    labels = labels[::2, ::2].repeat(2, 0).repeat(2, 1)
    if kind == "tif":
        write_raster("a.tif", image)
        write_raster("b.tif", labels)
        site = opened("a.tif", "b.tif", 0.6)
    else:
        np.save(tmp_path / "a.npy", image)
        np.save(tmp_path / "b.npy", labels)
        site = opened("a.npy", "b.npy", 0.6, gsd_m=0.3)
    patch = site.read(Window(0, 0, 32, 32))
    expected = image.reshape(3, 32, 2, 32, 2).mean((2, 4))
    assert site.image.shape == (32, 32)
    assert np.abs(patch.values - expected).max() <= 1
    assert np.array_equal(patch.classes, labels[::2, ::2])


def test_an_image_in_degrees_keeps_its_labels_though_its_pixels_become_square(
    write_raster: RasterWriter, opened: Opener
) -> None:
    labels = np.zeros((80, 160), np.uint8)
    labels[20:60, 40:120] = 1
    degree_m = 111_320
    in_degrees = {
        "crs": "EPSG:4326",
        "transform": Affine(0.3 / degree_m, 0, 12, 0, -0.3 / degree_m, 60),
    }
    write_raster("a.tif", np.stack([labels * 200] * 3), **in_degrees)
    write_raster("b.tif", labels, **in_degrees)
    site = opened("a.tif", "b.tif")
    height, width = site.image.shape
    assert abs(width / height - 1) < 0.05
    patch = site.read(Window(0, 0, height, width))
    bright = patch.values[0] > 100
    assert (bright != (patch.classes == 1)).mean() < 0.02
    assert bright.mean() == pytest.approx(0.25, abs=0.02)


def test_a_photograph_without_a_place_is_read_by_the_size_it_is_given(opened: Opener, tmp_path: Path) -> None:
    from PIL import Image

    image, labels = town(60, 4)
    Image.fromarray(np.moveaxis(image, 0, -1)).save(tmp_path / "a.png")
    palette = Image.fromarray(labels, "P")
    palette.putpalette([0, 0, 0, 228, 87, 46])
    palette.save(tmp_path / "b.png")
    site = opened("a.png", "b.png", gsd_m=0.3)
    patch = site.read(Window(0, 0, 60, 60))
    assert np.array_equal(patch.values, image)
    assert np.array_equal(patch.classes, labels)
    with pytest.raises(InputError, match="give the item a gsd_m"):
        opened("a.png", "b.png")


def outlines(folder: Path, name: str, boxes: list[tuple[int, int, int, int]], **columns: Any) -> None:
    """Boxes of pixels (row, col, row, col) as polygons in longitude and latitude."""
    import geopandas
    import shapely

    shapes = []
    for top, left, bottom, right in boxes:
        (x0, y0), (x1, y1) = HERE @ (left, top), HERE @ (right, bottom)
        shapes.append(shapely.box(x0, y1, x1, y0))
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=UTM33).to_file(folder / name, driver="GPKG")


def test_outlines_become_pixels_and_ground_outside_the_labelled_is_unknown(
    write_raster: RasterWriter, opened: Opener, tmp_path: Path
) -> None:
    write_raster("a.tif", town(80, 5)[0])
    outlines(tmp_path, "b.gpkg", [(10, 10, 20, 30), (50, 40, 60, 44)])
    outlines(tmp_path, "area.gpkg", [(0, 0, 70, 80)])
    site = opened("a.tif", "b.gpkg", labelled="area.gpkg")
    expected = np.zeros((80, 80), np.uint8)
    expected[10:20, 10:30] = 1
    expected[50:60, 40:44] = 1
    expected[70:] = 255
    for window in (Window(0, 0, 80, 80), Window(15, 5, 40, 50)):
        assert np.array_equal(site.read(window).classes, expected[window.slices])


def test_outlines_that_touch_are_kept_apart_alike_in_every_window(
    write_raster: RasterWriter, opened: Opener, tmp_path: Path
) -> None:
    write_raster("a.tif", town(80, 5)[0])
    outlines(tmp_path, "row.gpkg", [(10, 10, 20, 20), (10, 20, 20, 30), (20, 10, 30, 30), (40, 40, 50, 50)])
    merged, parted = opened("a.tif", "row.gpkg"), opened("a.tif", "row.gpkg", apart=True)
    expected = merged.read(Window(0, 0, 80, 80)).classes
    expected[10:20, 20] = expected[20, 10:30] = 0
    for row, col in ((0, 0), (10, 20), (11, 21), (20, 10), (19, 29)):
        window = Window(row, col, 40, 40)
        assert np.array_equal(parted.read(window).classes, expected[window.slices])
    assert merged.counts.sum() == parted.counts.sum()


def test_outlines_of_a_picture_without_a_place(opened: Opener, tmp_path: Path) -> None:
    """They lie on the plane of the picture itself; outlines on Earth are refused."""
    import geopandas
    import shapely

    Image.fromarray(np.moveaxis(town(80, 5)[0], 0, -1)).save(tmp_path / "a.png")
    grid = make_placeholder_grid((80, 80), 0.3)
    corners = [grid.transform @ corner for corner in ((10, 20), (30, 20), (30, 25), (10, 25))]
    layer = geopandas.GeoDataFrame(geometry=[shapely.Polygon(corners)], crs=grid.crs)
    layer.to_file(tmp_path / "a.fgb")
    expected = np.zeros((80, 80), np.uint8)
    expected[20:25, 10:30] = 1
    found = opened("a.png", "a.fgb", gsd_m=0.3).read(Window(0, 0, 80, 80)).classes
    assert np.array_equal(found, expected)
    assert opened("a.png", "a.fgb", target_m=0.6, gsd_m=0.3).counts.sum((0, 1))[1] in (20, 30)
    layer.to_crs(4326).to_file(tmp_path / "b.fgb")
    with pytest.raises(InputError, match="outlines in EPSG:4326 need an image with a place on Earth"):
        opened("a.png", "b.fgb", gsd_m=0.3)


def test_outlines_carry_their_classes(write_raster: RasterWriter, opened: Opener, tmp_path: Path) -> None:
    write_raster("a.tif", town(80, 5)[0])
    outlines(tmp_path, "b.gpkg", [(0, 0, 8, 8), (20, 20, 30, 30)], kind=["building", "background"])
    assert opened("a.tif", "b.gpkg", class_field="kind").counts.sum((0, 1)).tolist() == [6400 - 64, 64]
    with pytest.raises(InputError, match="no field sort; it has kind"):
        opened("a.tif", "b.gpkg", class_field="sort")
    outlines(tmp_path, "c.gpkg", [(0, 0, 8, 8)], kind=["shed"])
    with pytest.raises(InputError, match="'shed', which is none of background, building"):
        opened("a.tif", "c.gpkg", class_field="kind")


def test_labels_that_cannot_be_meant_are_refused(
    write_raster: RasterWriter, opened: Opener, tmp_path: Path
) -> None:
    image, labels = town(64, 6)
    write_raster("a.tif", image)
    write_raster("seven.tif", labels * 7)
    write_raster("narrow.tif", labels[:, :40])
    np.save(tmp_path / "narrow.npy", labels[:, :40])
    write_raster("elsewhere.tif", labels, transform=Affine.translation(5000, 0) @ HERE)
    write_raster("other-crs.tif", labels, crs="EPSG:32634")
    write_raster("nothing.tif", np.full_like(labels, 255))
    for name, complaint in {
        "seven.tif": "holds the value 7, but the classes are 0 to 1 and 255 means not known",
        "narrow.tif": "not of the same ground",
        "narrow.npy": "40 x 64 pixels do not fit its image",
        "elsewhere.tif": "not of the same ground",
        "other-crs.tif": "EPSG:32634, its image in EPSG:32633",
        "nothing.tif": "labels no pixel",
        "missing.tif": "no such label",
    }.items():
        with pytest.raises(InputError) as told:
            opened("a.tif", name)
        assert complaint in str(told.value)


def test_large_sets_are_opened_by_several_processes(
    write_raster: RasterWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = []
    for i in range(5):
        write_raster(f"{i}.tif", town(70, i)[0])
        outlines(tmp_path, f"{i}.gpkg", [(i, i, i + 20, i + 30)])
        items.append(Item(f"{i}.tif", f"{i}.gpkg", f"place {i}"))
    dataset = Dataset("d", "", "", "", 0.3, ("r", "g", "b"), CLASSES, tuple(items), tmp_path)
    alone = open_sites(dataset, "train", 0.3)
    together = open_sites(dataset, "train", 0.3, workers=2)
    assert [site.item for site in together] == items
    for one, two in zip(alone, together, strict=True):
        assert np.array_equal(one.counts, two.counts)
        window = Window(3, 5, 40, 40)
        assert np.array_equal(one.read(window).values, two.read(window).values)
        assert np.array_equal(one.read(window).classes, two.read(window).classes)


def test_an_error_in_another_process_is_told_as_here(tmp_path: Path) -> None:
    dataset = array_set(tmp_path)
    np.save(tmp_path / "b-labels.npy", np.full((128, 128), 7, np.uint8))
    with pytest.raises(InputError, match=r"b-labels.npy: holds the value 7"):
        open_sites(dataset, "train", 0.3, workers=1)


def test_no_patches_are_no_batches(tmp_path: Path) -> None:
    """A run that was stopped after its last step has none left to read."""
    sites = open_sites(array_set(tmp_path), "train", 0.3)
    dataset = PatchDataset(GridPatches(sites, 64), Scaling(), 255, ExtraTargets())
    assert list(read_batches(dataset, [], 2, torch.device("cpu"))) == []


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    dataset = array_set(tmp_path)
    only = replace(dataset, items=dataset.items[:2])
    with pytest.raises(InputError, match=r"no item is in the split validation; .* --validation PLACE"):
        open_sites(only, "validation", 0.3)


def drawn_classes(
    sites: tuple[Site, ...], balance: SamplingWeights, count: int = 1500
) -> np.ndarray[Any, Any]:
    patches = RandomPatches(sites, 32, balance, seed=5)
    drawn = []
    for number in range(count):
        site, row, col, wanted = patches.middle(number)
        assert sites[site].read(Window(row, col, 1, 1)).classes[0, 0] == wanted
        drawn.append(wanted)
    return np.bincount(drawn, minlength=len(balance.classes))


@pytest.mark.parametrize(
    ("request_", "names"), [("", 2), ("building=4", 2), ("auto", 3), ("class 2=0, building=2", 3)]
)
def test_classes_are_drawn_as_often_as_asked(request_: str, names: int, tmp_path: Path) -> None:
    dataset = array_set(tmp_path, classes=names)
    sites = open_sites(dataset, "train", 0.3)
    counts = sum_class_counts(sites)
    factors = parse_class_factors(request_, [each.name for each in dataset.classes], counts)
    expected = counts * np.array(factors)
    seen = drawn_classes(sites, SamplingWeights(factors))
    wanted = expected / expected.sum() * seen.sum()
    assert (seen[wanted == 0] == 0).all()
    assert chisquare(seen[wanted > 0], wanted[wanted > 0]).pvalue > 0.01
    if request_ == "auto":
        assert chisquare(seen).pvalue > 0.01


def test_places_are_drawn_alike_where_asked(tmp_path: Path) -> None:
    image, labels = town(256, 8)
    dataset = array_set(tmp_path, side=64)
    np.save(tmp_path / "b.npy", image)
    np.save(tmp_path / "b-labels.npy", labels)
    sites = open_sites(dataset, "train", 0.3)
    for places, share in ((0.0, 1 / 17), (1.0, 1 / 2)):
        patches = RandomPatches(sites, 32, SamplingWeights((1.0, 1.0), places=places), 1)
        first = sum(patches.middle(number)[0] == 0 for number in range(600))
        assert chisquare([first, 600 - first], [600 * share, 600 * (1 - share)]).pvalue > 0.01


def test_empty_ground_is_drawn_less_where_asked(tmp_path: Path) -> None:
    dataset = array_set(tmp_path)
    labels = np.load(tmp_path / "a-labels.npy")
    labels[64:] = 0
    np.save(tmp_path / "a-labels.npy", labels)
    sites = (open_site(dataset, dataset.items[0], 0.3),)
    patches = RandomPatches(sites, 32, SamplingWeights((1.0, 1.0), empty=0.0), 1)
    assert all(patches.middle(number)[1] < 64 for number in range(200))


def drawn(patches: RandomPatches | GridPatches, number: int) -> Patch:
    site, window = patches.place(number)
    return patches.sites[site].read(window)


def test_the_seed_and_the_number_decide_a_patch(tmp_path: Path) -> None:
    sites = open_sites(array_set(tmp_path), "train", 0.3)
    one, two, other = (RandomPatches(sites, 48, SamplingWeights((1.0, 1.0)), seed) for seed in (3, 3, 4))
    assert all(
        np.array_equal(drawn(one, number).values, drawn(two, number).values) for number in (0, 7, 7, 3)
    )
    assert any(one.place(number) != other.place(number) for number in range(5))
    assert all(drawn(one, number).valid.all() for number in range(20))


def test_a_grid_covers_every_labelled_pixel_once(tmp_path: Path) -> None:
    sites = open_sites(array_set(tmp_path, side=100), "train", 0.3)
    patches = GridPatches(sites, 48)
    seen = sum(int((drawn(patches, number).classes != 255).sum()) for number in range(len(patches)))
    assert seen == 2 * 100 * 100
    assert patches.choose_evenly(3) == [0, 8, 17]
    assert patches.choose_evenly(1000) == list(range(18))


@pytest.mark.parametrize("request_", ["shed=3", "building", "building=-1", "building=x", "building=inf"])
def test_oversampling_that_cannot_be_meant_is_refused(request_: str) -> None:
    with pytest.raises(InputError, match=f"`oversample` {request_}"):
        parse_class_factors(request_, ["background", "building"], np.array([5, 5]))
