"""Many scenes named at once, and a name for each that no other has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import RasterWriter, photo

from geoseg.errors import InputError
from geoseg.raster.lists import expand_lists, list_single_scenes, name_scenes
from geoseg.raster.scene import list_scene_files, open_scene


def write_stac(path: Path, *items: Any, kind: str = "FeatureCollection") -> Path:
    path.write_text(json.dumps({"type": kind, "features": list(items)}))
    return path


def make_item(**assets: Any) -> dict[str, Any]:
    return {"type": "Feature", "id": "one", "assets": assets}


TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # the latter by editors on Windows
def test_a_text_file_names_a_scene_a_line(tmp_path: Path, encoding: str) -> None:
    listed = tmp_path / "scenes.txt"
    listed.write_text(
        "a.tif\n# north\n\n  sub/b.tif  \n/data/c.tif\nhttps://host/d.tif\n/vsizip/e.zip/e.tif\n",
        encoding=encoding,
    )
    assert list(expand_lists([str(listed), "z.tif"])) == [
        str(tmp_path / "a.tif"),
        str(tmp_path / "sub" / "b.tif"),
        "/data/c.tif",
        "https://host/d.tif",
        "/vsizip/e.zip/e.tif",
        "z.tif",
    ]


def test_stac_items_name_their_images(tmp_path: Path) -> None:
    listed = write_stac(
        tmp_path / "items.json",
        make_item(
            visual={"href": "./a.tif", "type": TIFF}, thumbnail={"href": "t.png", "roles": ["thumbnail"]}
        ),
        make_item(
            B04={"href": "https://host/b.tif", "type": TIFF}, meta={"href": "b.xml", "type": "text/xml"}
        ),
        make_item(scene={"href": "c.jp2"}),
        make_item(image={"href": "d.tif", "type": TIFF}, mask={"href": "m.tif", "type": TIFF}),
    )
    expected = [
        str(tmp_path / "a.tif"),
        "https://host/b.tif",
        str(tmp_path / "c.jp2"),
        str(tmp_path / "d.tif"),
    ]
    assert list(expand_lists([str(listed)])) == expected


def test_folders_and_wildcards_are_the_images_in_them(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c.TIF", "note.md", "._a.jpg"):
        (tmp_path / name).touch()
    inside = [str(tmp_path / name) for name in ("a.jpg", "b.png", "c.TIF")]
    assert list_single_scenes([str(tmp_path)]) == inside
    assert list_single_scenes([str(tmp_path / "*.jpg"), str(tmp_path / "a.jpg")]) == inside[:1]


@pytest.mark.parametrize("find", [list_single_scenes, list_scene_files])
def test_a_pattern_that_no_file_looks_like_is_told(
    find: Callable[[list[str]], object], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"\*\.tif: no file is called like this"):
        find([str(tmp_path / "*.tif")])


@pytest.mark.parametrize(
    "address",
    ["https://host/a.tif?signature=x*[1]", "/vsicurl/https://host/a.tif?x=1", "s3://bucket/[a].tif"],
)
def test_signs_of_a_web_address_are_no_wildcards(address: str) -> None:
    assert list(expand_lists([address])) == [address]


def test_a_list_becomes_one_mosaic_where_one_is_asked_for(write_raster: RasterWriter, tmp_path: Path) -> None:
    write_raster("a.tif", photo(8, 8))
    (tmp_path / "list.txt").write_text("a.tif\na.tif\n")
    assert open_scene([str(tmp_path / "list.txt")]).files == (str(tmp_path / "a.tif"),) * 2


@pytest.mark.parametrize(
    ("scenes", "names"),
    [
        (["a/s.tif", "a/t.tif"], ["s", "t"]),
        (["a/s.tif", "b/s.tif", "b/t.tif"], ["a_s", "b_s", "t"]),
        (["x/a/s.tif", "y/a/s.tif"], ["x_a_s", "y_a_s"]),
        (["a/s.jpg", "a/s.png"], ["a_s-1", "a_s-2"]),
        (["S.tif", "s.tif"], ["S-1", "s-2"]),
        (["https://host/a/s.tif?sig=1", "/vsizip/b.zip/s.tif"], ["a_s", "b.zip_s"]),
        (["a/s:1.tif"], ["s-1"]),
        ([], []),
    ],
)
def test_scenes_have_the_names_of_their_files(scenes: list[str], names: list[str]) -> None:
    assert name_scenes(scenes) == names


PARTS = st.sampled_from(["a", "A", "b", "s-1", "a_s", "s"])


@given(
    st.lists(
        st.tuples(st.lists(PARTS, max_size=3), PARTS, st.sampled_from([".tif", ".png"])),
        max_size=12,
        unique_by=str,
    )
)
def test_no_two_scenes_share_a_name(parts: list[tuple[list[str], str, str]]) -> None:
    scenes = ["/".join([*folders, stem + ending]) for folders, stem, ending in parts]
    names = name_scenes(scenes)
    assert len({name.casefold() for name in names}) == len(scenes)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.txt", "# nothing\n", "names no scene"),
        ("binary.txt", b"\xff\xfe\x00", "cannot be read as a list of scenes"),
        ("broken.json", "{", "not JSON"),
        ("deep.json", "[" * 100_000, "not JSON"),
        ("list.json", "[1]", "no STAC item collection; its type is None"),
        ("other.json", '{"type": "Topology"}', "its type is Topology"),
        ("features.json", '{"type": "FeatureCollection", "features": 3}', "its features are no list"),
        (
            "points.json",
            '{"type": "FeatureCollection", "features": [{"type": "Feature"}]}',
            "it has no assets",
        ),
        (
            "none.json",
            json.dumps({**make_item(a={"href": "a.xml"})}),
            "item one has no image among its assets",
        ),
        (
            "many.json",
            json.dumps(make_item(B02={"href": "2.tif"}, B03={"href": "3.tif"})),
            "several images: B02, B03; geoseg takes the one called image or visual",
        ),
    ],
)
def test_a_list_that_cannot_be_read_is_told(tmp_path: Path, name: str, text: str | bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=words) as caught:
        list(expand_lists([str(path)]))
    assert str(path) in str(caught.value)


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder holds no image"):
        list_single_scenes([str(tmp_path)])
