"""What images and labels hold: histograms of each band for each class, clouds and unknown ground, and samples of each class.

Looked at in a sample of the images, so that it takes seconds and a few megabytes for sets of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.audit.clouds import CLOUD_RULE
from geoseg.datasets.audit.findings import AuditResult
from geoseg.datasets.audit.records import SPOT_SIDE, AuditRecord, make_label_reader, read_known_pixels
from geoseg.datasets.builder import DatasetBuilder
from geoseg.datasets.images import ImageInfo, find_bands, read_image_info, read_window
from geoseg.datasets.polygons import ClassReader
from geoseg.datasets.schema import Dataset, Item
from geoseg.raster.grid import Window

PIECE = 128
"""Side of the four pieces that are read of a large image; an image of four pieces or less is read whole."""
PIXELS_PER_CLASS = 256
"""Pixels of each class that an image adds to the histograms."""
BINS = 64
TAILS = (0.5, 99.5)
"""Histograms lie between these percentiles; what is beyond counts in the first and the last bin."""
PAIRS = 2
"""Samples of each class, of different places where there are any."""


@dataclass(frozen=True)
class ContentLimits:
    """How much of a large set is looked at, and told."""

    images: int = 200
    """Images that histograms are made of, evenly spread over the set."""
    listed: int = 1000
    """Images whose shares of cloud and unknown ground are listed one by one, the largest shares first."""


Pixels = tuple[NDArray[np.float32], NDArray[np.uint8]]


@dataclass(frozen=True)
class BandHistograms:
    """For each band, bin edges (band, edge) and the share of each class's pixels in each bin (band, class, bin)."""

    edges: NDArray[np.float64]
    shares: NDArray[np.float64]
    images: int

    def describe(self, dataset: Dataset) -> list[dict[str, Any]]:
        names = [each.name for each in dataset.classes]
        if not self.images:
            return []
        return [
            {
                "band": band,
                "edges": np.round(edges, 4).tolist(),
                "shares": {
                    name: np.round(share, 4).tolist()
                    for name, share in zip(names, shares, strict=True)
                    if share.any()
                },
            }
            for band, edges, shares in zip(dataset.bands, self.edges, self.shares, strict=True)
        ]


@dataclass(frozen=True)
class SamplePair:
    """Where a class can be looked at: its value, the item (by number), and a window in which there is much of it."""

    value: int
    index: int
    window: Window
    share: float


@dataclass(frozen=True)
class AuditContent:
    """What the images and labels of an audited data set hold."""

    audited: AuditResult
    histograms: BandHistograms
    pairs: tuple[SamplePair, ...]
    limits: ContentLimits = ContentLimits()

    @property
    def summary(self) -> dict[str, Any]:
        """Everything, for programs."""
        dataset = self.audited.dataset
        listed = list_worst(self.audited.looks, dataset.ignore, self.limits.listed)
        return {
            "histograms": {"images": self.histograms.images, "bands": self.histograms.describe(dataset)},
            "cloud_rule": CLOUD_RULE,
            "images": [
                {
                    "image": dataset.items[index].image,
                    "cloud": round(self.audited.looks[index].cloud_share, 4),
                    "unknown": round(self.audited.looks[index].find_unknown_share(dataset.ignore), 4),
                }
                for index in listed
            ],
            "images_not_listed": len(self.audited.looks) - len(listed),
            "samples": [self.describe_pair(pair) for pair in self.pairs],
        }

    def describe_pair(self, pair: SamplePair) -> dict[str, Any]:
        dataset, window = self.audited.dataset, pair.window
        item = dataset.items[pair.index]
        return {
            "class": dataset.classes[pair.value].name,
            "image": item.image,
            "label": item.label,
            "window": [window.row, window.col, window.height, window.width],
            "share": round(pair.share, 4),
        }


def list_worst(looks: Sequence[AuditRecord], ignore: int, most: int) -> list[int]:
    """The images to list: all, or of many those with the largest shares of cloud and unknown ground."""
    usable = [index for index, look in enumerate(looks) if look.error is None]
    if len(usable) <= most:
        return usable
    shares = {i: max(looks[i].cloud_share, looks[i].find_unknown_share(ignore)) for i in usable}
    return sorted(usable, key=lambda index: -shares[index])[:most]


def gather_content(
    audited: AuditResult, builder: DatasetBuilder, limits: ContentLimits = ContentLimits()
) -> AuditContent:
    """Look into a sample of the images, and at the places where there is most of each class."""
    pairs = tuple(find_pairs(audited))
    return AuditContent(audited, gather_histograms(audited, pairs, builder, limits.images), pairs, limits)


def gather_histograms(
    audited: AuditResult, pairs: Sequence[SamplePair], builder: DatasetBuilder, most_images: int
) -> BandHistograms:
    """Histograms of a sample of the images, and of what is shown of each class, so that none is left out."""
    dataset, light = audited.dataset, replace(audited.dataset, items=())
    usable = [index for index, look in enumerate(audited.looks) if look.error is None]
    chosen = sorted({usable[i] for i in spread_evenly(len(usable), most_images)})
    shown: dict[int, list[Window]] = {index: [] for index in chosen}
    for pair in pairs:
        shown.setdefault(pair.index, []).append(pair.window)
    calls = [
        {"dataset": light, "item": dataset.items[index], "more": windows} for index, windows in shown.items()
    ]
    sampled = list(builder.run_each("Sampling", sample_pixels, calls))
    if not sampled:
        return BandHistograms(np.zeros((0, BINS + 1)), np.zeros((0, 0, BINS)), 0)
    values, classes = (np.concatenate(parts, axis=-1) for parts in zip(*sampled, strict=True))
    return count_histograms(values, classes, len(dataset.classes), len(sampled))


