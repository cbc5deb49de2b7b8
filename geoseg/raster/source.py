"""Rasters as GDAL opens them: pixels with their validity, the georeference, and why a file cannot be read or written."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio._err import CPLE_BaseError
from rasterio._path import _parse_path
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.env import ensure_env_with_credentials
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError, WriteError
from geoseg.io.addresses import BUSY_CODES, PATIENCE_S, WAITS_S, is_remote
from geoseg.io.arrays import map_array
from geoseg.io.atomic import replace_file
from geoseg.io.trust import (
    RASTER_DRIVERS,
    REACHING_DRIVERS,
    check_source,
    describe_disguise,
    find_suffix,
    is_trusted,
)
from geoseg.raster.exif import CameraTags, read_exif
from geoseg.raster.grid import (
    PICTURE_TRANSFORM,
    Grid,
    PixelSize,
    Window,
    is_earth_crs,
    make_picture_grid,
    parse_crs,
)
from geoseg.raster.remarks import CarefulReader, refuse_lost_tags

log = logging.getLogger(__name__)

# GDAL's quick way to read a whole PNG takes for pixels what it finds, where the file ends too early or cannot be read.
os.environ.setdefault("GDAL_PNG_WHOLE_IMAGE_OPTIM", "NO")

OPENING = Lock()
ARRAY_SUFFIX = ".npy"
GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "uint64": "UInt64", "int64": "Int64", "float32": "Float32", "float64": "Float64",
}  # fmt: skip

WEB_OPTIONS = {
    "GDAL_HTTP_MAX_RETRY": str(len(WAITS_S)),
    "GDAL_HTTP_RETRY_DELAY": str(WAITS_S[0]),
    "GDAL_HTTP_RETRY_CODES": ",".join(map(str, BUSY_CODES)),
    "GDAL_HTTP_CONNECTTIMEOUT": str(PATIENCE_S),
    "GDAL_HTTP_LOW_SPEED_TIME": str(PATIENCE_S),
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
}
"""GDAL by itself asks once, and waits for ever; a line of less than 100 bytes a second is broken."""

# What rasterio raises when GDAL fails; a failed write comes as any of these.
GDAL_ERRORS = (RasterioError, CPLE_BaseError, SystemError, OSError)


def describe_gdal_error(error: BaseException) -> str:
    """GDAL's own words, the first line of them."""
    cause = error.__cause__ or error
    words = str(cause).strip().splitlines()
    return words[0] if words else type(cause).__name__


def open_dataset(source: str, **options: Any) -> Any:
    """Open a raster as what its name says that it is."""
    check_source(source)
    if find_suffix(source) == ARRAY_SUFFIX and Path(source).is_file():
        return open_array(source, **options)
    with refuse_lost_tags():
        return open_with_drivers(source, choose_drivers(source), **options)


def open_array(source: str, **options: Any) -> Any:
    """Open a NumPy array on disk like any other raster."""
    # The virtual raster is our own, and names the file that was asked for.
    with rasterio.Env(GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE="ALL"):
        return rasterio.open(make_array_vrt(Path(source)), **options)


def make_array_vrt(path: Path) -> str:
    """The text of a virtual raster that reads a NumPy array from where it lies."""
    values = load_array(path)
    if values.dtype.name not in GDAL_TYPES or 0 in values.shape:
        raise InputError(
            f"{path}: an array of {values.dtype.name} {values.shape} is no image; save whole numbers, or real ones of 32 or 64 bits"
        )
    to_band, to_row, to_col = values.strides
    kind, order = GDAL_TYPES[values.dtype.name], "MSB" if values.dtype.str.startswith(">") else "LSB"
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{band + 1}" subClass="VRTRawRasterBand">'
        f'<SourceFilename relativeToVRT="0">{escape(str(path.resolve()))}</SourceFilename>'
        f"<ImageOffset>{values.offset + band * to_band}</ImageOffset><PixelOffset>{to_col}</PixelOffset>"
        f"<LineOffset>{to_row}</LineOffset><ByteOrder>{order}</ByteOrder></VRTRasterBand>"
        for band in range(len(values))
    )
    height, width = values.shape[1:]
    return f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{bands}</VRTDataset>'


