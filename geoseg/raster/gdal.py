"""Where GDAL's ways differ from ours: its errors and its coordinate reference systems."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from pyproj import CRS
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from geoseg.errors import GeosegError, InputError

# What rasterio raises when GDAL fails; a failed write comes as any of these.
GDAL_ERRORS = (RasterioError, CPLE_BaseError, SystemError, OSError)

ALMOST_NOTHING_BYTES = 2**20


def reason(error: BaseException) -> str:
    """GDAL's own words, the first line of them."""
    cause = error.__cause__ or error
    words = str(cause).strip().splitlines()
    return words[0] if words else type(cause).__name__


@contextmanager
def open_raster(source: str, name: str, **options: Any) -> Iterator[Any]:
    """Open a raster, or say in one line why it cannot be."""
    try:
        dataset = rasterio.open(source, **options)
    except RasterioError as error:
        if "HTTP" in str(error) or "Could not resolve" in str(error):
            raise InputError(f"{name}: cannot be reached ({reason(error)})") from error
        raise InputError(f"{name}: not a raster that can be read ({reason(error)})") from error
    with dataset:
        yield dataset


def write_failure(path: Path, error: BaseException) -> GeosegError:
    """One line on a file that could not be written."""
    if shutil.disk_usage(path.parent).free < ALMOST_NOTHING_BYTES:
        return GeosegError(f"{path}: the disk is full; free some space and run the same command again")
    return GeosegError(f"{path}: cannot be written ({reason(error)})")


def rasterio_crs(crs: CRS) -> rasterio.crs.CRS:
    """The same CRS for rasterio, by its code where it has one, since files keep codes best."""
    authority = crs.to_authority()
    return rasterio.crs.CRS.from_user_input(":".join(authority) if authority else crs.to_wkt())
