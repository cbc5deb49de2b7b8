"""Rasters brought to where they are needed: onto another grid, or somewhere on Earth where they say no place.

Each comes as a small file in a scratch folder that refers to the raster itself, so nothing is copied.
"""

from __future__ import annotations

from pathlib import Path

import rasterio.shutil
from pyproj import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from geoseg.errors import InputError
from geoseg.raster.grid import Grid
from geoseg.raster.source import (
    ARRAY_SUFFIX,
    GDAL_ERRORS,
    describe_gdal_error,
    has_georeference,
    ignore_missing_place,
    load_array,
    make_rasterio_crs,
    open_quietly,
    open_raster,
)


def refuse_missing(path: Path) -> None:
    if "://" not in str(path) and not str(path).startswith("/vsi") and not path.exists():
        raise InputError(f"{path}: no such file")


def is_georeferenced(path: Path) -> bool:
    """Whether a raster says where on Earth it lies."""
    with open_raster(str(path), str(path)) as dataset:
        return has_georeference(dataset)


def read_shape(path: Path) -> tuple[int, int]:
    """Height and width of a raster or an array."""
    with open_raster(str(path), str(path)) as dataset:
        return int(dataset.height), int(dataset.width)


def assign_grid(path: Path, grid: Grid, folder: Path, nodata: int | None = None) -> Path:
    """The same pixels, lying on a grid; `nodata` is the value that means unknown, where the file does not say."""
    if read_shape(path) != grid.shape:
        height, width = read_shape(path)
        raise InputError(
            f"{path}: has {width} x {height} pixels, but its partner {grid.width} x {grid.height}; without a "
            "coordinate reference system the two must be of one size"
        )
    out = folder / f"{path.stem}-{len(list(folder.iterdir()))}"
    out = write_array_raster(path, out) if path.suffix == ARRAY_SUFFIX else write_vrt(path, out)
    with ignore_missing_place():
        placed = rasterio.open(out, "r+")
    with placed:
        placed.crs, placed.transform = make_rasterio_crs(grid.crs), grid.transform
        if nodata is not None:
            placed.nodata = nodata
    return out


def write_vrt(path: Path, out: Path) -> Path:
    """A virtual raster that stands for another."""
    out = out.with_name(f"{out.name}.vrt")
    try:
        with ignore_missing_place():
            rasterio.shutil.copy(str(path.resolve()), str(out), driver="VRT")
    except GDAL_ERRORS as error:
        raise InputError(f"{path}: not a raster that can be read ({describe_gdal_error(error)})") from error
    return out


def write_array_raster(path: Path, out: Path) -> Path:
    """A GeoTIFF of a NumPy array (band, row, col) or (row, col)."""
    values = load_array(path)
    out = out.with_name(f"{out.name}.tif")
    count, height, width = values.shape
    profile = {
        "driver": "GTiff",
        "dtype": values.dtype.name,
        "count": count,
        "height": height,
        "width": width,
    }
    with open_quietly(out, mode="w", photometric="MINISBLACK", **profile) as dataset:
        dataset.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (count - 1)
        dataset.write(values)
    return out


def warp_to_grid(path: Path, grid: Grid, folder: Path) -> Path:
    """A raster of classes or probabilities on another grid, each pixel the nearest one; outside it, unknown."""
    with open_raster(str(path), str(path)) as dataset:
        same = grid.shares_pixels(dataset.transform, dataset.shape)
        if same and CRS.from_wkt(dataset.crs.to_wkt()) == grid.crs:
            return path
        out = folder / f"{path.stem}-{len(list(folder.iterdir()))}-warped.vrt"
        # Where no value means nodata, an alpha band tells what lies outside.
        outside = {"nodata": dataset.nodata} if dataset.nodata else {"add_alpha": True}
        with WarpedVRT(
            dataset, crs=make_rasterio_crs(grid.crs), transform=grid.transform, height=grid.height, width=grid.width,
            resampling=Resampling.nearest, **outside,
        ) as warped:  # fmt: skip
            rasterio.shutil.copy(warped, out, driver="VRT")
    return out