def load_array(path: Path) -> Any:
    """A .npy file as (band, row, col), left on disk until it is read."""
    values = map_array(path)
    if values.ndim not in (2, 3):
        raise InputError(f"{path}: has {values.ndim} axes; it must be (row, col) or (band, row, col)")
    return values if values.ndim == 3 else values[None]


@ensure_env_with_credentials  # type: ignore[untyped-decorator]
def open_with_drivers(source: str, drivers: list[str] | None, **options: Any) -> Any:
    """What `rasterio.open` does, which takes one driver at most."""
    return CarefulReader(_parse_path(source), driver=drivers, **options)


def choose_drivers(source: str) -> list[str] | None:
    """The drivers that may read a source; all of them where files are trusted, and for our own virtual rasters."""
    if is_trusted() or source.startswith("<VRTDataset"):
        return None
    return list(RASTER_DRIVERS.get(find_suffix(source), list_harmless_drivers()))


@cache
def list_harmless_drivers() -> tuple[str, ...]:
    """The drivers that read nothing but the file they are given."""
    with rasterio.Env() as environment:
        return tuple(sorted(environment.drivers().keys() - REACHING_DRIVERS))


@contextmanager
def open_raster(source: str, name: str, **options: Any) -> Iterator[Any]:
    """Open a raster, and say in one line what is wrong with it. That it lies nowhere is for the caller to judge."""
    with (
        rasterio.Env(**list_web_options(source)),
        open_or_refuse(source, name, **options) as dataset,
        explain_read_errors(name),
    ):
        yield dataset


def open_or_refuse(source: str, name: str, **options: Any) -> Any:
    """Open a raster, or say in one line why it cannot be."""
    try:
        return open_quietly(source, **options)
    except RasterioError as error:
        if "HTTP" in str(error) or "Could not resolve" in str(error):
            raise InputError(f"{name}: cannot be reached ({describe_gdal_error(error)})") from error
        if Path(source).is_dir():
            raise InputError(f"{name}: is a folder; name one file of it") from error
        reason = f"({describe_gdal_error(error)}){describe_disguise(source)}{describe_archive(source)}"
        raise InputError(f"{name}: not a raster that can be read {reason}") from error


def describe_archive(source: str) -> str:
    """How the files in a zip archive are named, where a source is one."""
    is_archive = source.lower().endswith(".zip") and Path(source).is_file()
    return f"; name the image inside: /vsizip/{source}/NAME.tif" if is_archive else ""


@contextmanager
def explain_read_errors(name: str) -> Iterator[None]:
    """Say in one line that an open raster could not be read."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        raise InputError(
            f"{name}: cannot be read ({describe_gdal_error(error)}); the file is damaged: get it again"
        ) from error


def list_web_options(source: str) -> dict[str, str]:
    """How patient GDAL is with the server of a source, where the environment does not say it."""
    asked = WEB_OPTIONS if is_remote(source) else {}
    return {name: value for name, value in asked.items() if name not in os.environ}


@contextmanager
def ignore_missing_place() -> Iterator[None]:
    """Let rasterio say nothing of pixels that lie nowhere: photographs, and what it draws in memory."""
    # Filters of warnings belong to the whole process, and strips are read in several threads.
    with OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def open_quietly(source: str | Path, **options: Any) -> Any:
    """Open a raster, or make one, without a warning that it has no georeference: it may well be a photograph."""
    with ignore_missing_place():
        if options.get("mode", "r") == "w":
            return rasterio.open(source, **options)
        return open_dataset(str(source), **options)


def read_band_names(dataset: Any) -> list[str]:
    """What a file calls its bands: by a description, else by a colour."""
    described = zip(dataset.descriptions, dataset.colorinterp, strict=True)
    return [text or meant.name for text, meant in described if meant != ColorInterp.alpha]


def make_rasterio_crs(crs: CRS) -> rasterio.crs.CRS:
    """The same CRS for rasterio, by its code where it has one, since files keep codes best."""
    authority = crs.to_authority()
    return rasterio.crs.CRS.from_user_input(":".join(authority) if authority else crs.to_wkt())


@dataclass(frozen=True)
class Pixels:
    """Values (band, row, col) and whether each pixel (row, col) is known."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]


