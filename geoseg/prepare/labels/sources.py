"""Images of a folder with the label rasters that cover them, whole or in tiles, and their cloud rasters."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyproj import Transformer

from geoseg.errors import InputError
from geoseg.prepare.pairs import IMAGE_FOLDERS, find_pairs, guessed, matches
from geoseg.prepare.picture import SUFFIXES, Picture, picture
from geoseg.raster.grid import Grid


@dataclass(frozen=True)
class Source:
    """An image, the label rasters of its ground, the first lying on top, and the raster of its clouds if it has one."""

    name: str
    image: Path
    labels: tuple[Path, ...]
    cloud: Path | None = None


@dataclass(frozen=True)
class Patterns:
    """How a user says which files are which: one label for each image, or tiles that lie under all of them."""

    images: str | None = None
    labels: str | None = None
    tiles: str | None = None
    cloud: str | None = None


def find_sources(source: Path, wanted: Patterns) -> list[Source]:
    """Every image below a folder with its labels and clouds."""
    if wanted.tiles:
        tiles = [placed(path) for path in tile_paths(wanted.tiles)]
        images = matches(source, wanted.images or guessed(source, IMAGE_FOLDERS, "--images"))
        found = [Source(name, path, tiles_under(path, tiles)) for name, path in sorted(images.items())]
    else:
        pairs = find_pairs(source, wanted.images, wanted.labels)
        found = [Source(pair.name, pair.image, (pair.label,)) for pair in pairs]
    return with_clouds(found, matches(source, wanted.cloud)) if wanted.cloud else found


def with_clouds(found: Iterable[Source], clouds: dict[str, Path]) -> list[Source]:
    sources = []
    for each in found:
        if each.name not in clouds:
            raise InputError(f"{each.image}: has no cloud raster of the same name; see --cloud")
        sources.append(Source(each.name, each.image, each.labels, clouds[each.name]))
    return sources


def tile_paths(text: str) -> list[Path]:
    """The rasters that a file's name, a folder or a pattern stands for."""
    if Path(text).is_dir():
        paths = sorted(path for path in Path(text).rglob("*") if path.suffix.lower() in SUFFIXES)
    else:
        paths = [Path(path) for path in sorted(glob.glob(text, recursive=True))]
    if not paths:
        raise InputError(f"--label-tiles {text}: no raster is there")
    return paths


def placed(path: Path) -> Picture:
    found = picture(path)
    if found.grid is None:
        raise InputError(f"{path}: has no place on Earth")
    return found


def tiles_under(image: Path, tiles: Sequence[Picture]) -> tuple[Path, ...]:
    """The tiles that an image's ground may lie in."""
    grid = placed(image).grid
    assert grid
    under = tuple(tile.path for tile in tiles if tile.grid and may_meet(grid, tile.grid))
    if not under:
        raise InputError(
            f"{image}: no label tile lies under it ({len(tiles)} looked at); is it the right area?"
        )
    return under


def may_meet(one: Grid, other: Grid) -> bool:
    """Whether the boxes of two grids touch, seen in the CRS of the second."""
    across = Transformer.from_crs(one.crs, other.crs, always_xy=True)
    left, bottom, right, top = across.transform_bounds(*one.bounds, densify_pts=21)
    own = other.bounds
    if not np.isfinite([left, bottom, right, top]).all() or left > right:
        return True
    return left < own[2] and right > own[0] and bottom < own[3] and top > own[1]
