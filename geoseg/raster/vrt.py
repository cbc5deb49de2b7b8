"""Several files read as one: the text of a virtual mosaic that GDAL opens like a file.

Where files overlap, the one named first wins; its nodata, alpha and masked pixels let the later ones through. A pixel is known
where any of its bands is, as in a scene of one file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from affine import Affine
from rasterio.enums import ColorInterp

from geoseg.errors import InputError
from geoseg.raster.grid import SAME_PIXEL
from geoseg.raster.source import GDAL_TYPES, is_picture, list_mask_bands, open_raster

log = logging.getLogger(__name__)

ONE_BY_ONE = "a folder for the results (results/) gives each file a result of its own"
SPARSE_SHARE = 0.01
"""A strip of a hundred tiles from corner to corner is as sparse, and what is sparser is hardly one scene."""
VIRTUAL_BLOCK = 128
"""The side of the blocks in which GDAL reads virtual rasters."""
USE_MASK = "<UseMaskBand>true</UseMaskBand>"
KEEP_BELOW = "<NODATA>0</NODATA>"
"""Of masks: where one is 0, that of the file below stays. GDAL 3.10 garbles masks that it makes of nodata in bytes and then pastes as
they are, too."""


@dataclass(frozen=True)
class MosaicTile:
    """One file of a mosaic, as far as the mosaic needs to know it."""

    path: str
    crs: str
    transform: Affine
    height: int
    width: int
    dtypes: tuple[str, ...]
    data_bands: tuple[int, ...]
    colors: tuple[ColorInterp, ...]
    descriptions: tuple[str, ...]
    mask_bands: tuple[int, ...]
    """Those whose masks together tell what is known; none where all is."""
    block: tuple[int, int]

    @property
    def band_names(self) -> list[str]:
        """What the bands of data are called: by a description, else by a colour."""
        return [self.descriptions[n - 1].lower() or self.colors[n - 1].name for n in self.data_bands]


def make_mosaic_vrt(paths: Sequence[str]) -> str:
    """The text of a virtual mosaic of files that share one CRS, resolution and set of bands."""
    tiles = [read_tile(path) for path in paths]
    first = tiles[0]
    for tile in tiles[1:]:
        refuse_mismatch(first, tile)
    offsets = [compute_pixel_offset(first, tile) for tile in tiles]
    left, top = min(x for x, _ in offsets), min(y for _, y in offsets)
    places = [(x - left, y - top) for x, y in offsets]
    width = max(x + tile.width for (x, _), tile in zip(places, tiles, strict=True))
    height = max(y + tile.height for (_, y), tile in zip(places, tiles, strict=True))
    warn_about_gaps(tiles, width * height)
    transform = first.transform @ Affine.translation(left, top)
    # GDAL paints sources in order, the last on top.
    painted = list(zip(map(unite_masks, reversed(tiles)), reversed(places), strict=True))
    mask = "".join(
        format_source("mask,1", tile, place, KEEP_BELOW if tile.mask_bands else "") for tile, place in painted
    )
    georeference = ", ".join(repr(float(v)) for v in transform.to_gdal())
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(first.crs)}</SRS>'
        f"<GeoTransform>{georeference}</GeoTransform>{format_bands(first, painted, mask)}</VRTDataset>"
    )


def unite_masks(tile: MosaicTile) -> MosaicTile:
    """The same tile with one mask for all its bands: a virtual raster, where each has a mask of its own."""
    if len(tile.mask_bands) < 2:
        return tile
    mask = "".join(format_source(f"mask,{number}", tile, (0, 0), KEEP_BELOW) for number in tile.mask_bands)
    content = format_bands(tile, [(replace(tile, mask_bands=()), (0, 0))], mask)
    return replace(
        tile,
        path=f'<VRTDataset rasterXSize="{tile.width}" rasterYSize="{tile.height}">{content}</VRTDataset>',
        data_bands=tuple(range(1, len(tile.data_bands) + 1)),
        mask_bands=(1,),
        block=(min(VIRTUAL_BLOCK, tile.height), min(VIRTUAL_BLOCK, tile.width)),
    )


def warn_about_gaps(tiles: Sequence[MosaicTile], pixels: int) -> None:
    """Tell of files that lie far apart: what is between them is worked through as well."""
    share = sum(tile.width * tile.height for tile in tiles) / pixels
    if share < SPARSE_SHARE:
        log.warning(
            f"{tiles[0].path} and {len(tiles) - 1} more lie far apart: they fill one part in {1 / share:,.0f} of the ground from "
            f"one to the other, and all of it is worked through; {ONE_BY_ONE}"
        )


def read_tile(path: str) -> MosaicTile:
    with open_raster(path, path) as dataset:
        if is_picture(dataset):
            raise InputError(
                f"{path}: has no place on Earth, so it cannot be joined with other files to one image; write one result for "
                "each of them: `out` results/"
            )
        return describe_tile(dataset, path)


def describe_tile(dataset: Any, path: str) -> MosaicTile:
    odd = next((dtype for dtype in dataset.dtypes if dtype not in GDAL_TYPES), None)
    if odd is not None:
        raise InputError(f"{path}: pixels of {odd} are no image that can be joined with others")
    meanings = zip(dataset.indexes, dataset.colorinterp, strict=True)
    bands = tuple(number for number, meaning in meanings if meaning != ColorInterp.alpha)
    return MosaicTile(
        path=str(Path(path).resolve()) if Path(path).exists() else path,
        crs=dataset.crs.to_wkt() if dataset.crs else "",
        transform=dataset.transform,
        height=dataset.height,
        width=dataset.width,
        dtypes=tuple(dataset.dtypes),
        data_bands=bands,
        colors=tuple(dataset.colorinterp),
        descriptions=tuple(text or "" for text in dataset.descriptions),
        mask_bands=tuple(list_mask_bands(dataset, bands)),
        block=dataset.block_shapes[0],
    )


def refuse_mismatch(first: MosaicTile, tile: MosaicTile) -> None:
    """Files of one mosaic differ in place only."""
    if tile.crs != first.crs:
        raise InputError(
            f"{tile.path}: its CRS differs from that of {first.path}; bring all files to one with gdalwarp; {ONE_BY_ONE}"
        )
    if not np.allclose(get_pixel_shape(tile), get_pixel_shape(first), rtol=1e-6, atol=0):
        raise InputError(
            f"{tile.path}: its pixel size differs from that of {first.path}; bring all files to one with gdalwarp -tr; {ONE_BY_ONE}"
        )
    if len(tile.data_bands) != len(first.data_bands) or set(tile.dtypes) != set(first.dtypes):
        raise InputError(
            f"{tile.path}: has {len(tile.data_bands)} bands of {tile.dtypes[0]}, but {first.path} has "
            f"{len(first.data_bands)} of {first.dtypes[0]}; a mosaic needs files of one kind"
        )
    if tile.band_names != first.band_names and sorted(tile.band_names) == sorted(first.band_names):
        raise InputError(
            f"{tile.path}: its bands are {', '.join(tile.band_names)}, those of {first.path} {', '.join(first.band_names)}; "
            "bring them into one order with gdal_translate -b"
        )


def get_pixel_shape(tile: MosaicTile) -> tuple[float, float, float, float]:
    """The part of a transform that tells the size and turn of a pixel, not its place."""
    t = tile.transform
    return t.a, t.b, t.d, t.e


def compute_pixel_offset(first: MosaicTile, tile: MosaicTile) -> tuple[int, int]:
    """Columns and rows from the first file's corner to this one's; files must lie on one pixel grid."""
    col, row = ~first.transform @ (tile.transform.c, tile.transform.f)
    if abs(col - round(col)) > SAME_PIXEL or abs(row - round(row)) > SAME_PIXEL:
        raise InputError(
            f"{tile.path}: lies {col % 1:.2f}, {row % 1:.2f} of a pixel off the grid of {first.path}; align it with gdalwarp -tap"
        )
    return round(col), round(row)


def format_bands(first: MosaicTile, painted: Sequence[tuple[MosaicTile, tuple[int, int]]], mask: str) -> str:
    """The bands that hold data, and below them the one mask of all."""
    bands = "".join(format_band(index, first, painted) for index in range(len(first.data_bands)))
    return f'{bands}<MaskBand><VRTRasterBand dataType="Byte">{mask}</VRTRasterBand></MaskBand>'


def format_band(index: int, first: MosaicTile, painted: Sequence[tuple[MosaicTile, tuple[int, int]]]) -> str:
    number = first.data_bands[index]
    description = first.descriptions[number - 1]
    color = first.colors[number - 1].name.title()
    sources = [
        format_source(str(tile.data_bands[index]), tile, place, USE_MASK if tile.mask_bands else "")
        for tile, place in painted
    ]
    return (
        f'<VRTRasterBand dataType="{GDAL_TYPES[first.dtypes[number - 1]]}" band="{index + 1}">'
        + (f"<Description>{escape(description)}</Description>" if description else "")
        + f"<ColorInterp>{color}</ColorInterp>{''.join(sources)}</VRTRasterBand>"
    )


def format_source(band: str, tile: MosaicTile, place: tuple[int, int], masking: str) -> str:
    kind = "ComplexSource" if masking else "SimpleSource"
    size = f'xSize="{tile.width}" ySize="{tile.height}"'
    return (
        f'<{kind}><SourceFilename relativeToVRT="0">{escape(tile.path)}</SourceFilename><SourceBand>{band}</SourceBand>'
        f'<SourceProperties RasterXSize="{tile.width}" RasterYSize="{tile.height}" '
        f'DataType="{GDAL_TYPES[tile.dtypes[0]]}" '
        f'BlockXSize="{tile.block[1]}" BlockYSize="{tile.block[0]}"/>'
        f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{place[0]}" yOff="{place[1]}" {size}/>{masking}</{kind}>'
    )
