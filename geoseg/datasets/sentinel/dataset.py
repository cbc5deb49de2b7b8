"""Training sets from images and label rasters of other grids: Sentinel-2 with ESM, GHSL, WSF or WorldCover.

Label rasters may be of any CRS and resolution, one for each image or tiles that lie under all of them.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from geoseg.datasets.builder import (
    IMAGE_FOLDERS,
    DatasetBuilder,
    find_pairs,
    flatten_name,
    guess_pattern,
    match_files,
)
from geoseg.datasets.images import (
    ImageInfo,
    find_bands,
    open_image,
    read_image_info,
    read_valid_mask,
    write_label,
)
from geoseg.datasets.masks import MaskOptions, assemble_dataset
from geoseg.datasets.schema import IGNORE, Dataset
from geoseg.datasets.sentinel.fractions import apply_threshold, compute_fractions, count_points
from geoseg.datasets.sentinel.reflectance import (
    CloudOptions,
    Reflectance,
    open_cloud_cover,
    read_reflectance,
    write_scaled_vrt,
)
from geoseg.errors import InputError
from geoseg.io.atomic import replace_text
from geoseg.raster.grid import Grid, Window
from geoseg.raster.lists import PICTURE_SUFFIXES
from geoseg.records import parse_json

log = logging.getLogger(__name__)

SHARES_FILE = "shares.json"
LARGEST_PIECE, SAMPLES_ACROSS = 512, 2048
"""Side of the pieces in which labels are warped: at most so many pixels, and so many points that are sampled in them."""
DRIFT = 0.1
"""Change of a class's share, by the threshold, from which a warning tells it."""


@dataclass(frozen=True)
class SentinelSource:
    """An image, the label rasters of its ground, the first lying on top, and the raster of its clouds if it has one."""

    name: str
    image: Path
    labels: tuple[Path, ...]
    cloud: Path | None = None


@dataclass(frozen=True)
class SourcePatterns:
    """How a user says which files are which: one label for each image, or tiles that lie under all of them."""

    images: str | None = None
    labels: str | None = None
    tiles: str | None = None
    cloud: str | None = None


def find_sources(source: Path, options: SourcePatterns) -> list[SentinelSource]:
    """Every image below a folder with its labels and clouds."""
    if options.tiles:
        tiles = [read_placed_info(path) for path in find_tiles(options.tiles)]
        images = match_files(source, options.images or guess_pattern(source, IMAGE_FOLDERS, "`images`"))
        found = [
            SentinelSource(name, path, select_tiles(path, tiles)) for name, path in sorted(images.items())
        ]
    else:
        pairs = find_pairs(source, options.images, options.labels)
        found = [SentinelSource(pair.name, pair.image, (pair.label,)) for pair in pairs]
    return add_clouds(found, match_files(source, options.cloud)) if options.cloud else found


def add_clouds(found: Iterable[SentinelSource], clouds: dict[str, Path]) -> list[SentinelSource]:
    sources = []
    for each in found:
        if each.name not in clouds:
            raise InputError(f"{each.image}: has no cloud raster of the same name; see `cloud`")
        sources.append(SentinelSource(each.name, each.image, each.labels, clouds[each.name]))
    return sources


