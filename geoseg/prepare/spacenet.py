"""SpaceNet's layout: images and GeoJSON files that share the name of their area and the number of their image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from geoseg.errors import InputError
from geoseg.prepare.dataset import refuse_repeated
from geoseg.prepare.pairs import Pair

IMAGES = ("**/PS-RGB/*.tif", "**/RGB-PanSharpen/*.tif", "**/PS-RGBNIR/*.tif")
LABELS = ("**/geojson_buildings/*.geojson", "**/geojson/buildings/*.geojson")
NAME = re.compile(r"(AOI_\d+_[A-Za-z]+).*?_((?:\d+_\d+_tile_\d+)|(?:img-?\d+))$")


def spacenet_pairs(source: Path) -> list[Pair]:
    """The images and labels below a folder, such as PS-RGB/..._AOI_2_Vegas_PS-RGB_img7.tif."""
    images, labels = keyed(first_found(source, IMAGES)), keyed(first_found(source, LABELS))
    if not images or not labels:
        raise InputError(
            f"{source}: expected SpaceNet's PS-RGB/*_AOI_2_Vegas_*_img7.tif and geojson_buildings/*_img7.geojson, or "
            f"patterns, e.g. --images '*.tif' --labels '*.geojson'; found {listing(source)}"
        )
    lonely = sorted(labels.keys() - images.keys())
    if lonely:
        raise InputError(
            f"{labels[lonely[0]]}: has no image {lonely[0]} in PS-RGB ({len(lonely)} such labels)"
        )
    return [Pair(name, images[name], label) for name, label in sorted(labels.items())]


def first_found(source: Path, patterns: Iterable[str]) -> list[Path]:
    return next((found for pattern in patterns if (found := sorted(source.glob(pattern)))), [])


def keyed(paths: Iterable[Path]) -> dict[str, Path]:
    """Files by their area and number, where their name tells these."""
    fits = [(NAME.search(path.stem), path) for path in paths]
    named = [("_".join(fit.groups()), path) for fit, path in fits if fit]
    refuse_repeated((name for name, _ in named), "SpaceNet image")
    return dict(named)


def listing(source: Path) -> str:
    if not source.is_dir():
        return "no folder"
    return ", ".join(sorted(path.name for path in source.iterdir())[:8]) or "nothing"
