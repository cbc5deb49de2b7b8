"""A mask, or a probability with a threshold, as class numbers per pixel, whatever raster it comes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError
from geoseg.raster.coding import FINE_STEPS, NODATA, PROBABILITY_STEP, PROBABILITY_STEPS, Values
from geoseg.raster.grid import Grid, PixelSize
from geoseg.raster.source import GDAL_ERRORS, describe_gdal_error, open_raster, read_grid

CACHE_BYTES = 64 * 2**20
STRIP_PIXELS = 16_000_000
"""What is read of a mask at a time: 16 MB of bytes, a few times that with what is made of them."""
SEPARATORS = ("boundary", "distance")
"""What a network tells beside classes, by the names of the bands."""
MOST_BANDS = NODATA + len(SEPARATORS)
"""What a probability of every class that a mask can hold has."""


@dataclass(frozen=True)
class MaskBand:
    """One band of a raster as its file describes it."""

    number: int
    dtype: str
    scale: float
    offset: float
    nodata: float | None
    has_mask: bool
    description: str = ""

    @property
    def is_probability_byte(self) -> bool:
        """Whether it is laid out like a probability of `geoseg infer`: 0 to 250, and 255 where nothing is known."""
        return (self.dtype, self.scale, self.offset, self.nodata) == ("uint8", PROBABILITY_STEP, 0.0, NODATA)

    @classmethod
    def of(cls, dataset: Any, number: int) -> MaskBand:
        flags = dataset.mask_flag_enums[number - 1]
        masked = not {MaskFlags.all_valid, MaskFlags.nodata} & set(flags)
        return cls(
            number=number,
            dtype=dataset.dtypes[number - 1],
            scale=dataset.scales[number - 1],
            offset=dataset.offsets[number - 1],
            nodata=dataset.nodatavals[number - 1],
            has_mask=masked,
            description=dataset.descriptions[number - 1] or "",
        )


@dataclass(frozen=True)
class Probability:
    """A raster of probabilities beside a mask: one band, or one for each class and the background.

    `separators` are two bands more, boundary and distance, where the file holds every output of a network that tells
    where one building ends.
    """

    path: str
    bands: tuple[MaskBand, ...]
    separators: tuple[MaskBand, ...] = ()

    @classmethod
    def of(cls, path: str, bands: tuple[MaskBand, ...]) -> Probability:
        """The bands of a file, the separators known by their names."""
        named = {band.description: band for band in bands if band.is_probability_byte}
        if not set(SEPARATORS) <= named.keys():
            return cls(path, bands)
        classes = tuple(band for band in bands if band.description not in SEPARATORS)
        return cls(path, classes, tuple(named[name] for name in SEPARATORS))

    def read(self, rows: slice) -> Values:
        """The bands of classes (band, row, col), in bytes as `geoseg infer` writes them, else in steps."""
        with open_dataset(self.path) as dataset:
            return np.stack([self._read_band(dataset, band, rows) for band in self.bands])

    def read_separators(self, rows: slice) -> NDArray[np.uint8] | None:
        """Boundary and distance (2, row, col) in bytes as `geoseg infer` writes them; none where there are none."""
        if not self.separators:
            return None
        with open_dataset(self.path) as dataset:
            return np.stack([read_rows(dataset, self.path, band, rows) for band in self.separators])

    def _read_band(self, dataset: Any, band: MaskBand, rows: slice) -> Values:
        raw = read_rows(dataset, self.path, band, rows)
        if all(band.is_probability_byte for band in self.bands):
            return raw
        return convert_to_steps(*scale_values(dataset, raw, band, rows), self.path)


@dataclass(frozen=True)
class Mask:
    """Which raster to read, and what its values mean. A plain value that any process can open.

    `probability` is a raster beside it; of a raster that holds every output of a network, it is that raster itself.
    """

    path: str
    band: MaskBand
    grid: Grid
    block_height: int
    threshold: float | None = None
    probability: Probability | None = None

    @property
    def holds_probability(self) -> bool:
        """Whether the raster itself holds the probabilities."""
        return self.threshold is not None and 0 < self.threshold <= 1

    def strips(self, height: int | None = None) -> Iterator[slice]:
        """Runs of rows in which to read it: whole rows of blocks, unless a height is asked for."""
        if height is None:
            blocks = max(1, STRIP_PIXELS // (self.block_height * self.grid.width))
            height = self.block_height * blocks
            if self.block_height * self.grid.width > 4 * STRIP_PIXELS:
                height = max(1, STRIP_PIXELS // self.grid.width)
        for start in range(0, self.grid.height, height):
            yield slice(start, min(start + height, self.grid.height))

    def read(self, rows: slice) -> tuple[NDArray[np.uint8], Values | None]:
        """Some rows: the class of each pixel (0 for none, 255 for unknown), and its probabilities (band, row, col).

        Probabilities are bytes as `geoseg infer` writes them, else steps; none when there are none.
        """
        with open_dataset(self.path, self.cache_bytes) as dataset:
            raw = read_rows(dataset, self.path, self.band, rows)
            if self.threshold is None:
                classes = self._classes(raw, dataset, rows)
                return classes, self.probability.read(rows) if self.probability else None
            if self.holds_probability and self.band.is_probability_byte and holds_probabilities_only(raw):
                return self._class_levels[raw], raw[None]
            values, known = scale_values(dataset, raw, self.band, rows)
        return self._apply_threshold(values, known)

    @cached_property
    def _class_levels(self) -> NDArray[np.uint8]:
        """The class that each byte of a probability of `geoseg infer` makes: looked up, it takes a fifth of the time."""
        levels = np.where(PROBABILITY_BYTES, np.arange(256), NODATA).astype(np.uint8)
        return self._apply_threshold(*scale_values(None, levels, self.band, slice(0)))[0]

    def _apply_threshold(
        self, values: Values, known: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint16] | None]:
        classes = (values >= self.threshold).astype(np.uint8)
        classes[~known] = NODATA
        return classes, convert_to_steps(values, known, self.path)[None] if self.holds_probability else None

    @property
    def tells_boundaries(self) -> bool:
        """Whether a network says where one building ends."""
        return bool(self.probability and self.probability.separators)

    def read_separators(self, rows: slice) -> NDArray[np.uint8] | None:
        """Boundary and distance (2, row, col) of some rows; none where there are none."""
        return self.probability.read_separators(rows) if self.probability else None

    @property
    def cache_bytes(self) -> int:
        row_of_blocks = self.block_height * self.grid.width * np.dtype(self.band.dtype).itemsize
        return max(CACHE_BYTES, 2 * row_of_blocks)

    def _classes(self, raw: Values, dataset: Any, rows: slice) -> NDArray[np.uint8]:
        if self.band.dtype == "uint8" and self.band.nodata == NODATA and not self.band.has_mask:
            return raw
        known = find_known_pixels(dataset, raw, self.band, rows)
        # A mask that calls its background nodata has seen it nevertheless; what an alpha band hides it has not.
        unknown = ~known if self.band.has_mask else ~known & (raw != 0)
        if self.band.dtype == "uint8" and raw.max(initial=0) == NODATA:
            raw = self._convert_255_to_building(raw, unknown)
        if self.band.dtype != "uint8":
            refuse_odd_classes(np.where(unknown, 0, raw), self.path)
        classes = raw.astype(np.uint8)
        classes[unknown] = NODATA
        return classes

    def _convert_255_to_building(self, raw: Values, unknown: NDArray[np.bool_]) -> Values:
        """Where no value is nodata, 0 and 255 are the two colours of a plain black and white mask."""
        white = (raw == NODATA) & ~unknown
        if ((raw > 0) & ~white & ~unknown).any():
            raise InputError(
                f"{self.path}: holds 255 beside other classes, and does not say what it is; if it marks unknown "
                f"pixels, say so: rio edit-info --nodata 255 {self.path}"
            )
        return np.where(white, np.uint8(1), raw)


def open_mask(
    path: str,
    *,
    band: int | None = None,
    threshold: float | None = None,
    probability: str | None = None,
    assume_crs: str | None = None,
    pixel: PixelSize | None = None,
) -> Mask:
    """Check that a raster can be vectorised, and note how; `pixel` is for a mask that lies nowhere on Earth."""
    if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise InputError(f"{path}: no such file")
    with rasterio.Env(), open_raster(path, path) as dataset:
        chosen = MaskBand.of(dataset, choose_band(dataset, path, band))
        refuse_unusable(chosen, path, threshold)
        mask = Mask(
            path=path,
            band=chosen,
            grid=read_grid(dataset, path, assume_crs, pixel),
            block_height=dataset.block_shapes[0][0],
            threshold=threshold,
        )
        separators = find_separator_names(dataset)
    if probability is None and separators and mask.holds_probability:
        return replace(mask, probability=open_probability(path, mask.grid))
    if probability is None:
        return mask
    if threshold is not None:
        raise InputError(
            "`threshold` makes a mask from a probability; with `probability`, give the mask itself"
        )
    return replace(mask, probability=open_probability(probability, mask.grid))


def open_probability(path: str, grid: Grid) -> Probability:
    """Check that a probability fits the grid of a mask pixel by pixel."""
    with rasterio.Env(), open_raster(path, path) as dataset:
        transform = dataset.transform if grid.is_placed else grid.transform
        if not grid.shares_pixels(transform, dataset.shape):
            raise InputError(f"{path}: does not have the same pixels as the mask; give the two of one run")
        if dataset.count > MOST_BANDS:
            raise InputError(
                f"{path}: has {dataset.count:,} bands; a probability has one, or one for each of {NODATA} classes at most"
            )
        return Probability.of(path, tuple(MaskBand.of(dataset, number) for number in dataset.indexes))


def read_raster_grid(path: str) -> Grid:
    """Where the pixels of a raster lie."""
    with rasterio.Env(), open_raster(path, path) as dataset:
        return read_grid(dataset, path)


def split_rows(grid: Grid) -> Iterator[slice]:
    """The rows of a grid in runs that take little memory."""
    height = max(1, STRIP_PIXELS // grid.width)
    for start in range(0, grid.height, height):
        yield slice(start, min(start + height, grid.height))


def choose_band(dataset: Any, path: str, band: int | None) -> int:
    """The band that is asked for, else the only one that is neither alpha nor tells where one building ends."""
    others = find_separator_names(dataset)
    usable = [
        number
        for number, meaning, name in zip(
            dataset.indexes, dataset.colorinterp, dataset.descriptions, strict=True
        )
        if meaning != ColorInterp.alpha and name not in others
    ]
    if band is None and len(usable) == 1:
        return int(usable[0])
    if band is None:
        raise InputError(
            f"{path}: has {len(usable)} bands, a mask has one; geoseg vectorize takes one with `band` 1 to {dataset.count}"
        )
    if band not in dataset.indexes:
        raise InputError(f"`band` {band}: {path} has bands 1 to {dataset.count}")
    return band


def find_separator_names(dataset: Any) -> tuple[str, ...]:
    """The names of the bands that tell where one building ends, where a raster has them."""
    return SEPARATORS if set(SEPARATORS) <= set(dataset.descriptions) else ()


def refuse_unusable(band: MaskBand, path: str, threshold: float | None) -> None:
    if "complex" in band.dtype or band.dtype == "cint16":
        raise InputError(f"{path}: complex numbers ({band.dtype}) are no mask")
    if threshold is not None and not np.isfinite(threshold):
        raise InputError(f"`threshold` {threshold} is no number to compare pixels with")
    if threshold is None and band.dtype.startswith("float"):
        raise InputError(
            f"{path}: holds decimals ({band.dtype}), not classes; say from which value on a pixel is building, e.g. "
            "`threshold` 0.5"
        )
    if threshold is None and (band.scale, band.offset) != (1, 0):
        raise InputError(
            f"{path}: its values are scaled by {band.scale:g}, so they are probabilities rather than classes; give "
            "`threshold` 0.5, or the mask itself"
        )


def refuse_odd_classes(values: Values, path: str) -> None:
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high >= NODATA:
        raise InputError(
            f"{path}: value {low if low < 0 else high} is no class (0 to 254); is this a mask? With `threshold`, all "
            "pixels from a value on are building"
        )


@contextmanager
def open_dataset(path: str, cache_bytes: int = CACHE_BYTES) -> Iterator[Any]:
    with rasterio.Env(GDAL_CACHEMAX=cache_bytes), open_raster(path, path) as dataset:
        yield dataset


def read_rows(dataset: Any, path: str, band: MaskBand, rows: slice) -> Values:
    """The raw values of some rows, or one line on why they cannot be read."""
    try:
        raw: Values = dataset.read(band.number, window=make_row_window(dataset, rows))
    except GDAL_ERRORS as error:
        raise InputError(
            f"{path}: rows {rows.start}-{rows.stop - 1} cannot be read ({describe_gdal_error(error)}); the file is damaged or cut "
            "short: get it again"
        ) from error
    return raw


def make_row_window(dataset: Any, rows: slice) -> RasterioWindow:
    return RasterioWindow(0, rows.start, dataset.width, rows.stop - rows.start)


def find_known_pixels(dataset: Any, raw: Values, band: MaskBand, rows: slice) -> NDArray[np.bool_]:
    """Where a band has data: by its nodata value, an alpha band or a mask in the file."""
    if band.has_mask:
        return np.asarray(dataset.read_masks(band.number, window=make_row_window(dataset, rows)) > 0)
    if band.nodata is None or np.isnan(band.nodata):
        return ~np.isnan(raw) if raw.dtype.kind == "f" else np.ones(raw.shape, dtype=bool)
    return np.asarray(raw != band.nodata) & ~np.isnan(raw)


PROBABILITY_BYTES = np.arange(256) <= PROBABILITY_STEPS
"""Which bytes are probabilities as `geoseg infer` writes them."""


def holds_probabilities_only(raw: Values) -> bool:
    """Whether bytes are what `geoseg infer` writes, and none is beyond 1."""
    return not ((raw > PROBABILITY_STEPS) & (raw != NODATA)).any()


def scale_values(dataset: Any, raw: Values, band: MaskBand, rows: slice) -> tuple[Values, NDArray[np.bool_]]:
    """Values in their own unit, 0 where unknown, and where they are known."""
    known = find_known_pixels(dataset, raw, band, rows)
    values: Values = raw.astype(np.float64 if raw.dtype.itemsize > 2 else np.float32)
    values *= band.scale
    values += band.offset
    return np.where(known, values, 0), known


def convert_to_steps(values: Values, known: NDArray[np.bool_], path: str) -> NDArray[np.uint16]:
    """Probabilities as integers, which add up to the same sum in any order."""
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 1 + 1e-6:
        raise InputError(
            f"{path}: value {low if low < 0 else high:g} is no probability (0 to 1); let the file tell what its values "
            f"mean, e.g. where 100 stands for 1: gdal_edit.py -scale 0.01 {path}"
        )
    steps: NDArray[np.uint16] = np.rint(np.minimum(values, 1) * FINE_STEPS).astype(np.uint16)
    steps[~known] = np.iinfo(np.uint16).max
    return steps


def select_own_class(probabilities: Values, classes: NDArray[np.uint8]) -> Values:
    """Each pixel's probability of the class it was given; with several bands, the first is the background's."""
    own: Values = probabilities[0]
    for number, band in enumerate(probabilities[1:], start=1):
        own = np.where(classes == number, band, own)
    return own


def find_classes(mask: Mask) -> list[int]:
    """The classes that occur in a mask, for which it is read once."""
    counts = np.zeros(NODATA + 1, dtype=np.int64)
    for rows in mask.strips():
        counts += np.bincount(mask.read(rows)[0].ravel(), minlength=NODATA + 1)
    return [int(value) for value in np.flatnonzero(counts[1:NODATA]) + 1]
