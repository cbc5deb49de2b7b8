"""Images that people bring: the example, an upload, a path on the server. Each is looked at before anything is done with it.

Nothing but plain images of limited size is taken, and nothing outside the folders that the server allows is read.
"""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from xml.etree.ElementTree import Element

from geoseg.app.options import AppOptions
from geoseg.errors import InputError
from geoseg.io.trust import FIRST_BYTES, SAME_FORMAT, SOURCE_TAGS, parse_virtual_raster, read_head
from geoseg.raster.source import GDAL_ERRORS, describe_gdal_error, is_picture, open_raster, read_back
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.scene import SyntheticScene, write_scene

UPLOAD_SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg", ".png")
PATH_SUFFIXES = (*UPLOAD_SUFFIXES, ".jp2", ".vrt")
EXAMPLE_NAME, EXAMPLE_SIDE, EXAMPLE_SEED = "example", 1024, 22
COPY_BYTES = 2**20
DEEPEST = 5
UNSAFE = re.compile(r"[^\w.-]+")

Origin = Literal["example", "upload", "path"]


@dataclass(frozen=True)
class SceneFile:
    """An image that may be worked on. `name` is what people call it, without its ending."""

    path: Path
    name: str
    origin: Origin
    width: int
    height: int
    is_placed: bool

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6


def find_example(folder: Path) -> SceneFile:
    """A drawn place, for those who have no image at hand; it is drawn when it is looked at, since most have one."""
    path = folder / f"{EXAMPLE_NAME}.tif"
    return SceneFile(path, EXAMPLE_NAME, "example", EXAMPLE_SIDE, EXAMPLE_SIDE, True)


def draw_example(scene: SceneFile) -> None:
    """Draw the example, unless it is there."""
    if scene.origin == "example" and not scene.path.exists():
        drawn = SyntheticScene(Layout(EXAMPLE_SEED), scene.height, scene.width)
        write_scene(drawn, scene.path, scene.path.with_name("truth.gpkg"))


def store_upload(name: str, content: IO[bytes], folder: Path, options: AppOptions) -> SceneFile:
    """Keep an uploaded image, or say in one line why it is none; then nothing of it stays."""
    shown = clean_name(name)
    suffix = Path(shown).suffix.lower()
    with discard_on_error(folder):
        if suffix not in UPLOAD_SUFFIXES:
            raise InputError(
                f"{shown}: is no GeoTIFF, JPEG or PNG; upload a file that ends in .tif, .jpg or .png"
            )
        path = folder / f"{Path(shown).stem or 'image'}{suffix}"
        copy_limited(content, path, shown, options.upload_mb)
        refuse_disguise(path, shown)
        return look_at_scene(path, shown, "upload", options)


def clean_name(name: str) -> str:
    """The last part of a file's name, of harmless letters only."""
    last = re.split(r"[/\\]", name)[-1]
    return UNSAFE.sub("_", last).lstrip(".") or "image"


@contextmanager
def discard_on_error(folder: Path) -> Iterator[None]:
    """Delete a folder when the block fails."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def copy_limited(content: IO[bytes], path: Path, name: str, most_mb: int) -> None:
    """Copy an upload, but no more of it than is allowed."""
    written = 0
    with path.open("wb") as file:
        while piece := content.read(COPY_BYTES):
            written += len(piece)
            if written > most_mb * 1_000_000:
                raise InputError(f"{name}: is larger than the {most_mb} MB that may be uploaded")
            file.write(piece)
    if not written:
        raise InputError(f"{name}: is empty")


def refuse_disguise(path: Path, name: str) -> None:
    """Refuse a file whose content is of another kind than its name says."""
    suffix = path.suffix.lower()
    if not read_head(path).startswith(FIRST_BYTES[SAME_FORMAT.get(suffix, suffix)]):
        raise InputError(f"{name}: its content is no {suffix.lstrip('.').upper()} image, as its name says")


def look_at_scene(path: Path, name: str, origin: Origin, options: AppOptions) -> SceneFile:
    """Read what an image says of itself, then all of it: damage should show now, and not in the middle of a run."""
    try:
        with open_raster(str(path), name) as dataset:
            scene = SceneFile(
                path, Path(name).stem, origin, dataset.width, dataset.height, not is_picture(dataset)
            )
        if scene.megapixels > options.most_mpx:
            raise InputError(
                f"{name}: has {scene.megapixels:,.0f} megapixels, more than the {options.most_mpx:,} that this server "
                "takes; cut it, or use geoseg infer"
            )
        if origin == "upload":
            read_back(path)
    except GDAL_ERRORS as error:
        raise InputError(f"{name}: is damaged ({describe_gdal_error(error)}); save it anew") from error
    return scene


def open_allowed_path(text: str, options: AppOptions) -> SceneFile:
    """An image on the server, if it lies in an allowed folder with all that it reads."""
    if not options.allow:
        raise InputError("this server opens no paths; start it with geoseg app --allow FOLDER")
    try:
        path = Path(text.strip()).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        path = None
    folders = [Path(folder).resolve() for folder in options.allow]
    # The same words whether it is there or not: nobody may find out what lies elsewhere.
    if path is None or not is_below(path, folders) or not path.is_file():
        raise InputError(
            f"{text}: no image in the folders that this server allows: {', '.join(options.allow)}"
        )
    if path.suffix.lower() not in PATH_SUFFIXES:
        raise InputError(f"{text}: is no image that the app opens ({', '.join(PATH_SUFFIXES)})")
    refuse_outside_parts(path, folders)
    return look_at_scene(path, path.name, "path", options)


def is_below(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def refuse_outside_parts(path: Path, folders: Sequence[Path]) -> None:
    """Refuse an image that reads files outside the allowed folders, as virtual rasters and links beside it can."""
    for part in list_parts(path):
        if not is_below(part.resolve(), folders):
            raise InputError(f"{path.name}: reads a file outside the folders that this server allows")


def list_parts(path: Path, depth: int = 0) -> Iterator[Path]:
    """A file, what lies beside it under its name, and what a virtual raster names."""
    yield path
    yield from path.parent.glob(f"{glob.escape(path.stem)}.*")
    yield from path.parent.glob(f"{glob.escape(path.name)}.*")
    if path.suffix.lower() != ".vrt":
        return
    if depth > DEEPEST:
        raise InputError(f"{path.name}: is a virtual raster of virtual rasters, {depth} deep")
    for element in parse_virtual_raster(path).iter():
        if element.tag in SOURCE_TAGS:
            yield from list_parts(find_named_file(element, path), depth + 1)


def find_named_file(element: Element, path: Path) -> Path:
    """The file that an element of a virtual raster names; what is no plain path leads out of every folder."""
    named = (element.text or "").strip()
    if "://" in named or named.startswith(("/vsi", "<")) or not named:
        raise InputError(f"{path.name}: reads something that is no plain file")
    folder = path.resolve().parent
    return (folder / named if element.get("relativeToVRT", "0") == "1" else Path(named)).resolve()


def describe_scene(scene: SceneFile) -> str:
    """For people."""
    place = "placed on the map" if scene.is_placed else "a picture without a place"
    return f"{scene.name}: {scene.width:,} x {scene.height:,} pixels, {place}"
