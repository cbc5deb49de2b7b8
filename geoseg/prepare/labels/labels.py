"""Images with label rasters of other grids: Sentinel-2 with ESM, GHSL, WSF or WorldCover, in any CRS and resolution."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.prepare.dataset import IGNORE, Dataset
from geoseg.prepare.labels.clouds import Clouds, cover_of
from geoseg.prepare.labels.fractions import class_fractions, points_along, thresholded
from geoseg.prepare.labels.reflectance import Reflectance, scaled, told_reflectance
from geoseg.prepare.labels.sources import Source, placed
from geoseg.prepare.making import Workshop
from geoseg.prepare.masks import MaskSet, labelled_pictures
from geoseg.prepare.pairs import flat
from geoseg.prepare.picture import Picture, band_numbers, known_pixels, opened, write_label
from geoseg.raster.grid import Grid, Window

SHARES = "shares.json"
LARGEST_PIECE = 512
SAMPLES_ACROSS = 2048
DRIFT = 0.1


@dataclass(frozen=True)
class LabelSet(MaskSet):
    """What is to be made of images and label rasters of other grids.

    A pixel is of the class with the largest fraction among those but the first, if together they reach `threshold`.
    It is ignored where more than half of its points are unknown, or the image shows clouds or nothing there. Without
    `reflectance` an image's pixels mean what its file says.
    """

    threshold: float = 0.5
    clouds: Clouds = field(default_factory=Clouds)
    reflectance: Reflectance | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise InputError(f"--threshold {self.threshold:g}: must be above 0 and at most 1")
        if self.table.full and len(self.table.classes) != 2:
            raise InputError(
                f"class table: shares up to {self.table.full} are of two classes, not {len(self.table.classes)}"
            )


@dataclass(frozen=True)
class Warped:
    """An image with its new label: how many pixels each class covers by the source, and by the label's pixels."""

    image: Picture
    by_fraction: NDArray[np.float64]
    by_pixel: NDArray[np.float64]
    tells_reflectance: bool = True


def prepare_labels(sources: Sequence[Source], wanted: LabelSet, workshop: Workshop) -> Dataset:
    """Make a data set of images and label rasters, each label warped to its image's pixels."""
    with workshop.recipe(kind="labels", sources=[str(each) for each in sources], wanted=repr(wanted)):
        calls = [{"source": source, "wanted": wanted, "folder": workshop.folder} for source in sources]
        warped = workshop.all_done("Warping labels", warp, calls)
        names = [source.name for source in sources]
        tell_reflectance(warped, workshop)
        tell_shares(warped, wanted, workshop)
        write_shares(names, warped, wanted, workshop.folder)
        return workshop.finish(
            labelled_pictures(names, [each.image for each in warped], wanted, workshop.folder)
        )


def tell_reflectance(warped: Sequence[Warped], workshop: Workshop) -> None:
    untold = [each for each in warped if not each.tells_reflectance]
    if untold:
        workshop.narrator.say(
            f"{len(untold)} images do not say how their pixels mean reflectance and are used as they are; "
            "Sentinel-2 of processing baseline 04.00 and later needs --reflectance 0.0001,-0.1"
        )


def tell_shares(warped: Sequence[Warped], wanted: LabelSet, workshop: Workshop) -> None:
    """Say how the share of each class came through, and warn where the threshold changed it."""
    before = np.sum([each.by_fraction for each in warped], axis=0)
    after = np.sum([each.by_pixel for each in warped], axis=0)
    for land_class, source, label in zip(
        wanted.table.classes, portions(before), portions(after), strict=True
    ):
        line = f"{land_class.name}: {source:.1%} of the ground by the source, {label:.1%} by the label"
        drifted = abs(label - source) > DRIFT * source
        (workshop.narrator.warn if drifted else workshop.narrator.say)(line)