def find_known_pixels(values: NDArray[Any], nodatas: Sequence[float | None]) -> NDArray[np.bool_]:
    """Where any band holds something other than its nodata value."""
    known = np.zeros(values.shape[1:], dtype=bool)
    for band, nodata in zip(values, nodatas, strict=True):
        if nodata is None:
            return np.ones(values.shape[1:], dtype=bool)
        known |= ~np.isnan(band) if np.isnan(nodata) else band != nodata
    return known


def list_mask_bands(dataset: Any, bands: Sequence[int]) -> Sequence[int]:
    """Those of some bands whose masks together tell which pixels are known: none where all are, one whose mask serves all."""
    every = dataset.mask_flag_enums  # rasterio asks all bands each time
    flags = [every[band - 1] for band in bands]
    if any(MaskFlags.all_valid in each for each in flags):
        return ()
    return bands if all(MaskFlags.nodata in each for each in flags) else bands[:1]


def split_window(window: Window, block: int) -> Iterator[Window]:
    """Cut a window along the lines of blocks; a window inside one block stays whole."""
    for row in range(window.row - window.row % block, window.stop_row, block):
        for col in range(window.col - window.col % block, window.stop_col, block):
            top, left = max(row, window.row), max(col, window.col)
            bottom, right = min(row + block, window.stop_row), min(col + block, window.stop_col)
            yield Window(top, left, bottom - top, right - left)


def read_grid(dataset: Any, name: str, assume_crs: str | None = None, pixel: PixelSize | None = None) -> Grid:
    """Where the pixels of an open raster lie.

    `pixel` is what to take for its pixels where it is a picture that lies nowhere; where that is none, it must have a
    place. What the user knows goes before what the camera wrote, and that before what is only assumed.
    """
    if pixel is None or not is_picture(dataset, pixel.is_known and assume_crs is None):
        return Grid(read_crs(dataset, name, assume_crs), read_transform(dataset, name), *dataset.shape)
    if assume_crs is not None:
        raise InputError(
            f"`assume_crs` {assume_crs}: {name} has no georeference (no world file, no transform), so a CRS alone does not "
            "place it; leave it out"
        )
    return make_picture_grid(dataset.shape, pixel if pixel.is_known else read_camera(dataset, name) or pixel)


def has_georeference(dataset: Any) -> bool:
    """Whether an open raster says where on Earth it lies; the plane of a picture is no such place."""
    return names_earth_crs(dataset) and dataset.transform != Affine.identity()


def names_earth_crs(dataset: Any) -> bool:
    """Whether an open raster names a CRS whose coordinates are places on Earth."""
    return names_crs(dataset) and is_earth_crs(CRS.from_wkt(dataset.crs.to_wkt()))


def names_crs(dataset: Any) -> bool:
    return dataset.crs is not None and bool(dataset.crs.to_wkt())


def is_picture(dataset: Any, size_is_known: bool = False) -> bool:
    """Whether a raster lies nowhere on Earth; one with a transform does where its size, and no CRS, is known."""
    if dataset.gcps[0] or dataset.rpcs:
        return False
    has_crs = names_crs(dataset)
    plain = dataset.transform == Affine.identity() or (not has_crs and dataset.transform == PICTURE_TRANSFORM)
    return plain or (size_is_known and not has_crs)


def read_camera(dataset: Any, name: str) -> PixelSize | None:
    """The size of a photograph's pixels by what the camera wrote into it; none where it did not."""
    xmp = dataset.tags(ns="xml:XMP").get("xml:XMP", "")
    camera = CameraTags(read_tags(dataset), xmp, *dataset.shape)
    metres = camera.find_pixel_size_m()
    if metres is None:
        return None
    log.info(
        f"{name}: pixels of {metres:.3g} m, by its camera {camera.height_m:g} m above the place of take-off; `gsd` METRES "
        "says otherwise"
    )
    return PixelSize(metres, is_known=True)


