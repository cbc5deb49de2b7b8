"""Finished rows become a cloud-optimised GeoTIFF: strips as small files first, then one copy at the end.

A killed in-place GeoTIFF opens without error and reads as zeros; a strip file either has its final name or is not
there. So the strip files are what a later run resumes from, and the mosaic appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import WriteError
from geoseg.io.atomic import Delivery, replace_file
from geoseg.raster.coding import NODATA
from geoseg.raster.grid import Grid
from geoseg.raster.palette import Palette
from geoseg.raster.plan import STRIP_PIXELS, Strip
from geoseg.raster.source import make_rasterio_crs, open_quietly, read_overview_ends, replace_raster

StripFiles = Sequence[tuple[Strip, Path]]
"""The strips of a raster in the order of rows, each with the file that holds it."""

BLOCK = 512
LEAST_CACHE_BYTES, MOST_CACHE_BYTES = 16 * 2**20, 64 * 2**20
CACHED_BLOCK_ROWS = 4
"""A row of blocks is made of two strips; what overviews are made of lies two rows high."""
OPEN_STRIPS = 8
"""GDAL would keep up to 100 files of strips open, with a megabyte each: so memory would grow with the height of a scene."""
COPY_THREADS = "1"
"""GDAL's threads take some 10 MB of new memory for each tile that they pack, and overviews have tiles of 128 pixels unless told
otherwise: for 8,192 x 8,192 pixels all of that took 11 s of processor time, one thread and whole tiles take 1 s."""


@dataclass(frozen=True)
class MosaicLayer:
    """What a mosaic holds: the names of its bands, and how its bytes are read and shown."""

    bands: tuple[str, ...]
    scale: float = 1.0
    palette: Palette | None = None
    whole_palette: bool = False
    """Whether the palette names all 256 values, as a PNG must where any of them may occur."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def cog_options(self) -> dict[str, Any]:
        """Classes compress well and must not be mixed; probabilities hardly compress, however long one tries."""
        if self.palette:
            return {"overview_resampling": "nearest"}
        return {"overview_resampling": "average", "level": 1}


def write_strip(path: Path, values: NDArray[np.uint8], grid: Grid) -> None:
    """Write the finished bytes (band, row, col) of a strip's grid, whole or not at all."""
    bands, height, width = values.shape
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": bands, "height": height, "width": width,
        "crs": make_rasterio_crs(grid.crs) if grid.is_placed else None, "transform": grid.transform, "nodata": NODATA,
        "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": "band",
        "compress": "zstd", "zstd_level": 1, "bigtiff": "if_safer",
    }  # fmt: skip
    with replace_raster(path) as unfinished, open_quietly(unfinished, mode="w", **profile) as dataset:
        dataset.write(values)


def write_mosaic(
    out: Path, layer: MosaicLayer, grid: Grid, strips: StripFiles, delivery: Delivery | None = None
) -> None:
    """Join strip files to one raster: a cloud-optimised GeoTIFF, or a PNG where the name says so.

    A QGIS style lies beside a GeoTIFF with a palette. A PNG holds its palette; a side file tells its place, if it has one.
    """
    with (
        rasterio.Env(
            GDAL_CACHEMAX=choose_cache_bytes(layer, grid),
            GDAL_MAX_DATASET_POOL_SIZE=OPEN_STRIPS,
            GDAL_NUM_THREADS=COPY_THREADS,
            GDAL_TIFF_OVR_BLOCKSIZE=BLOCK,
        ),
        replace_file(out, delivery) as unfinished,
    ):
        if is_png(out):
            with rasterio.Env(GDAL_PAM_ENABLED=grid.is_placed):
                source = make_strips_vrt(replace(layer, whole_palette=True), grid, strips)
                copy_raster(source, unfinished, driver="PNG")
        else:
            copy_raster(
                make_strips_vrt(layer, grid, strips), unfinished, driver="COG", compress="deflate", bigtiff="if_safer",
                blocksize=BLOCK, **layer.cog_options, sparse_ok=True, num_threads=COPY_THREADS,
            )  # fmt: skip
        check_mosaic(unfinished, out, strips)
        if layer.palette and not is_png(out):
            unfinished.with_suffix(".qml").write_text(layer.palette.to_qml(), encoding="utf-8", newline="\n")


def choose_cache_bytes(layer: MosaicLayer, grid: Grid) -> int:
    """What holds some rows of blocks."""
    rows = CACHED_BLOCK_ROWS * BLOCK * grid.width * len(layer.bands)
    return min(max(rows, LEAST_CACHE_BYTES), MOST_CACHE_BYTES)


