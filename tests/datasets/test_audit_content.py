"""What the audit tells of images and labels, against counts by hand; and that it stays small for sets of any size."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from geoseg.datasets.audit.charts import count_tenths
from geoseg.datasets.audit.clouds import find_cloud
from geoseg.datasets.audit.content import (
    BINS,
    PIXELS_PER_CLASS,
    AuditContent,
    ContentLimits,
    choose_richest,
    count_histograms,
    find_pairs,
    gather_content,
    list_worst,
    sample_pixels,
)
from geoseg.datasets.audit.findings import AuditResult
from geoseg.datasets.audit.records import SPOT_SIDE, AuditRecord, find_spots
from geoseg.datasets.audit.run import audit_dataset
from geoseg.datasets.builder import DatasetBuilder
from geoseg.datasets.schema import Dataset, Item, write_dataset
from geoseg.errors import InputError
from geoseg.raster.grid import Window
from geoseg.raster.palette import ClassEntry

RGB = ("red", "green", "blue")
CLASSES = (ClassEntry("land", "#000000"), ClassEntry("roof", "#e4572e"), ClassEntry("road", "#2e86ab"))
CHANCE = np.random.default_rng(3)


def make_set(folder: Path, images: dict[str, NDArray[Any]], labels: dict[str, NDArray[np.uint8]]) -> Dataset:
    """A set of arrays, each a place of its own."""
    items = []
    for name, image in images.items():
        np.save(folder / f"{name}.npy", image)
        np.save(folder / f"{name}-label.npy", labels[name])
        items.append(Item(f"{name}.npy", f"{name}-label.npy", name, "train", 0.3))
    bands = RGB if len(next(iter(images.values()))) == 3 else ("grey",)
    dataset = Dataset("made", "CC0", "me", "here", 0.3, bands, CLASSES, tuple(items), folder)
    write_dataset(dataset, folder)
    return dataset


def look_into(dataset: Dataset, **limits: int) -> AuditContent:
    return gather_content(
        audit_dataset(dataset, workers=0), DatasetBuilder(dataset.folder, 0), ContentLimits(**limits)
    )


def noise(side: int, low: int = 0, high: int = 256) -> NDArray[np.uint8]:
    return CHANCE.integers(low, high, (3, side, side)).astype(np.uint8)


def test_histograms_are_those_of_each_class(tmp_path: Path) -> None:
    image, label = noise(15), CHANCE.integers(0, 3, (15, 15)).astype(np.uint8)
    label[0] = 255
    found = look_into(make_set(tmp_path, {"a": image}, {"a": label})).histograms
    known = label != 255
    for band, edges, shares in zip(image, found.edges, found.shares, strict=True):
        low, high = np.percentile(band[known].astype(np.float32), (0.5, 99.5))
        assert edges[[0, -1]].tolist() == pytest.approx([low, high])
        for value in range(3):
            values = band[label == value].clip(low, high)
            expected, _ = np.histogram(values, BINS, (low, high))
            assert shares[value].sum() == pytest.approx(1)
            # numpy and we may put a value that lies on an edge on different sides of it.
            assert np.abs(np.cumsum(shares[value]) - np.cumsum(expected) / len(values)).max() <= 2 / len(
                values
            )


def test_a_class_that_is_nowhere_has_an_empty_histogram_and_no_sample(tmp_path: Path) -> None:
    found = look_into(make_set(tmp_path, {"a": noise(20)}, {"a": np.zeros((20, 20), np.uint8)}))
    assert not found.histograms.shares[:, 1:].any()
    assert {pair.value for pair in found.pairs} == {0}
    assert list(found.summary["histograms"]["bands"][0]["shares"]) == ["land"]


def test_a_band_of_one_value_has_a_histogram(tmp_path: Path) -> None:
    flat = count_histograms(np.full((1, 50), 7, np.float32), np.zeros(50, np.uint8), 1, 1)
    assert flat.shares[0, 0, 0] == 1
    assert (np.diff(flat.edges) > 0).all()


def test_an_image_adds_no_more_than_so_many_pixels_of_a_class(tmp_path: Path) -> None:
    label = np.zeros((600, 600), np.uint8)
    label[120:130, 120:130] = 2
    dataset = make_set(tmp_path, {"a": noise(600)}, {"a": label})
    sampled = sample_pixels(replace(dataset, items=()), dataset.items[0])
    assert np.bincount(sampled[1]).tolist() == [PIXELS_PER_CLASS, 0, 100]


def test_a_class_in_a_far_corner_of_a_large_image_has_its_histogram(tmp_path: Path) -> None:
    image, label = noise(900), np.zeros((900, 900), np.uint8)
    label[5:12, 400:410] = 1
    image[:, 5:12, 400:410] = 99
    found = look_into(make_set(tmp_path, {"a": image}, {"a": label}))
    places = np.searchsorted(found.histograms.edges[0], 99, side="right") - 1
    assert found.histograms.shares[0, 1, places] == 1


def test_the_piece_with_most_of_a_class_is_found_as_by_trying_all() -> None:
    classes = np.random.default_rng(5).integers(0, 4, (500, 700)).astype(np.uint8)
    classes[200:260, 390:500] = 3
    found = find_spots(classes, Window(1000, 2000, 500, 700))
    for value in range(4):
        tried = {
            (r, c): int((classes[r : r + SPOT_SIDE, c : c + SPOT_SIDE] == value).sum())
            for r in range(0, 500, SPOT_SIDE)
            for c in range(0, 700, SPOT_SIDE)
        }
        pixels, row, col = found[value]
        assert pixels == max(tried.values()) == tried[row - 1000, col - 2000]


@pytest.mark.parametrize(
    ("values", "cloudy"),
    [
        (np.array([220, 215, 230], np.uint8), True),
        (np.array([220, 150, 230], np.uint8), False),  # bright, but coloured
        (np.array([190, 190, 190], np.uint8), False),  # white, but not bright
        (np.array([4000, 4100, 3900], np.uint16), True),
        (np.array([2500, 2500, 2500], np.uint16), False),
        (np.array([0.42, 0.4, 0.44], np.float32), True),
        (np.array([4200.0, 4000.0, 4400.0], np.float32), True),
        (np.array([0.1, 0.1, 0.1], np.float32), False),
        (np.array([np.nan, 0.5, 0.5], np.float32), False),
        (np.array([-12.0, -11.0, -13.0], np.float32), False),  # radar
    ],
)
def test_cloud_is_bright_and_white(values: NDArray[Any], cloudy: bool) -> None:
    assert find_cloud(values[:, None, None], RGB).tolist() == [[cloudy]]


def test_cloud_is_looked_for_in_the_colours_of_a_satellite() -> None:
    pixel = np.array([9000, 4000, 4000, 4000], np.uint16)[:, None, None]
    assert find_cloud(pixel, ("B8", "B4", "B3", "B2")).all()
    assert not find_cloud(pixel, ("B4", "B3", "B2", "B8")).any()


def test_shares_of_cloud_and_unknown_ground_are_counted_pixel_by_pixel(tmp_path: Path) -> None:
    image, label = noise(40, 0, 150), CHANCE.integers(0, 3, (40, 40)).astype(np.uint8)
    image[:, :10] = 240
    label[:, :4] = 255
    found = look_into(make_set(tmp_path, {"a": image}, {"a": label})).summary
    assert found["images"] == [{"image": "a.npy", "cloud": 0.25, "unknown": 0.1}]
    assert found["images_not_listed"] == 0
    assert "bytes: 200 and more" in found["cloud_rule"]
    written = json.loads((tmp_path / "audit.json").read_text())
    assert {key: written[key] for key in found} == json.loads(json.dumps(found))


def test_each_class_is_shown_where_there_is_most_of_it(tmp_path: Path) -> None:
    labels = {name: np.zeros((400, 400), np.uint8) for name in "abc"}
    labels["a"][:60, :60] = labels["b"][300:, 300:] = 1
    labels["c"][:5, :5] = 1
    labels["b"][0, 0] = 2
    dataset = make_set(tmp_path, {name: noise(400) for name in "abc"}, labels)
    found = look_into(dataset)
    shown = {value: [pair for pair in found.pairs if pair.value == value] for value in range(3)}
    assert [[dataset.items[pair.index].place for pair in shown[value]] for value in (1, 2)] == [
        ["b", "a"],
        ["b"],
    ]
    for pair in found.pairs:
        seen = labels[dataset.items[pair.index].place][pair.window.slices] == pair.value
        assert seen.shape == (SPOT_SIDE, SPOT_SIDE)
        assert pair.share == pytest.approx(seen.mean())
        assert seen.any()
    told = found.summary["samples"]
    assert {each["class"] for each in told} == {"land", "roof", "road"}
    assert all((tmp_path / each["image"]).exists() and (tmp_path / each["label"]).exists() for each in told)


def test_the_page_grows_by_its_new_sections(tmp_path: Path) -> None:
    label = CHANCE.integers(0, 3, (40, 40)).astype(np.uint8)
    audit_dataset(make_set(tmp_path, {"a": noise(40)}, {"a": label}), workers=0)
    with Image.open(tmp_path / "audit.png") as page:
        colors = {color for _, color in page.getcolors(page.width * page.height) or []}  # type: ignore[misc]
        assert page.height > 1000
    assert {(0xE4, 0x57, 0x2E), (0x2E, 0x86, 0xAB)} <= colors


def test_tenths_hold_their_upper_ends() -> None:
    assert count_tenths([0, 0.05, 0.1, 0.11, 1.0, 0.999]) == [1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert count_tenths([]) == [0] * 11


def test_large_sets_are_sampled(tmp_path: Path) -> None:
    images = {f"i{number:02}": noise(12) for number in range(12)}
    labels = {name: np.zeros((12, 12), np.uint8) for name in images}
    labels["i07"][:] = 1
    labels["i07"][0] = 255
    found = look_into(make_set(tmp_path, images, labels), images=4, listed=3)
    assert found.histograms.images == 4 + 1, "and the image with most of the second class"
    assert found.summary["images"][0]["image"] == "i07.npy"
    assert (len(found.summary["images"]), found.summary["images_not_listed"]) == (3, 9)


def test_a_quarter_of_a_million_images_are_searched_for_samples_in_seconds() -> None:
    """As many as crowdAI has; only the few best of each class are remembered."""
    count = 250_000
    record = AuditRecord(values=np.array([0, 1], np.uint8), pixels=np.array([900, 100]))
    richest = replace(record, pixels=np.array([100, 900]))
    items = tuple(Item(f"{i}.npy", f"{i}-label.npy", f"place {i}", "train", 0.3) for i in range(count))
    dataset = Dataset("many", "CC0", "me", "here", 0.3, RGB, CLASSES, items, Path("nowhere"))
    looks = [record] * count
    looks[123_456] = richest
    start = time.process_time()
    best = choose_richest(AuditResult(dataset, tuple(looks), ()))
    assert best == [[0, 1], [123_456, 0], []]
    most = ContentLimits().listed
    assert len(list_worst(looks, 255, most)) == most
    assert time.process_time() - start < 20


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    images = {"a": noise(20), "b": noise(20)}
    dataset = make_set(tmp_path, images, {name: np.zeros((20, 20), np.uint8) for name in images})
    (tmp_path / "a.npy").write_bytes(b"no array")
    found = look_into(dataset)
    assert found.histograms.images == 1
    assert [each["image"] for each in found.summary["images"]] == ["b.npy"]


def test_a_set_of_which_nothing_can_be_read_has_a_page(tmp_path: Path) -> None:
    dataset = make_set(tmp_path, {"a": noise(20)}, {"a": np.zeros((20, 20), np.uint8)})
    (tmp_path / "a.npy").unlink()
    found = look_into(dataset)
    assert found.summary["histograms"] == {"images": 0, "bands": []}
    assert found.summary["samples"] == found.summary["images"] == []
    assert (tmp_path / "audit.png").exists()


def test_an_image_that_vanishes_while_it_is_looked_at_is_named(tmp_path: Path) -> None:
    images = {"a": noise(20), "b": noise(20)}
    dataset = make_set(tmp_path, images, {name: np.zeros((20, 20), np.uint8) for name in images})
    audited = audit_dataset(dataset, workers=0)
    (tmp_path / "b.npy").unlink()
    with pytest.raises(InputError, match=r"b\.npy"):
        list(find_pairs(audited))
    with pytest.raises(InputError, match=r"b\.npy"):
        sample_pixels(dataset, dataset.items[1])


def test_what_is_no_number_has_no_place_in_a_histogram(tmp_path: Path) -> None:
    image = CHANCE.random((3, 20, 20)).astype(np.float32)
    image[0, :10] = np.nan
    image[1, 10] = np.inf
    dataset = make_set(tmp_path, {"a": image}, {"a": np.zeros((20, 20), np.uint8)})
    sampled = sample_pixels(dataset, dataset.items[0])
    assert sampled[0].shape == (3, 9 * 20)