def find_tiles(text: str) -> list[Path]:
    """The rasters that a file's name, a folder or a pattern stands for."""
    if Path(text).is_dir():
        paths = sorted(path for path in Path(text).rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    else:
        paths = [Path(path) for path in sorted(glob.glob(text, recursive=True))]
    if not paths:
        raise InputError(f"`label_tiles` {text}: no raster is there")
    return paths


def read_placed_info(path: Path) -> ImageInfo:
    found = read_image_info(path)
    if found.grid is None:
        raise InputError(f"{path}: has no place on Earth")
    return found


def select_tiles(image: Path, tiles: Sequence[ImageInfo]) -> tuple[Path, ...]:
    """The tiles that an image's ground may lie in."""
    grid = read_placed_info(image).grid
    assert grid
    under = tuple(tile.path for tile in tiles if tile.grid and may_overlap(grid, tile.grid))
    if not under:
        raise InputError(
            f"{image}: no label tile lies under it ({len(tiles)} looked at); is it the right area?"
        )
    return under


def may_overlap(one: Grid, other: Grid) -> bool:
    """Whether the boxes of two grids touch, seen in the CRS of the second."""
    across = Transformer.from_crs(one.crs, other.crs, always_xy=True)
    left, bottom, right, top = across.transform_bounds(*one.bounds, densify_pts=21)
    own = other.bounds
    if not np.isfinite([left, bottom, right, top]).all() or left > right:
        return True
    return left < own[2] and right > own[0] and bottom < own[3] and top > own[1]


@dataclass(frozen=True)
class SentinelOptions(MaskOptions):
    """What is to be made of images and label rasters of other grids.

    A pixel is of the class with the largest fraction among those but the first, if together they reach `threshold`.
    It is ignored where more than half of its points are unknown, or the image shows clouds or nothing there. Without
    `reflectance` an image's pixels mean what its file says.
    """

    threshold: float = 0.5
    clouds: CloudOptions = field(default_factory=CloudOptions)
    reflectance: Reflectance | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise InputError(f"`threshold` {self.threshold:g}: must be above 0 and at most 1")
        if self.table.full and len(self.table.classes) != 2:
            raise InputError(
                f"class table: shares up to {self.table.full} are of two classes, not {len(self.table.classes)}"
            )


@dataclass(frozen=True)
class WarpedLabel:
    """An image with its new label: how many pixels each class covers by the source, and by the label's pixels."""

    image: ImageInfo
    by_fraction: NDArray[np.float64]
    by_pixel: NDArray[np.float64]
    tells_reflectance: bool = True


def prepare_sentinel(
    sources: Sequence[SentinelSource], options: SentinelOptions, builder: DatasetBuilder
) -> Dataset:
    """Make a data set of images and label rasters, each label warped to its image's pixels."""
    with builder.begin(kind="labels", sources=[str(each) for each in sources], options=repr(options)):
        calls = [{"source": source, "options": options, "folder": builder.folder} for source in sources]
        warped = builder.run_all("Warping labels", warp_label, calls)
        names = [source.name for source in sources]
        report_reflectance(warped)
        report_shares(warped, options)
        write_shares(names, warped, options, builder.folder)
        return builder.finish(
            assemble_dataset(names, [each.image for each in warped], options, builder.folder)
        )


def report_reflectance(warped: Sequence[WarpedLabel]) -> None:
    untold = [each for each in warped if not each.tells_reflectance]
    if untold:
        log.info(
            f"{len(untold)} images do not say how their pixels mean reflectance and are used as they are; "
            "Sentinel-2 of processing baseline 04.00 and later needs `reflectance` 0.0001,-0.1"
        )


def report_shares(warped: Sequence[WarpedLabel], options: SentinelOptions) -> None:
    """Say how the share of each class came through, and warn where the threshold changed it."""
    before = np.sum([each.by_fraction for each in warped], axis=0)
    after = np.sum([each.by_pixel for each in warped], axis=0)
    for entry, source, label in zip(
        options.table.classes, compute_portions(before), compute_portions(after), strict=True
    ):
        line = f"{entry.name}: {source:.1%} of the ground by the source, {label:.1%} by the label"
        drifted = abs(label - source) > DRIFT * source
        log.log(logging.WARNING if drifted else logging.INFO, line)


def compute_portions(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amounts as parts of their sum."""
    parts: NDArray[np.float64] = amounts / max(amounts.sum(), 1e-9)
    return parts


def write_shares(
    names: Sequence[str], warped: Sequence[WarpedLabel], options: SentinelOptions, folder: Path
) -> None:
    """Leave `shares.json`: the share of each class in each image, by the source and by the label."""
    classes = [each.name for each in options.table.classes]
    record = {
        name: {
            entry: {"source": round(source, 6), "label": round(label, 6)}
            for entry, source, label in zip(
                classes,
                compute_portions(each.by_fraction).tolist(),
                compute_portions(each.by_pixel).tolist(),
                strict=True,
            )
        }
        for name, each in zip(names, warped, strict=True)
    }
    write_json(folder / SHARES_FILE, record)


def write_json(path: Path, record: Any) -> None:
    replace_text(path, json.dumps(record, indent=1))


def warp_label(source: SentinelSource, options: SentinelOptions, folder: Path) -> WarpedLabel:
    """Write the label of one image, unless it is there, and tell how the share of each class came through."""
    image = read_placed_info(source.image)
    assert image.grid
    meaning = options.reflectance or read_reflectance(source.image)
    label = folder / options.label(source.name)
    sums = read_earlier_sums(label, source, options)
    if sums is None:
        sums = np.zeros((2, len(options.table.classes)))
        write_label(label, image, warp_windows(source, image, image.grid, options, sums))
        write_json(
            make_note_path(label), {"made_of": compute_fingerprint(source, options), "sums": sums.tolist()}
        )
    if meaning and not meaning.is_usual:
        image = write_scaled_vrt(
            image, meaning, options.bands, folder / "images" / f"{flatten_name(source.name)}.vrt"
        )
    return WarpedLabel(image, sums[0], sums[1], meaning is not None)


def make_note_path(label: Path) -> Path:
    """Where it is noted what a label was made of."""
    return label.with_suffix(".json")


def read_earlier_sums(
    label: Path, source: SentinelSource, options: SentinelOptions
) -> NDArray[np.float64] | None:
    """The sums of a label that was already made of the very same files in the very same way."""
    try:
        note = parse_json(make_note_path(label).read_text(encoding="utf-8"))
        same = label.exists() and note["made_of"] == compute_fingerprint(source, options)
        return np.array(note["sums"], np.float64) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def compute_fingerprint(source: SentinelSource, options: SentinelOptions) -> str:
    """A fingerprint of everything that a label's pixels depend on: files, by size and time of change, and settings."""
    files = [source.image, *source.labels, *([source.cloud] if source.cloud else [])]
    stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    settings = (options.table, options.threshold, options.clouds, options.bands)
    return hashlib.sha256(repr((stamps, settings)).encode()).hexdigest()


def warp_windows(
    source: SentinelSource, image: ImageInfo, grid: Grid, options: SentinelOptions, sums: NDArray[np.float64]
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """Class values piece by piece; adds to the sums of each class by fraction and by pixel."""
    points = max(
        count_points(grid, label) for path in source.labels if (label := read_placed_info(path).grid)
    )
    numbers = find_bands(image, options.bands)
    with ExitStack() as files:
        labels = [files.enter_context(open_image(path)) for path in source.labels]
        pixels = files.enter_context(open_image(source.image))
        cover = files.enter_context(open_cloud_cover(image, source.cloud, options.clouds))
        for window in image.windows(min(LARGEST_PIECE, SAMPLES_ACROSS // 2 ** (points - 1).bit_length())):
            fractions = compute_fractions(labels, grid.window(window), points, options.table)
            classes = apply_threshold(fractions, options.threshold)
            classes[cover.hides(grid, window) | ~read_shown_mask(pixels, window, numbers)] = IGNORE
            sums[0] += fractions[:, classes != IGNORE].sum(axis=1)
            sums[1] += np.bincount(classes.ravel(), minlength=256)[: len(fractions)]
            yield window, classes


def read_shown_mask(pixels: Any, window: Window, numbers: Sequence[int]) -> NDArray[np.bool_]:
    """Which pixels the image knows: not nodata by its file and not 0 in every band, which is ESA's no data."""
    rows, cols = window.slices
    values = pixels.read(list(numbers), window=((rows.start, rows.stop), (cols.start, cols.stop)))
    known: NDArray[np.bool_] = read_valid_mask(pixels, window, len(numbers)) & (values != 0).any(axis=0)
    return known