def is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def copy_raster(source: str, out: Path, **options: Any) -> None:
    """Copy a raster, or the text of a virtual one, which may lie nowhere."""
    with open_quietly(source) as dataset:
        rasterio.shutil.copy(dataset, out, **options)


def resample_strips(
    grid: Grid, strips: StripFiles, onto: Grid, folder: Path, strip_pixels: int = STRIP_PIXELS
) -> StripFiles:
    """The same raster in another number of pixels, each the nearest one: strip files that cover `onto`."""
    source = make_strips_vrt(MosaicLayer(name_bands(strips)), grid, strips)
    cols = find_nearest(0, onto.width, onto.width, grid.width)
    resampled = []
    with open_quietly(source) as dataset:
        for strip in split_into_strips(onto, strip_pixels):
            rows = find_nearest(strip.row, strip.stop_row, onto.height, grid.height)
            window = RasterioWindow(0, rows[0], grid.width, rows[-1] - rows[0] + 1)
            values = dataset.read(window=window)[:, rows - rows[0]][:, :, cols]
            resampled.append((strip, folder / f"{strips[0][1].stem}-own-{strip.index:06}.tif"))
            write_strip(resampled[-1][1], values, strip.place(onto))
    return resampled


def name_bands(strips: StripFiles) -> tuple[str, ...]:
    """Names for as many bands as strip files hold."""
    with open_quietly(strips[0][1]) as dataset:
        return tuple(f"band {number}" for number in dataset.indexes)


def find_nearest(start: int, stop: int, size: int, source: int) -> NDArray[np.intp]:
    """Which of `source` pixels lies below the middle of each of the pixels start to stop of `size`."""
    return ((2 * np.arange(start, stop) + 1) * source // (2 * size)).astype(np.intp)


def split_into_strips(grid: Grid, strip_pixels: int = STRIP_PIXELS) -> Iterator[Strip]:
    """The rows of a grid in strips that take little memory."""
    step = max(1, strip_pixels // grid.width)
    for index, row in enumerate(range(0, grid.height, step)):
        yield Strip(index, row, min(row + step, grid.height))


def check_mosaic(path: Path, out: Path, strips: StripFiles) -> None:
    """Compare a mosaic with its strips: blocks that a full disk did not take read as nodata, without an error."""
    with open_quietly(path) as mosaic:
        for strip, file in strips:
            with rasterio.open(file) as dataset:
                expected = dataset.read(mosaic.indexes)
            window = RasterioWindow(0, strip.row, mosaic.width, strip.height)
            if not np.array_equal(mosaic.read(window=window), expected):
                raise WriteError(f"{out} could not be written: rows from {strip.row} on were lost on the way")
    read_overview_ends(path)


def make_strips_vrt(layer: MosaicLayer, grid: Grid, strips: StripFiles) -> str:
    """The text of a virtual raster that stacks strip files and carries everything a reader should be told."""
    tags = "".join(f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in layer.tags.items())
    georeference = ", ".join(repr(float(value)) for value in grid.transform.to_gdal())
    srs = f"<SRS>{escape(make_rasterio_crs(grid.crs).to_wkt())}</SRS>" if grid.is_placed else ""
    bands = "".join(format_band(i + 1, layer, grid, strips) for i in range(len(layer.bands)))
    return (
        f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">'
        f"{srs}<GeoTransform>{georeference}</GeoTransform>"
        f"<Metadata>{tags}</Metadata>{bands}</VRTDataset>"
    )


def format_band(number: int, layer: MosaicLayer, grid: Grid, strips: StripFiles) -> str:
    sources = "".join(format_source(number, grid.width, strip, path) for strip, path in strips)
    scale = f"<Offset>0</Offset><Scale>{layer.scale!r}</Scale>" if layer.scale != 1 else ""
    colors = layer.palette.to_vrt(layer.whole_palette) if layer.palette else "<ColorInterp>Gray</ColorInterp>"
    return (
        f'<VRTRasterBand dataType="Byte" band="{number}"><Description>{escape(layer.bands[number - 1])}</Description>'
        f"<NoDataValue>{NODATA}</NoDataValue>{scale}{colors}{sources}</VRTRasterBand>"
    )


def format_source(band: int, width: int, strip: Strip, path: Path) -> str:
    size = f'xSize="{width}" ySize="{strip.height}"'
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(str(path.resolve()))}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>"
        f'<SourceProperties RasterXSize="{width}" RasterYSize="{strip.height}" DataType="Byte" '
        f'BlockXSize="{BLOCK}" BlockYSize="{BLOCK}"/>'
        f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="0" yOff="{strip.row}" {size}/></SimpleSource>'
    )
