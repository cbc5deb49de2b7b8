"""Many scenes named at once: by folders, by text files with one scene a line, by STAC item collections."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from glob import glob
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from geoseg.errors import InputError, shorten_error
from geoseg.records import parse_json

PICTURE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt", ".npy")
LIST_SUFFIXES = (".txt", ".json")
WILD = set("*?[")
IMAGE_KEYS = ("image", "visual", "data", "analytic")
"""What the asset with the image is called in the STAC items of most catalogues; the first that is there is taken."""
RASTER_TYPES = ("image/tiff", "image/jp2", "image/png", "image/jpeg", "image/vnd.stac.geotiff")


def expand_lists(paths: Sequence[str]) -> Iterator[str]:
    """Paths with every list among them replaced by what it names."""
    for path in paths:
        if Path(path).suffix.lower() in LIST_SUFFIXES and Path(path).is_file():
            yield from read_list(Path(path))
        else:
            # Shells of Windows leave this to programs; in a web address, a question mark is none.
            yield from find_pattern(path) if is_pattern(path) else [path]


def is_pattern(path: str) -> bool:
    """Whether a path stands for all files that look like it."""
    is_remote = "://" in path or path.startswith("/vsi")
    return bool(WILD & set(path)) and not is_remote and not Path(path).exists()


def find_pattern(pattern: str) -> list[str]:
    """The files that look like a pattern, in their order."""
    found = sorted(glob(pattern))
    if not found:
        raise InputError(f"{pattern}: no file is called like this")
    return found


def list_single_scenes(paths: Sequence[str]) -> list[str]:
    """Every scene by itself: files as they are, folders as the images in them, lists as what they name."""
    scenes: list[str] = []
    for path in expand_lists(paths):
        if Path(path).is_dir():
            inside = list_folder(path, PICTURE_SUFFIXES)
            if not inside:
                raise InputError(f"{path}: the folder holds no image ({', '.join(PICTURE_SUFFIXES)})")
            scenes += inside
        else:
            scenes.append(path)
    return list(dict.fromkeys(scenes))


def list_folder(folder: str | Path, suffixes: Collection[str]) -> list[str]:
    """The files of a folder whose names end so, in their order; hidden ones, such as the ._a.tif of macOS, are none of them."""
    files = (file for file in Path(folder).iterdir() if not file.name.startswith("."))
    return sorted(str(file) for file in files if file.suffix.lower() in suffixes)


def read_list(path: Path) -> list[str]:
    """The scenes that a list names; paths that are not absolute begin at its folder."""
    if path.suffix.lower() == ".txt":
        scenes = [resolve(path.parent, line) for line in list_lines(read_text(path))]
    else:
        scenes = [scene for scene, _ in read_items(path)]
    if not scenes:
        raise InputError(f"{path}: names no scene")
    return scenes


def read_text(path: Path) -> str:
    """The text of a list; the mark that editors on Windows write before its first letter is passed over."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of scenes ({shorten_error(error)})") from error


def resolve(folder: Path, scene: str) -> str:
    """A scene that a list names, as seen from where we are."""
    if "://" in scene or scene.startswith("/vsi") or os.path.isabs(scene):
        return scene
    return os.path.normpath(folder / scene)


def list_lines(text: str) -> list[str]:
    """One scene a line; empty lines, and lines that begin with #, are passed over."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read_items(path: Path) -> list[tuple[str, Any]]:
    """The images that a STAC file names, each with its item."""
    return [(resolve(path.parent, find_image(item, path)), item) for item in read_stac(path)]


def read_stac(path: Path) -> Sequence[Any]:
    """The items of a STAC item collection, or the one item that a file is."""
    try:
        document = parse_json(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({shorten_error(error)})") from error
    kind = document.get("type") if isinstance(document, Mapping) else None
    if kind not in ("FeatureCollection", "Feature"):
        raise InputError(f"{path}: no STAC item collection; its type is {kind}, not FeatureCollection")
    items = document.get("features") if kind == "FeatureCollection" else [document]
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise InputError(f"{path}: its features are no list of STAC items")
    return items


def find_image(item: Any, path: Path) -> str:
    """Where the image of a STAC item is."""
    assets = item.get("assets") if isinstance(item, Mapping) else None
    if not isinstance(assets, Mapping):
        raise InputError(f"{path}: holds something that is no STAC item: it has no assets")
    rasters = {key: asset for key, asset in assets.items() if is_image(asset)}
    key = next((key for key in IMAGE_KEYS if key in rasters), None)
    key = next(iter(rasters)) if key is None and len(rasters) == 1 else key
    if key is None:
        found = f"several images: {', '.join(rasters)}" if rasters else "no image among its assets"
        raise InputError(
            f"{path}: item {item.get('id')} has {found}; geoseg takes the one called {' or '.join(IMAGE_KEYS)}, or the only one"
        )
    return str(rasters[key]["href"])


def is_image(asset: Any) -> bool:
    """Whether an asset of a STAC item is an image and no thumbnail of one."""
    if not isinstance(asset, Mapping) or not isinstance(asset.get("href"), str):
        return False
    roles = asset.get("roles") or ()
    if {"thumbnail", "overview", "metadata"} & set(roles if isinstance(roles, Sequence) else ()):
        return False
    kind = str(asset.get("type", "")).partition(";")[0].strip()
    return kind in RASTER_TYPES or (
        not kind and Path(urlsplit(asset["href"]).path).suffix.lower() in PICTURE_SUFFIXES
    )


def name_scenes(scenes: Sequence[str]) -> list[str]:
    """A short name for each scene that no other has: its file's, with those of its folders before it where need be."""
    parts = [split_scene(scene) for scene in scenes]
    names = [each[-1] for each in parts]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        twice = find_repeated(names)
        names = [
            "_".join(each[-depth:]) if name.casefold() in twice else name
            for name, each in zip(names, parts, strict=True)
        ]
    return number_repeated(names)


def split_scene(scene: str) -> tuple[str, ...]:
    """The folders of a scene and its name without its ending, in letters that every system takes."""
    path = PurePosixPath(urlsplit(scene).path if "://" in scene else Path(scene).as_posix())
    folders = [part for part in path.parts[:-1] if part not in ("/", ".", "..")]
    return tuple(make_plain(part) for part in (*folders, path.stem))


def make_plain(text: str) -> str:
    """A part of a path as a part of a name."""
    return "".join(letter if letter.isalnum() or letter in "-_. " else "-" for letter in text) or "scene"


def find_repeated(names: Sequence[str]) -> set[str]:
    """Names that stand twice, for systems to which large and small letters are the same."""
    return {name for name, times in Counter(name.casefold() for name in names).items() if times > 1}


def number_repeated(names: Sequence[str]) -> list[str]:
    """Names with a number behind those that folders do not tell apart, such as a.jpg and a.png in one folder."""
    twice, taken = find_repeated(names), {name.casefold() for name in names}
    numbered = []
    for name in names:
        free = (each for each in number_names(name) if each.casefold() not in taken)
        numbered.append(next(free) if name.casefold() in twice else name)
        taken.add(numbered[-1].casefold())
    return numbered


def number_names(name: str) -> Iterator[str]:
    return (f"{name}-{number}" for number in count(1))