def portions(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amounts as parts of their sum."""
    parts: NDArray[np.float64] = amounts / max(amounts.sum(), 1e-9)
    return parts


def write_shares(names: Sequence[str], warped: Sequence[Warped], wanted: LabelSet, folder: Path) -> None:
    """Leave `shares.json`: the share of each class in each image, by the source and by the label."""
    classes = [each.name for each in wanted.table.classes]
    record = {
        name: {
            land_class: {"source": round(source, 6), "label": round(label, 6)}
            for land_class, source, label in zip(
                classes, portions(each.by_fraction).tolist(), portions(each.by_pixel).tolist(), strict=True
            )
        }
        for name, each in zip(names, warped, strict=True)
    }
    write_json(folder / SHARES, record)


def write_json(path: Path, record: Any) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")
    unfinished.replace(path)


def warp(source: Source, wanted: LabelSet, folder: Path) -> Warped:
    """Write the label of one image, unless it is there, and tell how the share of each class came through."""
    image = placed(source.image)
    assert image.grid
    meaning = wanted.reflectance or told_reflectance(source.image)
    label = folder / wanted.label(source.name)
    sums = warped_before(label, source, wanted)
    if sums is None:
        sums = np.zeros((2, len(wanted.table.classes)))
        write_label(label, image, pieces(source, image, image.grid, wanted, sums))
        write_json(note_of(label), {"made_of": made_of(source, wanted), "sums": sums.tolist()})
    if meaning and not meaning.is_usual:
        image = scaled(image, meaning, wanted.bands, folder / "images" / f"{flat(source.name)}.vrt")
    return Warped(image, sums[0], sums[1], meaning is not None)


def note_of(label: Path) -> Path:
    """Where it is noted what a label was made of."""
    return label.with_suffix(".json")


def warped_before(label: Path, source: Source, wanted: LabelSet) -> NDArray[np.float64] | None:
    """The sums of a label that was already made of the very same files in the very same way."""
    try:
        note = json.loads(note_of(label).read_text(encoding="utf-8"))
        same = label.exists() and note["made_of"] == made_of(source, wanted)
        return np.array(note["sums"], np.float64) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def made_of(source: Source, wanted: LabelSet) -> str:
    """A fingerprint of everything that a label's pixels depend on: files, by size and time of change, and settings."""
    files = [source.image, *source.labels, *([source.cloud] if source.cloud else [])]
    stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    settings = (wanted.table, wanted.threshold, wanted.clouds, wanted.bands)
    return hashlib.sha256(repr((stamps, settings)).encode()).hexdigest()


def pieces(
    source: Source, image: Picture, grid: Grid, wanted: LabelSet, sums: NDArray[np.float64]
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """Class values piece by piece; adds to the sums of each class by fraction and by pixel."""
    points = max(points_along(grid, label) for path in source.labels if (label := placed(path).grid))
    numbers = band_numbers(image, wanted.bands)
    with ExitStack() as files:
        labels = [files.enter_context(opened(path)) for path in source.labels]
        pixels = files.enter_context(opened(source.image))
        cover = files.enter_context(cover_of(image, source.cloud, wanted.clouds))
        for window in image.windows(min(LARGEST_PIECE, SAMPLES_ACROSS // 2 ** (points - 1).bit_length())):
            fractions = class_fractions(labels, grid.window(window), points, wanted.table)
            classes = thresholded(fractions, wanted.threshold)
            classes[cover.hides(grid, window) | ~shown(pixels, window, numbers)] = IGNORE
            sums[0] += fractions[:, classes != IGNORE].sum(axis=1)
            sums[1] += np.bincount(classes.ravel(), minlength=256)[: len(fractions)]
            yield window, classes


def shown(pixels: Any, window: Window, numbers: Sequence[int]) -> NDArray[np.bool_]:
    """Which pixels the image knows: not nodata by its file and not 0 in every band, which is ESA's no data."""
    rows, cols = window.slices
    values = pixels.read(list(numbers), window=((rows.start, rows.stop), (cols.start, cols.stop)))
    known: NDArray[np.bool_] = known_pixels(pixels, window, len(numbers)) & (values != 0).any(axis=0)
    return known
