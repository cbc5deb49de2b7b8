"""What a look at each image and its label leaves behind for the audit: sizes, classes, colours, edges and landmarks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from scipy import ndimage

from geoseg.datasets.audit.clouds import find_cloud
from geoseg.datasets.audit.landmarks import Landmarks, find_landmarks, join_landmarks
from geoseg.datasets.audit.shift import (
    EdgeAgreement,
    Shift,
    add_agreements,
    estimate_shift,
    measure_block_agreements,
)
from geoseg.datasets.audit.thumbnails import THUMB, Thumbs, quantize_thumbnail
from geoseg.datasets.builder import Origin
from geoseg.datasets.classes import ClassTable
from geoseg.datasets.images import (
    ImageInfo,
    find_bands,
    open_image,
    read_image_info,
    read_valid_mask,
    read_window,
)
from geoseg.datasets.polygons import ClassReader, make_class_reader
from geoseg.datasets.reading.labels import convert_classes
from geoseg.datasets.schema import Dataset, Item
from geoseg.datasets.vectors import VectorOptions, read_areas, select_polygons
from geoseg.errors import GeosegError, InputError
from geoseg.footprints.vector_files import open_vector_file
from geoseg.raster.grid import WGS84, Grid, Window, format_crs, make_placeholder_grid
from geoseg.raster.lists import PICTURE_SUFFIXES
from geoseg.raster.source import ARRAY_SUFFIX

ASTRAY_PIXELS = 1.0
"""How far the corners of a label may lie off those of its image."""


def has_vector_label(item: Item) -> bool:
    return not item.label.lower().endswith(PICTURE_SUFFIXES)


def check_label(dataset: Dataset, item: Item, image: ImageInfo) -> None:
    """Refuse a label that is not made for its image."""
    if has_vector_label(item):
        return
    label = read_image_info(dataset.label_path(item))
    if image.shape != label.shape:
        raise InputError(
            f"{item.label}: is {label.width} x {label.height} pixels, its image {image.width} x {image.height}"
        )
    if label.bands != 1:
        raise InputError(
            f"{item.label}: has {label.bands} bands, but a label has one, of class values; "
            "geoseg prepare masks turns colours into them"
        )
    if image.grid and label.grid:
        check_georeference(item.label, image.grid, label.grid)


def check_georeference(name: str, image: Grid, label: Grid) -> None:
    """A label that says it lies elsewhere belongs to another image, or one of the two has a wrong georeference."""
    if image.crs != label.crs:
        raise InputError(f"{name}: is in {format_crs(label.crs)}, its image in {format_crs(image.crs)}")
    corners = ((0, 0), (image.width, image.height))
    off = max(
        np.hypot(*(np.subtract(~image.transform @ (label.transform @ corner), corner))) for corner in corners
    )
    if off > ASTRAY_PIXELS:
        raise InputError(f"{name}: lies {off:,.1f} pixels off its image by its georeference")


def make_label_reader(dataset: Dataset, item: Item, image: ImageInfo) -> ClassReader:
    """What reads the class values of an item's label in a window of its image."""
    if has_vector_label(item):
        return make_polygon_reader(dataset, item, image)
    path = dataset.label_path(item)

    def read(window: Window) -> NDArray[np.uint8]:
        return convert_classes(read_window(path, window)[0], path)

    return read


def make_polygon_reader(dataset: Dataset, item: Item, image: ImageInfo) -> ClassReader:
    grid = image.grid or make_placeholder_grid(image.shape, item.gsd_m or dataset.gsd_m)
    table = make_name_table(dataset)
    options = VectorOptions(Origin(dataset.name), table, dataset.bands, class_field=item.class_field)
    path = dataset.label_path(item)
    found = select_polygons(open_vector_file(path), grid, options)
    if found.unnamed:
        raise InputError(
            f"{path}: {item.class_field} is empty in {found.unnamed:,} of {found.read:,} polygons"
        )
    areas = read_areas(dataset.folder / item.labelled, grid) if item.labelled else None
    return make_class_reader(grid, found.polygons, areas)


def make_name_table(dataset: Dataset) -> ClassTable:
    """What the class field of a label may hold: the names of the classes, or their values."""
    values = {str(value): value for value in range(len(dataset.classes))}
    names = {each.name.lower(): value for value, each in enumerate(dataset.classes)}
    return ClassTable(dataset.classes, values | names)


def read_palette(dataset: Dataset, item: Item, values: Iterable[int]) -> Mapping[int, str]:
    """The colours that a label's own colour table gives its values, if it has one."""
    path = dataset.label_path(item)
    if has_vector_label(item) or path.suffix == ARRAY_SUFFIX:
        return {}
    with open_image(path) as label:
        try:
            palette = label.colormap(1)
        except ValueError:
            return {}
    return {value: "#{:02x}{:02x}{:02x}".format(*palette[value][:3]) for value in values if value in palette}


