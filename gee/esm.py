"""The European Settlement Map (ESM) from files: no catalogue has it, so it is warped onto the grid here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import reproject, transform_bounds

from gee.catalogue import MASK, MASK_VALUES, LayerBand, PixelFormat
from gee.expressions import Marking
from gee.geotiff import (
    MOSAIC_FILE,
    MOSAIC_OPTIONS,
    GeoTiffFormat,
    make_rasterio_window,
    reserve_folder,
    write_cog,
)
from gee.grid import plan_tiles
from geoseg.errors import InputError
from geoseg.raster.grid import Grid
from geoseg.raster.source import open_dataset

NOTHING = 255
WARP_SIDE = 1024
SUFFIXES = {".tif", ".tiff", ".vrt", ".img"}
SAME_LATTICE = 1e-3


@dataclass(frozen=True)
class Legend:
    """What the codes of a settlement map mean; codes that stand nowhere are refused."""

    nodata: tuple[int, ...] = (0,)
    others: tuple[int, ...] = (1,)
    built: tuple[int, ...] = (250, 255)

    def __post_init__(self) -> None:
        codes = (*self.nodata, *self.others, *self.built)
        if not self.built or len(set(codes)) < len(codes) or not all(0 <= code <= 255 for code in codes):
            raise InputError(
                "--esm-codes must name codes from 0 to 255, each once, and at least one for built"
            )

    @classmethod
    def parse(cls, text: str) -> Legend:
        """`nodata=0 other=1 built=250,255`."""
        try:
            named = dict(part.split("=") for part in text.split())
            codes = {name: tuple(map(int, filter(None, values.split(",")))) for name, values in named.items()}
            return cls(codes.pop("nodata", ()), codes.pop("other"), codes.pop("built"), **codes)
        except (ValueError, KeyError, TypeError):
            raise InputError(f"--esm-codes {text!r} is not like 'nodata=0 other=1 built=250,255'") from None

    @property
    def shares(self) -> NDArray[np.uint8]:
        """For each code 0 or 100 percent built, or nothing."""
        table = np.full(256, NOTHING, np.uint8)
        table[list(self.others)] = 0
        table[list(self.built)] = 100
        return table

    def check(self, codes: NDArray[Any], path: str) -> None:
        """Refuse codes that the legend does not know."""
        known = {*self.nodata, *self.others, *self.built}
        unknown = sorted(set(np.unique(codes).tolist()) - known)
        if unknown:
            raise InputError(
                f"{path} holds codes {', '.join(map(str, unknown[:8]))} that the legend does not name; say what "
                "they mean with --esm-codes 'nodata=0 other=1 built=250,255'"
            )


@dataclass(frozen=True)
class SettlementMap:
    """Files of a settlement map, and how they become a label."""

    path: Path
    legend: Legend
    marking: Marking

    @property
    def files(self) -> list[Path]:
        """The rasters at the path: itself, or all in its folder."""
        files = [self.path]
        if self.path.is_dir():
            files = sorted(file for file in self.path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files or not files[0].exists():
            raise InputError(
                f"{self.path} holds no raster of the European Settlement Map; give a GeoTIFF or a folder"
            )
        return files

    @property
    def band(self) -> LayerBand:
        return LayerBand("built" if self.marking.as_mask else "built_percent")

    @property
    def pixels(self) -> PixelFormat:
        return MASK

    @property
    def sha256(self) -> str:
        """One hash over the files' names, sizes and times, and over what is made of them."""
        stats = [(str(file.name), file.stat().st_size, file.stat().st_mtime_ns) for file in self.files]
        return hashlib.sha256(repr((stats, self.legend, self.marking)).encode()).hexdigest()

    def write(self, form: GeoTiffFormat, path: Path) -> None:
        """Warp the map onto a grid, and leave a cloud-optimised file at `path`."""
        with ExitStack() as stack, reserve_folder(path) as folder:
            mosaic = folder / MOSAIC_FILE
            sources = [stack.enter_context(open_esm_raster(file)) for file in self.files]
            for source in sources:
                check_codes(source)
            check_alignment(sources)
            with rasterio.open(mosaic, "w", **form.profile, **MOSAIC_OPTIONS) as target:
                seen = False
                for window in plan_tiles(form.grid, WARP_SIDE):
                    share = self.share(sources, form.grid.window(window))
                    seen |= bool((share != NOTHING).any())
                    target.write(self.encode_shares(share), 1, window=make_rasterio_window(window))
            if not seen:
                raise InputError(f"{self.path} does not reach the area: the label would be empty")
            write_cog(mosaic, form, path)

    def share(self, sources: Sequence[DatasetReader], grid: Grid) -> NDArray[np.float32]:
        """How many percent of each pixel of a grid are built; 255 where the map says nothing."""
        share = np.full(grid.shape, NOTHING, np.float32)
        native = self.native(sources, grid)
        if native is None:
            return share
        codes, transform = native
        reproject(
            self.legend.shares[codes],
            share,
            src_transform=transform,
            src_crs=sources[0].crs,
            src_nodata=NOTHING,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            dst_nodata=NOTHING,
            resampling=Resampling.average,
        )
        return share

    def native(
        self, sources: Sequence[DatasetReader], grid: Grid
    ) -> tuple[NDArray[np.uint8], rasterio.Affine] | None:
        """The codes under a grid as one array, however many files they come from."""
        first = sources[0]
        bounds = transform_bounds(grid.crs, first.crs, *grid.bounds, densify_pts=51)
        if not np.isfinite(bounds).all():
            return None
        left, top = ~first.transform @ (bounds[0], bounds[3])
        right, bottom = ~first.transform @ (bounds[2], bounds[1])
        row, col, stop_row, stop_col = floor(top) - 2, floor(left) - 2, ceil(bottom) + 2, ceil(right) + 2
        codes = np.full((stop_row - row, stop_col - col), self.blank_code, np.uint8)
        found = [self.paste(source, codes, first.transform, (row, col)) for source in sources]
        shifted = first.transform @ rasterio.Affine.translation(col, row)
        return (codes, shifted) if any(found) else None

    @property
    def blank_code(self) -> int:
        """A code that stands for nothing."""
        blanks = self.legend.nodata or tuple(np.flatnonzero(self.legend.shares == NOTHING)[:1])
        return int(blanks[0])

    def paste(
        self,
        source: DatasetReader,
        codes: NDArray[np.uint8],
        lattice: rasterio.Affine,
        corner: tuple[int, int],
    ) -> bool:
        """Lay a file's pixels where they belong in an array; whether it reaches in."""
        offset_col, offset_row = map(round, ~lattice @ (source.transform.c, source.transform.f))
        top, left = offset_row - corner[0], offset_col - corner[1]
        rows = slice(max(0, -top), min(source.height, codes.shape[0] - top))
        cols = slice(max(0, -left), min(source.width, codes.shape[1] - left))
        if rows.start >= rows.stop or cols.start >= cols.stop:
            return False
        part = read_codes(source, rows, cols)
        self.legend.check(part, source.name)
        target = codes[rows.start + top : rows.stop + top, cols.start + left : cols.stop + left]
        np.copyto(target, part, where=self.legend.shares[part] != NOTHING)
        return True

    def encode_shares(self, share: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Shares as a mask, or rounded to whole percent."""
        nothing = share == NOTHING
        values = share >= 100 * self.marking.least_share if self.marking.as_mask else np.rint(share)
        return np.where(nothing, NOTHING, values).astype(np.uint8)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """How it was made, for the record."""
        return {
            "values": MASK_VALUES if self.marking.as_mask else "percent built",
            "built_from_share": self.marking.least_share,
            "codes": {"nodata": self.legend.nodata, "other": self.legend.others, "built": self.legend.built},
            "files": [file.name for file in self.files],
        }


def open_esm_raster(path: Path) -> DatasetReader:
    try:
        source: DatasetReader = open_dataset(str(path))
    except RasterioError as error:
        raise InputError(f"{path} cannot be read as a raster: {error}") from None
    return source


def check_codes(source: DatasetReader) -> None:
    """Refuse a raster that holds anything but whole codes in one band, with a CRS."""
    if source.dtypes[0] != "uint8" or source.crs is None or source.count != 1:
        raise InputError(
            f"{source.name} must hold one band of 8-bit codes with a CRS, as the European Settlement Map does"
        )


def read_codes(source: DatasetReader, rows: slice, cols: slice) -> NDArray[np.uint8]:
    """A window of the only band."""
    try:
        codes: NDArray[np.uint8] = source.read(1, window=((rows.start, rows.stop), (cols.start, cols.stop)))
    except RasterioError as error:
        raise InputError(f"{source.name} is damaged: {error}") from None
    return codes


def check_alignment(sources: Sequence[DatasetReader]) -> None:
    """See that all files lie on one lattice of pixels, so that they can be joined without shifting any."""
    first = sources[0]
    for source in sources[1:]:
        col, row = ~first.transform @ (source.transform.c, source.transform.f)
        aligned = abs(col - round(col)) < SAME_LATTICE and abs(row - round(row)) < SAME_LATTICE
        if source.crs != first.crs or not aligned or source.res != first.res:
            raise InputError(
                f"{source.name} and {first.name} differ in CRS, pixel size or alignment; export with one kind of "
                "European Settlement Map tiles at a time"
            )
