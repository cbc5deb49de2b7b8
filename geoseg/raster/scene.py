"""A scene: a raster, or several read as one, on a grid; opened anew wherever it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import GeosegError, InputError
from geoseg.raster.bands import Band
from geoseg.raster.grid import Grid, Window, utm_crs
from geoseg.raster.vrt import mosaic_vrt

OnReadError = Literal["stop", "nodata"]

CACHE_BYTES = 64 * 2**20
# The default tolerance of an eighth of a pixel would let a result depend on how the scene is cut into windows.
WARP_TOLERANCE = 0.001
COARSER, FINER = 1.25, 1 / 1.25


@dataclass(frozen=True)
class Pixels:
    """Values (band, row, col) and whether each pixel (row, col) is known."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """What to read: the file, the bands in order and the grid. A plain value that any process can open.

    `source` is what GDAL opens: a path, or the text of a virtual mosaic. `name` is what people call it.
    `native` is the grid on disk and `grid` the one to read on; they differ when the scene is resampled.
    """

    source: str
    name: str
    files: tuple[str, ...]
    all_bands: tuple[Band, ...]
    bands: tuple[int, ...]
    dtype: str
    native: Grid
    grid: Grid
    has_alpha: bool
    overviews: tuple[int, ...]
    block_height: int
    on_read_error: OnReadError = "stop"

    @property
    def is_resampled(self) -> bool:
        return self.grid != self.native

    @property
    def refinement(self) -> float:
        """How many times finer the grid is than the pixels on disk; below 1 when it is coarser."""
        return self.native.gsd_m / self.grid.gsd_m

    def with_bands(self, bands: Sequence[int]) -> Scene:
        return replace(self, bands=tuple(bands))

    def resampled(self, gsd_m: float) -> Scene:
        """The scene in pixels of `gsd_m` true metres; a scene in degrees moves to the local UTM zone."""
        native = self.native
        if not native.is_geographic:
            return replace(self, grid=native.rescaled(gsd_m))
        return replace(self, grid=reprojected(native, utm_crs(*native.centre_lonlat)).rescaled(gsd_m))

    @contextmanager
    def open(self) -> Iterator[SceneReader]:
        """Open the scene for reading in this thread."""
        # GDAL's cache must hold two rows of blocks, or the rows that strips share are decoded twice.
        row_of_blocks = (
            self.block_height * self.native.width * len(self.bands) * np.dtype(self.dtype).itemsize
        )
        with (
            rasterio.Env(GDAL_CACHEMAX=max(CACHE_BYTES, 2 * row_of_blocks), GDAL_NUM_THREADS="ALL_CPUS"),
            open_raster(self.source, self.name, **self.open_options()) as dataset,
        ):
            if self.is_resampled:
                with self.warped(dataset) as warped:
                    yield SceneReader(self, warped)
            else:
                yield SceneReader(self, dataset)

    def open_options(self) -> dict[str, int]:
        """Start from the coarsest overview that is still at least as fine as the wanted grid."""
        levels = [i for i, factor in enumerate(self.overviews) if factor * self.refinement <= 1.001]
        return {"overview_level": levels[-1]} if self.is_resampled and levels else {}

    def warped(self, dataset: Any) -> WarpedVRT:
        # A dataset opened at an overview has larger pixels over the same ground.
        scale = Affine.scale(self.native.width / dataset.width, self.native.height / dataset.height)
        return WarpedVRT(
            dataset,
            src_crs=rasterio_crs(self.native.crs),
            src_transform=self.native.transform @ scale,
            crs=rasterio_crs(self.grid.crs),
            transform=self.grid.transform,
            width=self.grid.width,
            height=self.grid.height,
            resampling=Resampling.average if self.refinement < 1 else Resampling.cubic,
            tolerance=WARP_TOLERANCE,
            add_alpha=not self.has_alpha,
        )


class SceneReader:
    """An open scene."""

    def __init__(self, scene: Scene, dataset: Any) -> None:
        self.scene = scene
        self.dataset = dataset

    def read(self, window: Window) -> Pixels:
        """The pixels of a window. NaN and infinite values count as unknown."""
        try:
            return self.read_exactly(window)
        except RasterioError as error:
            return self.read_around_damage(window, error)

    def read_exactly(self, window: Window, out_shape: tuple[int, int] | None = None) -> Pixels:
        shape = out_shape or (window.height, window.width)
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        values = self.dataset.read(
            list(self.scene.bands), window=place, out_shape=(len(self.scene.bands), *shape)
        )
        valid = self.validity(values, place, shape)
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                valid &= finite.all(axis=0)
                values = np.where(finite, values, 0)
        return Pixels(values, valid)

    def validity(
        self, values: NDArray[Any], place: RasterioWindow, shape: tuple[int, int]
    ) -> NDArray[np.bool_]:
        flags = self.dataset.mask_flag_enums[self.scene.bands[0] - 1]
        if MaskFlags.all_valid in flags:
            return np.ones(shape, dtype=bool)
        if MaskFlags.nodata in flags:
            nodatas = [self.dataset.nodatavals[band - 1] for band in self.scene.bands]
            return any_differs(values, nodatas)
        mask: NDArray[np.uint8] = self.dataset.read_masks(self.scene.bands[0], window=place, out_shape=shape)
        return np.not_equal(mask, 0)

    def read_around_damage(self, window: Window, error: RasterioError) -> Pixels:
        """Read a window piece by piece, to name the damaged pixels or to leave them out."""
        block = max(self.dataset.block_shapes[0][0], 64)
        pieces = list(pieces_of(window, block))
        if len(pieces) == 1:
            if self.scene.on_read_error == "stop":
                raise InputError(
                    f"{self.scene.name}: cannot read {window} ({short(error)}); the file is damaged: get it "
                    "again, or go on with --on-read-error nodata"
                ) from error
            shape = (window.height, window.width)
            return Pixels(np.zeros((len(self.scene.bands), *shape), self.scene.dtype), np.zeros(shape, bool))
        values = np.zeros((len(self.scene.bands), window.height, window.width), self.scene.dtype)
        valid = np.zeros((window.height, window.width), dtype=bool)
        for piece in pieces:
            pixels = self.read_piece(piece)
            rows, cols = Window(
                piece.row - window.row, piece.col - window.col, piece.height, piece.width
            ).slices
            values[:, rows, cols] = pixels.values
            valid[rows, cols] = pixels.valid
        return Pixels(values, valid)

    def read_piece(self, piece: Window) -> Pixels:
        try:
            return self.read_exactly(piece)
        except RasterioError as error:
            return self.read_around_damage(piece, error)

    def overview(self, longest_side: int) -> Pixels:
        """The whole scene in at most `longest_side` pixels a side, for a look at its values."""
        grid = self.scene.grid
        shrink = min(1.0, longest_side / max(grid.shape))
        shape = max(1, round(grid.height * shrink)), max(1, round(grid.width * shrink))
        return self.read_exactly(Window(0, 0, *grid.shape), out_shape=shape)


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


@contextmanager
def open_raster(source: str, name: str, **options: Any) -> Iterator[Any]:
    """Open a raster, or say in one line why it cannot be."""
    try:
        dataset = rasterio.open(source, **options)
    except RasterioError as error:
        if "HTTP" in str(error) or "Could not resolve" in str(error):
            raise InputError(f"{name}: cannot be reached ({short(error)})") from error
        raise InputError(f"{name}: not a raster that can be read ({short(error)})") from error
    with dataset:
        yield dataset


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
    alphas = [i for i, meaning in enumerate(dataset.colorinterp) if meaning == ColorInterp.alpha]
    bands = tuple(
        Band(i + 1, (dataset.descriptions[i] or "").strip(), dataset.colorinterp[i].name)
        for i in range(dataset.count)
        if i not in alphas
    )
    if not bands:
        raise InputError(f"{name}: its only band is an alpha band")
    dtype = dataset.dtypes[bands[0].number - 1]
    if "complex" in dtype or dtype == "cint16":
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
        bands=tuple(band.number for band in bands),
        dtype=dtype,
        native=grid,
        grid=grid,
        has_alpha=bool(alphas),
        overviews=tuple(dataset.overviews(1)),
        block_height=dataset.block_shapes[0][0],
        on_read_error=on_read_error,
    )


def refuse_unusable_colours(dataset: Any, name: str) -> None:
    meanings = set(dataset.colorinterp)
    if ColorInterp.palette in meanings:
        raise InputError(
            f"{name}: colours are indices into a palette; expand them first: gdal_translate -expand rgb {name} rgb.tif"
        )
    if {ColorInterp.cyan, ColorInterp.magenta} & meanings:
        raise InputError(
            f"{name}: colours are CMYK (for print); convert them to RGB first, e.g. with gdalwarp or an image editor"
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


def reprojected(grid: Grid, crs: CRS) -> Grid:
    """The grid in another CRS that holds all of this one, at about its resolution."""
    transform, width, height = calculate_default_transform(
        rasterio_crs(grid.crs), rasterio_crs(crs), grid.width, grid.height, *grid.bounds
    )
    if width is None or height is None:
        raise GeosegError(f"the scene cannot be moved from {grid.crs.name} to {crs.name}")
    return Grid(crs, transform, height, width)


def rasterio_crs(crs: CRS) -> rasterio.crs.CRS:
    """The same CRS for rasterio, by its code where it has one, since files keep codes best."""
    authority = crs.to_authority()
    return rasterio.crs.CRS.from_user_input(":".join(authority) if authority else crs.to_wkt())


def any_differs(values: NDArray[Any], nodatas: Sequence[float | None]) -> NDArray[np.bool_]:
    """Where any band holds something other than its nodata value."""
    known = np.zeros(values.shape[1:], dtype=bool)
    for band, nodata in zip(values, nodatas, strict=True):
        if nodata is None:
            return np.ones(values.shape[1:], dtype=bool)
        known |= ~np.isnan(band) if np.isnan(nodata) else band != nodata
    return known


def pieces_of(window: Window, block: int) -> Iterator[Window]:
    """Cut a window along the lines of blocks; a window inside one block stays whole."""
    for row in range(window.row - window.row % block, window.stop_row, block):
        for col in range(window.col - window.col % block, window.stop_col, block):
            top, left = max(row, window.row), max(col, window.col)
            bottom, right = min(row + block, window.stop_row), min(col + block, window.stop_col)
            yield Window(top, left, bottom - top, right - left)


def short(error: Exception) -> str:
    """GDAL's own words, the first line of them."""
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