def read_tags(dataset: Any) -> dict[str, str]:
    """What a raster says of itself; of PNG and TIFF files GDAL leaves out what the camera wrote."""
    tags: dict[str, str] = dataset.tags()
    path = Path(dataset.name)
    if dataset.driver not in ("PNG", "GTiff") or not path.is_file():
        return tags
    with OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about damaged tags
        return {**read_exif(path), **tags}


def read_crs(dataset: Any, name: str, assume_crs: str | None = None) -> CRS:
    if assume_crs is not None:
        return replace_crs(dataset, name, parse_crs(assume_crs, "`assume_crs`"))
    if not names_crs(dataset):
        if dataset.gcps[0]:
            raise InputError(
                f"{name}: placed by ground control points only; straighten it first: gdalwarp -r cubic {name} straight.tif"
            )
        raise InputError(
            f"{name}: has no coordinate reference system; if you know it, say it, e.g. `assume_crs` EPSG:32633; a picture "
            "without a place needs the size of its pixels, e.g. `gsd` 0.3"
        )
    crs = CRS.from_wkt(dataset.crs.to_wkt())
    if not is_earth_crs(crs):
        raise InputError(
            f"{name}: its coordinate reference system ({crs.name}) has no place on Earth; use `assume_crs`"
        )
    return crs


def replace_crs(dataset: Any, name: str, assumed: CRS) -> CRS:
    """The CRS that the user knows; told where the file says another one that has a place on Earth."""
    if names_earth_crs(dataset):
        written = CRS.from_wkt(dataset.crs.to_wkt())
        if not written.equals(assumed, ignore_axis_order=True):
            log.warning(
                f"{name}: says that it is in {written.name}; it is taken to be in {assumed.name}, as `assume_crs` says"
            )
    return assumed


def read_transform(dataset: Any, name: str) -> Affine:
    transform: Affine = dataset.transform
    if transform == Affine.identity() and not dataset.gcps[0] and not dataset.rpcs:
        raise InputError(
            f"{name}: has no georeference (no world file, no transform); give it one with rio edit-info --transform"
        )
    if transform == Affine.identity():
        raise InputError(
            f"{name}: placed by ground control points only; straighten it first: gdalwarp -r cubic {name} straight.tif"
        )
    if not all(map(isfinite, transform)) or transform.is_degenerate:
        raise InputError(
            f"{name}: its georeference gives pixels no size; set it anew with rio edit-info --transform"
        )
    return transform


READ_BACK_ROWS = 512


@contextmanager
def replace_raster(path: Path) -> Iterator[Path]:
    """A path beside a raster, which takes its place once all that was written there could be read back.

    GDAL writes much of a file when it is closed, and rasterio then loses what fails, such as a full disk.
    """
    with replace_file(path) as unfinished:
        yield unfinished
        try:
            read_back(unfinished)
        except GDAL_ERRORS as error:
            free = shutil.disk_usage(path.parent).free
            raise WriteError(
                f"{path} could not be written: not all of it can be read back, most likely since no space is left on the disk "
                f"({free / 1e6:,.0f} MB free); make room and run again"
            ) from error


def read_back(path: Path) -> None:
    """Read every pixel of a raster, and the end of each of its overviews; whatever is wrong with it is an error."""
    with open_quietly(path) as dataset:
        step = max(READ_BACK_ROWS, dataset.block_shapes[0][0])
        for row in range(0, dataset.height, step):
            height = min(step, dataset.height - row)
            dataset.read(window=RasterioWindow(0, row, dataset.width, height))
    read_overview_ends(path)


def read_overview_ends(path: Path) -> None:
    """Read the last pixels of each overview of a raster, which are the last to be written."""
    with open_quietly(path) as dataset:
        levels = len(dataset.overviews(1))
    for level in range(levels):
        with open_quietly(path, overview_level=level) as overview:
            rows, cols = (min(READ_BACK_ROWS, size) for size in overview.shape)
            overview.read(window=RasterioWindow(overview.width - cols, overview.height - rows, cols, rows))


def is_readable(path: Path) -> bool:
    """Whether all of a raster can be read."""
    try:
        read_back(path)
    except GDAL_ERRORS:
        return False
    return True