def spread_evenly(count: int, most: int) -> list[int]:
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most))}) if count else []


def sample_pixels(dataset: Dataset, item: Item, more: Sequence[Window] = ()) -> Pixels:
    """Pixels (band, pixel) of an image and their classes, some of each class.

    They come from a few pieces, and from the windows in `more`.
    """
    image = read_image_info(dataset.image_path(item))
    read_label = make_label_reader(dataset, item, image)
    windows = dict.fromkeys([*list_pieces(image), *more])
    parts = [sample_window(image, read_label, window, dataset) for window in windows]
    values, classes = (np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True))
    kept = choose_of_each_class(classes)
    return values[:, kept], classes[kept]


def list_pieces(image: ImageInfo) -> list[Window]:
    """The whole of a small image, or a piece in the middle of each quarter of a large one."""
    if image.height * image.width <= (2 * PIECE) ** 2:
        return [Window(0, 0, image.height, image.width)]
    height, width = min(PIECE, image.height), min(PIECE, image.width)
    return [
        Window((image.height - height) * down // 4, (image.width - width) * across // 4, height, width)
        for down in (1, 3)
        for across in (1, 3)
    ]


def sample_window(image: ImageInfo, read_label: ClassReader, window: Window, dataset: Dataset) -> Pixels:
    """All pixels of a window that the image shows and whose class is known."""
    numbers = np.array(find_bands(image, dataset.bands)) - 1
    values, classes = read_window(image.path, window)[numbers], read_label(window)
    known = read_known_pixels(image, window, len(numbers)) & (classes < len(dataset.classes))
    if values.dtype.kind == "f":
        known &= np.isfinite(values).all(axis=0)
    return values[:, known].astype(np.float32), classes[known]


def choose_of_each_class(classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The places of some pixels of each class, drawn at random, always the same ones."""
    chance = np.random.default_rng(0)
    drawn = [
        chance.permutation(np.flatnonzero(classes == value))[:PIXELS_PER_CLASS]
        for value in np.unique(classes).tolist()
    ]
    return np.concatenate([np.zeros(0, np.int64), *drawn])


def count_histograms(
    values: NDArray[np.float32], classes: NDArray[np.uint8], class_count: int, images: int
) -> BandHistograms:
    edges, shares = [], []
    for band in values:
        low, high = np.percentile(band, TAILS) if len(band) else (0.0, 1.0)
        limits = np.linspace(low, high if high > low else low + 1, BINS + 1)
        places = np.clip(np.searchsorted(limits, band, side="right") - 1, 0, BINS - 1)
        table = np.bincount(classes * np.int64(BINS) + places, minlength=class_count * BINS)
        counts = table.reshape(class_count, BINS)
        edges.append(limits)
        shares.append(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    return BandHistograms(np.array(edges), np.array(shares), images)


def find_pairs(audited: AuditResult) -> Iterator[SamplePair]:
    """Windows that show each class, in the images that hold most of it."""
    for value, indices in enumerate(choose_richest(audited)):
        yield from (look_at_spot(audited, value, index) for index in indices)


def choose_richest(audited: AuditResult) -> list[list[int]]:
    """For each class the items with most of its pixels, at most one of a place as long as there are places enough."""
    found: list[list[tuple[int, int]]] = [[] for _ in audited.dataset.classes]
    for index, look in enumerate(audited.looks):
        for value, pixels in zip(look.values.tolist(), look.pixels.tolist(), strict=True):
            if look.error is None and value < len(found):
                found[value] = keep_richest([*found[value], (pixels, index)], audited.dataset.items)
    return [[index for _, index in best] for best in found]


def keep_richest(candidates: list[tuple[int, int]], items: Sequence[Item]) -> list[tuple[int, int]]:
    """The best few candidates (pixels, item): first one of each place, then others."""
    ranked = sorted(candidates, key=lambda each: (-each[0], each[1]))
    first_of: dict[str, tuple[int, int]] = {}
    for each in ranked:
        first_of.setdefault(items[each[1]].place, each)
    others = (each for each in ranked if first_of[items[each[1]].place] != each)
    return [*first_of.values(), *others][:PAIRS]


def look_at_spot(audited: AuditResult, value: int, index: int) -> SamplePair:
    """The piece of an item that has most of a class, and how much."""
    dataset, item, look = audited.dataset, audited.dataset.items[index], audited.looks[index]
    image = read_image_info(dataset.image_path(item))
    row, col = look.spots[look.values.tolist().index(value)].tolist()
    height, width = min(SPOT_SIDE, image.height), min(SPOT_SIDE, image.width)
    window = Window(min(row, image.height - height), min(col, image.width - width), height, width)
    share = float((make_label_reader(dataset, item, image)(window) == value).mean())
    return SamplePair(value, index, window, share)