SPOT_SIDE = 192
"""Side of the pieces in which a class is looked for, to show it where there is most of it."""
SIZES_M2 = tuple(2.0**power for power in range(21))
COUNT, TOTAL, SQUARES, LOWEST, HIGHEST = range(5)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What one item holds, in a kilobyte or so. `error` says why it cannot be used; the rest is empty then.

    `values` are the label's values, `pixels` how many it has of each, and `spots` the row and column of the piece that has
    most of each. `bands` has five rows for every band: count, sum, sum of squares, lowest and highest of the pixels whose
    label is known. Of all pixels, `cloud_share` look like cloud (`clouds.CLOUD_RULE`).
    """

    error: str | None = None
    shape: tuple[int, int] = (0, 0)
    gsd_m: float = 1.0
    values: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    spots: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(SIZES_M2), np.int64))
    bands: NDArray[np.float64] = field(default_factory=lambda: np.zeros((5, 0)))
    is_flat: bool = False
    cloud_share: float = 0.0
    digest: bytes = b""
    shift: Shift | None = None
    outline: tuple[tuple[float, float], ...] = ()
    palette: Mapping[int, str] = field(default_factory=dict)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many pixels of the label have each value a byte can have."""
        counts = np.zeros(256, np.int64)
        counts[self.values] = self.pixels
        return counts

    def find_unknown_share(self, ignore: int) -> float:
        """The share of pixels without a class, whether nobody labelled them or the image does not show them."""
        return float(self.counts[ignore] / max(1, self.pixels.sum()))

    @property
    def area_km2(self) -> float:
        return self.shape[0] * self.shape[1] * self.gsd_m**2 / 1e6


@dataclass(frozen=True)
class ImageFeatures:
    """By what other images of the same ground are found, and how label and edges agree: too much to be kept."""

    thumb: Thumbs
    landmarks: Landmarks
    agreement: EdgeAgreement | None


@dataclass
class RecordBuilder:
    """What windows add up to."""

    gsd_m: float
    ignore: int
    counts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    bands: NDArray[np.float64]
    span: NDArray[np.float64]
    digest: Any
    marks: list[Landmarks] = field(default_factory=list)
    surfaces: list[EdgeAgreement] = field(default_factory=list)
    cloudy: int = 0
    spots: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, gsd_m: float, ignore: int, bands: int) -> RecordBuilder:
        statistics = np.zeros((5, bands))
        statistics[LOWEST], statistics[HIGHEST] = np.inf, -np.inf
        sizes = np.zeros(len(SIZES_M2), np.int64)
        span = statistics[[LOWEST, HIGHEST]]
        return cls(
            gsd_m, ignore, np.zeros(256, np.int64), sizes, statistics, span, hashlib.blake2b(digest_size=16)
        )

    def add(
        self, window: Window, values: NDArray[Any], classes: NDArray[np.uint8], known: NDArray[np.bool_]
    ) -> None:
        gray, classes = select_gray_band(values), np.where(known, classes, np.uint8(self.ignore))
        self.counts += np.bincount(classes.ravel(), minlength=256)
        for value, found in find_spots(classes, window).items():
            self.spots[value] = max(self.spots.get(value, found), found)
        self.sizes += count_object_sizes(classes, self.ignore, self.gsd_m)
        self.add_statistics(values[:, classes != self.ignore].astype(np.float64))
        if known.any():
            shown = values[:, known]
            self.span = np.stack([np.fmin(self.span[0], shown.min(1)), np.fmax(self.span[1], shown.max(1))])
        self.digest.update(repr((window, values.dtype.name)).encode())
        self.digest.update(np.ascontiguousarray(values))
        self.marks.append(find_landmarks(gray).moved(window.row, window.col))
        self.surfaces += measure_block_agreements(gray, classes, self.ignore, self.gsd_m)

    def add_statistics(self, pixels: NDArray[np.float64]) -> None:
        if pixels.shape[1]:
            self.bands[COUNT] += pixels.shape[1]
            self.bands[TOTAL] += pixels.sum(axis=1)
            self.bands[SQUARES] += (pixels**2).sum(axis=1)
            self.bands[LOWEST] = np.fmin(self.bands[LOWEST], pixels.min(axis=1))
            self.bands[HIGHEST] = np.fmax(self.bands[HIGHEST], pixels.max(axis=1))


def inspect_item(dataset: Dataset, item: Item) -> tuple[AuditRecord, ImageFeatures | None]:
    """Look through one item; what is wrong with it becomes its `error`."""
    try:
        return gather_record(dataset, item)
    except GeosegError as error:
        return AuditRecord(str(error)), None


