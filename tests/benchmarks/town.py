"""A made-up town for benchmarks: a large mask of turned houses, written in rows of blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

PLOT = 68
"""Pixels from house to house: 40,000 x 40,000 pixels hold 345,744 of them."""
BLOCK = 512


def write_town(path: Path, height: int, width: int, gsd_m: float = 0.3) -> int:
    """Write a mask of houses of 12 to 50 pixels a side; give their number."""
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 1, "height": height, "width": width, "nodata": 255,
        "crs": "EPSG:32736", "transform": Affine(gsd_m, 0, 500_000, 0, -gsd_m, 9_900_000),
        "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "zstd", "zstd_level": 1, "bigtiff": "IF_SAFER",
    }  # fmt: skip
    plots_down = height // PLOT
    with rasterio.open(path, "w", **profile) as mask:
        rows, done = np.zeros((0, width), dtype=np.uint8), 0
        for plot_row in range(plots_down + 1):
            new = (
                row_of_houses(plot_row, width)
                if plot_row < plots_down
                else np.zeros((height - plots_down * PLOT, width), np.uint8)
            )
            rows = np.concatenate([rows, new])
            last = plot_row == plots_down
            while len(rows) >= BLOCK or (last and len(rows)):
                take = min(BLOCK, len(rows))
                mask.write(rows[:take], 1, window=Window(0, done, width, take))
                rows, done = rows[take:], done + take
    return plots_down * (width // PLOT)


def row_of_houses(seed: int, width: int) -> NDArray[np.uint8]:
    """One row of plots with a turned rectangle, at times L-shaped or with a courtyard, in each."""
    chance = np.random.default_rng(seed)
    houses = width // PLOT
    long, short = chance.uniform(16, 50, houses), chance.uniform(12, 30, houses)
    angle = chance.choice([0.0, 0.3, 0.55, 1.1], houses) + chance.normal(0, 0.03, houses)
    off = np.arange(PLOT) - PLOT / 2 + 0.5
    y, x = np.meshgrid(off, off, indexing="ij")
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    u, v = x * cos + y * sin, y * cos - x * sin
    half_long, half_short = long[:, None, None] / 2, short[:, None, None] / 2
    inside = (np.abs(u) < half_long) & (np.abs(v) < half_short)
    kind = chance.random(houses)[:, None, None]
    inside &= ~((kind < 0.3) & (u > 0) & (v > 0))
    inside &= ~((kind > 0.95) & (np.abs(u) < half_long / 3) & (np.abs(v) < half_short / 3))
    row = np.zeros((PLOT, width), dtype=np.uint8)
    row[:, : houses * PLOT] = inside.transpose(1, 0, 2).reshape(PLOT, houses * PLOT)
    return row
