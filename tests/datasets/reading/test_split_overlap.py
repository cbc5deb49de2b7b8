from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from made import HERE, UTM33, RasterWriter
from pyproj import Transformer
from squares import CLASSES, array_set, town

from geoseg.datasets.reading.sites import Site, open_site
from geoseg.datasets.reading.split_overlap import find_same_places, refuse_shared_ground, shares_ground
from geoseg.datasets.schema import Dataset, Item
from geoseg.errors import InputError

Placer = Callable[..., Site]


@pytest.mark.parametrize("shift", [0, 40])
def test_splits_that_share_ground_are_refused(shift: int, write_raster: RasterWriter, tmp_path: Path) -> None:
    image, labels = town(256, 1)
    write_raster("a.tif", image)
    write_raster("b.tif", image, transform=HERE @ Affine.translation(shift, shift))
    write_raster("far.tif", image, transform=HERE @ Affine.translation(512, 0))
    np.save(tmp_path / "labels.npy", labels)
    items = {name: Item(f"{name}.tif", "labels.npy", name) for name in ("a", "b", "far")}
    dataset = Dataset("d", "", "", "", 0.3, ("r", "g", "b"), CLASSES, tuple(items.values()), tmp_path)
    sites = {name: open_site(dataset, item, 0.3) for name, item in items.items()}
    with pytest.raises(InputError, match=r"a.tif \(train\) and b.tif \(validation\) show the same ground"):
        refuse_shared_ground({"train": [sites["a"]], "validation": [sites["far"], sites["b"]]})
    refuse_shared_ground({"train": [sites["a"], sites["b"]], "validation": [sites["far"]]})


@pytest.mark.parametrize(
    ("row", "col", "side", "shared"), [(70, 90, 45, True), (226, 0, 128, True), (250, 0, 128, False)]
)
def test_a_crop_and_a_neighbour_that_laps_over_are_refused(
    *, row: int, col: int, side: int, shared: bool, write_raster: RasterWriter, tmp_path: Path
) -> None:
    image, labels = town(256, 1)
    write_raster("whole.tif", image)
    write_raster("part.tif", image[:, :side, :side], transform=HERE @ Affine.translation(col, row))
    np.save(tmp_path / "whole.npy", labels)
    np.save(tmp_path / "part.npy", labels[:side, :side])
    items = [Item(f"{name}.tif", f"{name}.npy", name) for name in ("whole", "part")]
    dataset = Dataset("d", "", "", "", 0.3, ("r", "g", "b"), CLASSES, tuple(items), tmp_path)
    whole, part = (open_site(dataset, item, 0.3) for item in items)
    assert shares_ground(whole, part) == shares_ground(part, whole) == shared


@pytest.mark.parametrize("border", [128, 100])
def test_one_image_may_be_shared_out_by_its_labels(
    border: int, write_raster: RasterWriter, tmp_path: Path
) -> None:
    image, labels = town(256, 1)
    write_raster("a.tif", image)
    for name, hidden in (("west", np.s_[:, border:]), ("east", np.s_[:, :border])):
        part = labels.copy()
        part[hidden] = 255
        np.save(tmp_path / f"{name}.npy", part)
    items = [Item("a.tif", f"{name}.npy", name) for name in ("west", "east")]
    dataset = Dataset("d", "", "", "", 0.3, ("r", "g", "b"), CLASSES, tuple(items), tmp_path)
    west, east = (open_site(dataset, item, 0.3) for item in items)
    refuse_shared_ground({"train": [west], "validation": [east]})


def test_an_image_without_a_place_is_known_again_by_its_pixels(tmp_path: Path) -> None:
    dataset = array_set(tmp_path)
    one, two, three = (open_site(dataset, item, 0.3) for item in dataset.items)
    refuse_shared_ground({"train": [one, two], "validation": [three]})
    np.save(tmp_path / "copy.npy", np.load(tmp_path / "a.npy"))
    copy = open_site(dataset, replace(dataset.items[0], image="copy.npy", place="z"), 0.3)
    with pytest.raises(InputError, match="same ground"):
        refuse_shared_ground({"train": [one], "validation": [copy]})


@pytest.fixture
def placed(write_raster: RasterWriter, tmp_path: Path) -> Placer:
    """Make a site of 128 pixels whose middle is at a longitude and latitude."""

    def place(name: str, middle: tuple[float, float], crs: str = UTM33, pixel: float = 0.3) -> Site:
        image, labels = town(128, 1)
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*middle)
        transform = Affine.translation(x, y) @ Affine.scale(pixel, -pixel) @ Affine.translation(-64, -64)
        write_raster(f"{name}.tif", image, crs=crs, transform=transform)
        write_raster(f"{name}-labels.tif", labels, crs=crs, transform=transform)
        item = Item(f"{name}.tif", f"{name}-labels.tif", name)
        dataset = Dataset("d", "", "", "", 0.3, ("r", "g", "b"), CLASSES, (item,), tmp_path)
        return open_site(dataset, item, 0.3)

    return place


@pytest.mark.parametrize(
    ("lon", "lat", "one", "other", "pixel"),
    [
        (12.0001, 52.5, "EPSG:32632", "EPSG:32633", 0.3),
        (12.0001, 52.5, "EPSG:32633", "EPSG:4326", 0.3 / 90_000),
        (179.99999, -16.8, "EPSG:32760", "EPSG:32701", 0.3),
        (-179.99999, -16.8, "EPSG:32701", "EPSG:32760", 0.3),
        (20.0, 69.0, "EPSG:32634", "EPSG:3857", 0.3 / 0.358),
    ],
)
def test_ground_is_known_again_in_another_crs_and_across_the_antimeridian(
    *, lon: float, lat: float, one: str, other: str, pixel: float, placed: Placer
) -> None:
    here = placed("here", (lon, lat), one)
    same, beside = (
        placed("same", (lon, lat), other, pixel),
        placed("beside", (lon, lat + 0.001), other, pixel),
    )
    assert [pair[1].place for pair in find_same_places([here], [beside, same])] == ["same"]


def test_looking_at_neighbours_alone_misses_no_pair(placed: Placer) -> None:
    chance = np.random.default_rng(0)
    middles = zip(chance.uniform(15, 15.002, 16), chance.uniform(50, 50.002, 16), strict=True)
    sites = [placed(str(i), middle, pixel=[0.3, 0.9][i % 2]) for i, middle in enumerate(middles)]
    ones, others = sites[:8], sites[8:]
    found = {(a.place, b.place) for a, b in find_same_places(ones, others)}
    assert found == {(a.place, b.place) for a, b in product(ones, others) if shares_ground(a, b)}
    assert 5 < len(found) < 50