def gather_record(dataset: Dataset, item: Item) -> tuple[AuditRecord, ImageFeatures]:
    image = read_image_info(dataset.image_path(item))
    check_label(dataset, item, image)
    numbers = find_bands(image, dataset.bands)
    gsd_m = item.gsd_m or image.gsd_m or dataset.gsd_m
    found = RecordBuilder.of(gsd_m, dataset.ignore, len(numbers))
    read_label = make_label_reader(dataset, item, image)
    for window in image.windows():
        values = read_window(image.path, window)[np.array(numbers) - 1]
        known = read_known_pixels(image, window, len(numbers))
        found.add(window, values, read_label(window), known)
        found.cloudy += int((find_cloud(values, dataset.bands) & known).sum())
    values = np.nonzero(found.counts)[0]
    look = AuditRecord(
        shape=image.shape,
        gsd_m=gsd_m,
        values=values.astype(np.uint8),
        pixels=found.counts[values],
        spots=np.array([found.spots[value][1:] for value in values.tolist()], np.int32),
        sizes=found.sizes,
        bands=found.bands,
        is_flat=bool((found.span[0] >= found.span[1]).all()),
        cloud_share=found.cloudy / max(1, image.height * image.width),
        digest=found.digest.digest(),
        shift=estimate_shift(found.surfaces, gsd_m),
        outline=compute_lonlat_outline(image.grid) if image.grid else (),
        palette=read_palette(dataset, item, values.tolist()),
    )
    return look, ImageFeatures(
        make_thumbnail(image, numbers), join_landmarks(found.marks), add_agreements(found.surfaces)
    )


def read_known_pixels(image: ImageInfo, window: Window, bands: int) -> NDArray[np.bool_]:
    if image.path.suffix == ARRAY_SUFFIX:
        return np.ones((window.height, window.width), dtype=bool)
    with open_image(image.path) as dataset:
        return read_valid_mask(dataset, window, bands)


def find_spots(classes: NDArray[np.uint8], window: Window) -> dict[int, tuple[int, int, int]]:
    """For each value, how many pixels of it the piece with most of them has, and that piece's row and column."""
    height, width = classes.shape
    across = -(-width // SPOT_SIDE)
    pieces = (np.arange(height) // SPOT_SIDE)[:, None] * across + np.arange(width) // SPOT_SIDE
    count = across * -(-height // SPOT_SIDE)
    table = np.bincount((pieces * 256 + classes).ravel(), minlength=count * 256).reshape(count, 256)
    spots = {}
    for value in np.flatnonzero(table.any(axis=0)).tolist():
        piece = int(table[:, value].argmax())
        row, col = (place * SPOT_SIDE for place in divmod(piece, across))
        spots[value] = (int(table[piece, value]), window.row + row, window.col + col)
    return spots


def select_gray_band(values: NDArray[Any]) -> NDArray[np.float32]:
    """The one band that the eye trusts most: green where there are several."""
    gray: NDArray[np.float32] = np.nan_to_num(values[min(1, len(values) - 1)].astype(np.float32))
    return gray


def count_object_sizes(classes: NDArray[np.uint8], ignore: int, gsd_m: float) -> NDArray[np.int64]:
    """How many connected pieces of one class, the first one left out, there are of each size."""
    sizes = np.zeros(len(SIZES_M2), np.int64)
    for value in np.unique(classes[(classes > 0) & (classes != ignore)]).tolist():
        pieces, count = ndimage.label(classes == value)
        areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:] * gsd_m**2
        bins = np.searchsorted(SIZES_M2, areas, side="right") - 1
        sizes += np.bincount(np.maximum(bins, 0), minlength=len(SIZES_M2))
    return sizes


def make_thumbnail(image: ImageInfo, numbers: Sequence[int]) -> Thumbs:
    """The image in 32 x 32 pixels, its brightness evened out."""
    if image.path.suffix == ARRAY_SUFFIX:
        rows = np.linspace(0, image.height - 1, THUMB).astype(int)
        cols = np.linspace(0, image.width - 1, THUMB).astype(int)
        small = select_gray_band(read_window(image.path))[np.ix_(rows, cols)]
    else:
        with open_image(image.path) as dataset:
            small = dataset.read(
                numbers[min(1, len(numbers) - 1)], out_shape=(THUMB, THUMB), resampling=Resampling.average
            )
    small = np.nan_to_num(small.astype(np.float32))
    return quantize_thumbnail((small - small.mean()) / (small.std() + 1e-6))


def compute_lonlat_outline(grid: Grid) -> tuple[tuple[float, float], ...]:
    """The image's corners as longitude and latitude."""
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    xs, ys = zip(*(grid.transform @ corner for corner in corners), strict=True)
    lons, lats = Transformer.from_crs(grid.crs, WGS84, always_xy=True).transform(xs, ys)
    return tuple(zip(lons, lats, strict=True))
