"""Finding out what lies at a path, and refusing in one line what cannot be a scene."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp

from geoseg.errors import InputError
from geoseg.raster.bands import Band
from geoseg.raster.gdal import open_raster
from geoseg.raster.grid import Grid
from geoseg.raster.scene import OnReadError, Scene
from geoseg.raster.vrt import mosaic_vrt


def open_scene(
    paths: Sequence[str], assume_crs: str | None = None, on_read_error: OnReadError = "stop"
) -> Scene:
    """Find out what lies at one or more paths: files, folders of GeoTIFFs, or anything else GDAL opens."""
    files = scene_files(paths)
    name = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    source = files[0] if len(files) == 1 else mosaic_vrt(files)
    with rasterio.Env(), open_raster(source, name) as dataset:
        return describe(dataset, source, name, files, assume_crs, on_read_error)


def scene_files(paths: Sequence[str]) -> tuple[str, ...]:
    """The files behind the given paths; a folder stands for the GeoTIFFs in it, by name."""
    files: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            inside = sorted(str(f) for f in Path(path).iterdir() if f.suffix.lower() in (".tif", ".tiff"))
            if not inside:
                raise InputError(f"{path}: the folder holds no .tif file")
            files += inside
        elif "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
            raise InputError(f"{path}: no such file")
        else:
            files.append(path)
    if not files:
        raise InputError("no scene was given")
    return tuple(files)


def describe(
    dataset: Any,
    source: str,
    name: str,
    files: tuple[str, ...],
    assume_crs: str | None,
    on_read_error: OnReadError,
) -> Scene:
    """Check that an open dataset can serve as a scene, and note what it holds."""
    if dataset.count == 0:
        hint = (
            f"; it holds {len(dataset.subdatasets)} rasters: name one, e.g. {dataset.subdatasets[0]}"
            if dataset.subdatasets
            else ""
        )
        raise InputError(f"{name}: no band to read{hint}")
    refuse_unusable_colours(dataset, name)
    bands = tuple(
        Band(i + 1, (description or "").strip(), colour.name)
        for i, (description, colour) in enumerate(zip(dataset.descriptions, dataset.colorinterp, strict=True))
    )
    data = [band.number for band in bands if not band.is_alpha]
    if not data:
        raise InputError(f"{name}: its only band is an alpha band")
    dtype = dataset.dtypes[data[0] - 1]
    if "complex" in dtype:
        raise InputError(
            f"{name}: complex numbers ({dtype}) are no image; take the amplitude first, e.g. with gdal_calc.py"
        )
    grid = Grid(
        scene_crs(dataset, name, assume_crs), scene_transform(dataset, name), dataset.height, dataset.width
    )
    return Scene(
        source=source,
        name=name,
        files=files,
        all_bands=bands,
        bands=tuple(data),
        dtype=dtype,
        native=grid,
        grid=grid,
        block_height=dataset.block_shapes[0][0],
        on_read_error=on_read_error,
    )


def refuse_unusable_colours(dataset: Any, name: str) -> None:
    if ColorInterp.palette in dataset.colorinterp:
        raise InputError(
            f"{name}: colours are indices into a palette; expand them first: gdal_translate -expand rgb {name} rgb.tif"
        )
    if dataset.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE") == "CMYK":
        raise InputError(
            f"{name}: colours are CMYK (for print); convert them first: gdal_translate -b 1 -b 2 -b 3 {name} rgb.tif"
        )


def scene_crs(dataset: Any, name: str, assume_crs: str | None) -> CRS:
    if assume_crs is not None:
        return parse_crs(assume_crs, "--assume-crs")
    if dataset.crs is None or not dataset.crs.to_wkt():
        if dataset.gcps[0]:
            raise InputError(
                f"{name}: placed by ground control points only; straighten it first: gdalwarp -r cubic {name} straight.tif"
            )
        raise InputError(
            f"{name}: has no coordinate reference system; if you know it, say it, e.g. --assume-crs EPSG:32633"
        )
    crs = CRS.from_wkt(dataset.crs.to_wkt())
    if not (crs.is_geographic or crs.is_projected or crs.is_bound or crs.is_compound):
        raise InputError(
            f"{name}: its coordinate reference system ({crs.name}) has no place on Earth; use --assume-crs"
        )
    return crs


def parse_crs(text: str, option: str) -> CRS:
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise InputError(
            f"{option} {text}: not a coordinate reference system; write it like EPSG:32633"
        ) from error


def scene_transform(dataset: Any, name: str) -> Affine:
    transform: Affine = dataset.transform
    if transform == Affine.identity() and not dataset.gcps[0] and not dataset.rpcs:
        raise InputError(
            f"{name}: has no georeference (no world file, no transform); give it one: gdal_translate -a_ullr LEFT TOP RIGHT BOTTOM"
        )
    if transform == Affine.identity():
        raise InputError(
            f"{name}: placed by ground control points only; straighten it first: gdalwarp -r cubic {name} straight.tif"
        )
    if not all(map(isfinite, transform)) or transform.is_degenerate:
        raise InputError(
            f"{name}: its georeference gives pixels no size; repair it with gdal_edit.py -a_ullr"
        )
    return transform
