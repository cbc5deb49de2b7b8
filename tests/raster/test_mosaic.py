"""A mosaic is whole and equal to its strips, or it is not there: also on a disk that runs full while it is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from limits import limited_files
from pyproj import CRS

from geoseg.errors import GeosegError
from geoseg.raster.grid import Grid
from geoseg.raster.mosaic import MosaicLayer, resample_strips, write_mosaic, write_strip
from geoseg.raster.plan import Strip
from geoseg.raster.source import is_readable

ROWS, WIDTH = 700, 900


@pytest.fixture
def strips(tmp_path: Path) -> list[tuple[Strip, Path]]:
    """Two strips of classes, of which some blocks are all 0 and some all nodata."""
    values = np.random.default_rng(0).integers(0, 2, (2 * ROWS, WIDTH), dtype=np.uint8)
    values[:512, :512], values[512:1024, 512:] = 0, 255
    made = []
    for index in range(2):
        strip = Strip(index, index * ROWS, (index + 1) * ROWS)
        path = tmp_path / f"strip-{index}.tif"
        write_strip(path, values[None, strip.row : strip.row + ROWS], make_grid(ROWS, strip.row))
        made.append((strip, path))
    return made


def make_grid(rows: int, row: int = 0) -> Grid:
    return Grid(
        CRS.from_epsg(32633), rasterio.transform.from_origin(500_000, 6_000_000 - row, 1, 1), rows, WIDTH
    )


def read_all(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_a_mosaic_holds_its_strips(tmp_path: Path, strips: list[tuple[Strip, Path]]) -> None:
    out = tmp_path / "mosaic.tif"
    write_mosaic(out, MosaicLayer(("class",)), make_grid(2 * ROWS), strips)
    np.testing.assert_array_equal(
        read_all(out), np.concatenate([read_all(path) for _, path in strips], axis=1)
    )


FEW_FILES = """
import resource, sys
from pathlib import Path
from rasterio import transform
from pyproj import CRS
from geoseg.errors import GeosegError
from geoseg.raster.grid import Grid
from geoseg.raster.mosaic import MosaicLayer, write_mosaic
from geoseg.raster.plan import Strip

folder, (number, rows, width, limit) = Path(sys.argv[1]), map(int, sys.argv[2:])
grid = Grid(CRS.from_epsg(32633), transform.from_origin(500_000, 6_000_000, 1, 1), number * rows, width)
strips = [(Strip(i, i * rows, (i + 1) * rows), folder / f"{i}.tif") for i in range(number)]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
write_mosaic(folder / "mosaic.tif", MosaicLayer(("class",)), grid, strips)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no limit to the number of files")
def test_a_mosaic_of_many_strips_keeps_few_of_them_open(tmp_path: Path) -> None:
    """In a process of its own: GDAL keeps to what a process first told it."""
    values = np.random.default_rng(0).integers(0, 2, (60, 8, WIDTH), dtype=np.uint8)
    for number, rows in enumerate(values):
        write_strip(tmp_path / f"{number}.tif", rows[None], make_grid(8, number * 8))
    arguments = map(str, (tmp_path, len(values), 8, WIDTH, 40))
    subprocess.run([sys.executable, "-c", FEW_FILES, *arguments], check=True)
    np.testing.assert_array_equal(read_all(tmp_path / "mosaic.tif")[0], np.concatenate(values))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no limit to the size of files")
def test_a_mosaic_that_finds_no_room_is_not_there(tmp_path: Path, strips: list[tuple[Strip, Path]]) -> None:
    whole = tmp_path / "whole.tif"
    write_mosaic(whole, MosaicLayer(("class",)), make_grid(2 * ROWS), strips)
    size = whole.stat().st_size
    limits = [0, *(int(size * share / 20) for share in range(1, 20)), size - 1000, size - 10, size - 1]
    for limit in limits:
        with limited_files(limit), pytest.raises(GeosegError, match="could not be written"):
            write_mosaic(tmp_path / f"{limit}.tif", MosaicLayer(("class",)), make_grid(2 * ROWS), strips)
        assert not (tmp_path / f"{limit}.tif").exists()
    with limited_files(size):
        write_mosaic(tmp_path / "again.tif", MosaicLayer(("class",)), make_grid(2 * ROWS), strips)
    np.testing.assert_array_equal(read_all(tmp_path / "again.tif"), read_all(whole))
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("rows", [70, 200, 1000])
def test_strips_change_no_pixel_that_is_resampled(
    tmp_path: Path, strips: list[tuple[Strip, Path]], rows: int
) -> None:
    grid = make_grid(strips[-1][0].stop_row)
    onto = grid.rescale(grid.gsd_m * 1.7)
    cut = resample_strips(grid, strips, onto, tmp_path, strip_pixels=rows * onto.width)
    whole = np.concatenate([read_all(file) for _, file in strips], axis=1)
    row, col = (
        np.floor((np.arange(size) + 0.5) * source / size).astype(int)
        for size, source in zip(onto.shape, grid.shape, strict=True)
    )
    assert len(cut) == -(-onto.height // rows)
    assert np.array_equal(
        np.concatenate([read_all(file) for _, file in cut], axis=1), whole[:, row][:, :, col]
    )


def test_a_damaged_strip_is_known(strips: list[tuple[Strip, Path]]) -> None:
    _, path = strips[1]
    assert is_readable(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    assert not is_readable(path)
