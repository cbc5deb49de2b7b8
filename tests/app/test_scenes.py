"""What people bring is looked at: images are taken, all else is refused in a line, and then nothing stays on disk."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
import rasterio
from crops import write_crop

from geoseg.app.options import AppOptions
from geoseg.app.scenes import (
    clean_name,
    describe_scene,
    draw_example,
    find_example,
    open_allowed_path,
    store_upload,
)
from geoseg.errors import InputError

OPTIONS = AppOptions(upload_mb=5, most_mpx=2)


def upload(name: str, content: bytes, folder: Path, options: AppOptions = OPTIONS) -> None:
    store_upload(name, io.BytesIO(content), folder, options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "session"
    made.mkdir()
    return made


def make_png_bomb(side: int) -> bytes:
    """A PNG of few bytes that is a picture of so many black pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side + 1) * min(side, 100), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("driver", "suffix", "is_placed"),
    [("GTiff", ".tif", True), ("PNG", ".png", False), ("JPEG", ".JPG", False)],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_images_are_taken(tmp_path: Path, folder: Path, driver: str, suffix: str, is_placed: bool) -> None:
    changes = {"driver": driver} if is_placed else {"driver": driver, "crs": None, "transform": None}
    path = write_crop(tmp_path / f"made{suffix}", **changes)
    scene = store_upload(f"My town{suffix}", io.BytesIO(path.read_bytes()), folder, OPTIONS)
    assert (scene.name, scene.width, scene.is_placed) == ("My_town", 320, is_placed)
    assert scene.path.parent == folder
    assert ("without a place" in describe_scene(scene)) != is_placed


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"hello", "is no GeoTIFF, JPEG or PNG"),
        ("scene.tif", b"hello", "its content is no TIF image"),
        ("scene.png", b"\xff\xd8\xff\xe0", "its content is no PNG image"),
        ("scene.tif", b"<VRTDataset/>", "its content is no TIF image"),
        ("scene.tif", b"", "is empty"),
        ("scene.tif", b"II*\0" + bytes(50), "scene.tif"),
        ("scene.png", bytes(6_000_000), "larger than the 5 MB"),
        ("bomb.png", make_png_bomb(30_000), "900 megapixels, more than the 2"),
        ("short.png", make_png_bomb(1000), "is damaged"),
        ("bomb.zip", b"PK\3\4", "is no GeoTIFF"),
    ],
)
def test_what_is_no_image_is_refused_and_nothing_stays(
    tmp_path: Path, folder: Path, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        upload(name, content, folder)
    assert list(tmp_path.iterdir()) == []


def test_a_scene_that_is_cut_off_is_refused_before_it_is_worked_on(tmp_path: Path, folder: Path) -> None:
    content = write_crop(tmp_path / "whole.tif", compress="deflate").read_bytes()
    with pytest.raises(InputError, match=r"damaged|not a raster"):
        upload("half.tif", content[: len(content) // 2], folder)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../../evil.tif", "..\\..\\evil.tif", "/etc/evil.tif", "C:\\evil.tif"])
def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path, folder: Path, name: str) -> None:
    content = write_crop(tmp_path / "made.tif").read_bytes()
    scene = store_upload(name, io.BytesIO(content), folder, OPTIONS)
    assert scene.path == folder / "evil.tif"
    assert clean_name(name) == "evil.tif"


def test_the_example_is_an_image_on_the_map(folder: Path) -> None:
    scene = find_example(folder)
    assert not scene.path.exists()
    draw_example(scene)
    assert scene.is_placed
    with rasterio.open(scene.path) as dataset:
        assert dataset.shape == (scene.height, scene.width)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, AppOptions]:
    """An allowed folder and one that is not, each with an image."""
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    for place in (allowed, secret):
        place.mkdir()
        write_crop(place / "scene.tif")
    return allowed, secret, AppOptions(allow=(str(allowed),))


def write_vrt(path: Path, source: Path, relative: bool = False) -> None:
    path.write_text(
        '<VRTDataset rasterXSize="320" rasterYSize="320"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="{int(relative)}">{source}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )


def test_an_image_in_an_allowed_folder_is_opened(places: tuple[Path, Path, AppOptions]) -> None:
    allowed, _, options = places
    scene = open_allowed_path(f" {allowed}/scene.tif ", options)
    assert (scene.origin, scene.path) == ("path", allowed / "scene.tif")
    write_vrt(allowed / "mosaic.vrt", Path("scene.tif"), relative=True)
    assert open_allowed_path(str(allowed / "mosaic.vrt"), options).width == 320


def test_without_allowed_folders_no_path_is_opened(places: tuple[Path, Path, AppOptions]) -> None:
    with pytest.raises(InputError, match="opens no paths"):
        open_allowed_path(str(places[0] / "scene.tif"), AppOptions())


@pytest.mark.parametrize(
    "text",
    ["{secret}/scene.tif", "{allowed}/../secret/scene.tif", "{secret}/missing.tif", "/etc/passwd", "/vsicurl/http://x/a.tif",
     "http://localhost/a.tif", "", "\0", "~nobody-at-all/x.tif", "{allowed}"],
)  # fmt: skip
def test_nothing_else_is_opened_and_the_words_do_not_tell_what_is_there(
    places: tuple[Path, Path, AppOptions], text: str
) -> None:
    allowed, secret, options = places
    with pytest.raises(InputError, match="no image in the folders that this server allows"):
        open_allowed_path(text.format(allowed=allowed, secret=secret), options)


def test_a_link_does_not_lead_out(places: tuple[Path, Path, AppOptions]) -> None:
    allowed, secret, options = places
    (allowed / "link.tif").symlink_to(secret / "scene.tif")
    (allowed / "folder").symlink_to(secret)
    for path in ("link.tif", "folder/scene.tif"):
        with pytest.raises(InputError, match="no image in the folders"):
            open_allowed_path(str(allowed / path), options)
    (allowed / "scene.tif.ovr").symlink_to(secret / "scene.tif")
    with pytest.raises(InputError, match="outside the folders"):
        open_allowed_path(str(allowed / "scene.tif"), options)


@pytest.mark.parametrize("relative", [False, True])
def test_a_virtual_raster_does_not_lead_out(places: tuple[Path, Path, AppOptions], relative: bool) -> None:
    allowed, secret, options = places
    source = Path("../secret/scene.tif") if relative else secret / "scene.tif"
    write_vrt(allowed / "direct.vrt", source, relative)
    write_vrt(allowed / "nested.vrt", allowed / "direct.vrt")
    (allowed / "dataset.toml").touch()  # which lets virtual rasters of data sets name files anywhere
    for name in ("direct.vrt", "nested.vrt"):
        with pytest.raises(InputError, match="outside the folders"):
            open_allowed_path(str(allowed / name), options)


def test_a_virtual_raster_of_no_file_is_refused(places: tuple[Path, Path, AppOptions]) -> None:
    allowed, _, options = places
    write_vrt(allowed / "web.vrt", Path("/vsicurl/http:/localhost/a.tif"))
    with pytest.raises(InputError, match="no plain file"):
        open_allowed_path(str(allowed / "web.vrt"), options)


@pytest.mark.parametrize("name", ["list.txt", "items.json", "map.gpkg"])
def test_lists_of_files_are_no_images(places: tuple[Path, Path, AppOptions], name: str) -> None:
    allowed, secret, options = places
    (allowed / name).write_text(f"{secret}/scene.tif")
    with pytest.raises(InputError, match="is no image that the app opens"):
        open_allowed_path(str(allowed / name), options)
