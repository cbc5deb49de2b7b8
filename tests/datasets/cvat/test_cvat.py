"""Every kind of shape that CVAT writes becomes the right pixels; unsafe and broken files are refused."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made import photo

from geoseg.datasets.builder import DatasetBuilder, Origin
from geoseg.datasets.cvat.dataset import CvatOptions, prepare_cvat
from geoseg.datasets.images import read_window
from geoseg.datasets.schema import Dataset
from geoseg.errors import InputError
from geoseg.io import archives

WANTED = CvatOptions(Origin("task", "CC0", "me", "here"), 0.3)
HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels>
<label><name>building</name><color>#ff0000</color><attributes><attribute><name>roof</name></attribute></attributes></label>
<label><name>shed</name></label></labels></job></meta>
<image id="0" name="a.png" width="40" height="30">
"""
TAIL = "</image></annotations>"


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Path]:
    def write(shapes: str, text: str | None = None) -> Path:
        from PIL import Image

        folder = tmp_path / "task"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis(photo(30, 40), 0, -1)).save(folder / "images" / "a.png")
        (folder / "annotations.xml").write_text(HEAD + shapes + TAIL if text is None else text)
        return folder

    return write


def prepared(source: Path) -> Dataset:
    return prepare_cvat(source, WANTED, DatasetBuilder(source.parent / "out", 0))


def label(source: Path) -> np.ndarray:
    dataset = prepared(source)
    return read_window(dataset.label_path(dataset.items[0]))[0]


def test_images_whose_labels_would_share_a_name_are_refused(task: Callable[..., Path]) -> None:
    """Before, the second of them had the label of the first."""
    second = HEAD.split("<image")[1].replace("a.png", "a.jpg")
    folder = task("", HEAD + "</image>\n<image" + second + TAIL)
    shutil.copy(folder / "images/a.png", folder / "images/a.jpg")
    with pytest.raises(InputError, match="an image whose label would be named a is there twice"):
        prepared(folder)


def block(rows: slice, cols: slice, value: int = 1) -> np.ndarray:
    expected = np.zeros((30, 40), np.uint8)
    expected[rows, cols] = value
    return expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ('<polygon label="building" points="10,5;20,5;20,15;10,15" z_order="0"/>', block(slice(5, 15), slice(10, 20))),
        ('<box label="shed" xtl="10" ytl="5" xbr="20" ybr="15"><attribute name="roof">flat</attribute></box>',
         block(slice(5, 15), slice(10, 20), 2)),
        ('<box label="building" xtl="10" ytl="5" xbr="20" ybr="9" rotation="90"/>', block(slice(2, 12), slice(13, 17))),
        ('<mask label="building" rle="0, 3, 1, 2" left="10" top="5" width="3" height="2"/>',
         block(slice(5, 6), slice(10, 13)) | block(slice(6, 7), slice(11, 13))),
        ('<mask label="building" rle="0, 6" left="-1" top="-1" width="3" height="2"/>', block(slice(0, 1), slice(0, 2))),
        ('<polygon label="building" points="30,20;60,20;60,50;30,50"/>', block(slice(20, 30), slice(30, 40))),
        ('<polygon label="ignore" points="0,0;4,0;4,4;0,4"/>', block(slice(0, 4), slice(0, 4), 255)),
        ('<points label="building" points="1,2"/><polyline label="shed" points="1,2;3,4"/>', block(slice(0), slice(0))),
        ('<polygon label="shed" points="0,0;9,0;9,9;0,9" z_order="2"/><polygon label="building" points="0,0;9,0;9,9;0,9" z_order="1"/>',
         block(slice(0, 9), slice(0, 9), 2)),
    ],
)  # fmt: skip
def test_shapes_become_pixels(task: Callable[[str], Path], shape: str, expected: np.ndarray) -> None:
    assert np.array_equal(label(task(shape)), expected)


def test_an_ellipse_has_its_area(task: Callable[[str], Path]) -> None:
    drawn = label(task('<ellipse label="building" cx="20" cy="15" rx="12" ry="8"/>'))
    assert drawn.sum() == pytest.approx(np.pi * 12 * 8, rel=0.02)
    assert drawn[15, 9] == 1
    assert drawn[4, 20] == 0


def test_a_self_crossing_polygon_is_mended(task: Callable[[str], Path]) -> None:
    drawn = label(task('<polygon label="building" points="0,0;10,10;10,0;0,10"/>'))
    assert 40 <= drawn.sum() <= 60


def test_labels_are_classes_in_their_order(task: Callable[[str], Path]) -> None:
    assert [each.name for each in prepared(task("")).classes] == ["background", "building", "shed"]


def test_a_zip_archive_serves_as_well(task: Callable[[str], Path], tmp_path: Path) -> None:
    folder = task('<box label="building" xtl="0" ytl="0" xbr="4" ybr="4"/>')
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as files:
        for path in folder.rglob("*.*"):
            files.write(path, path.relative_to(folder))
    assert label(tmp_path / "task.zip").sum() == 16


@pytest.mark.parametrize(
    "name", ["../evil.txt", "images/../../evil.txt", "/tmp/evil.txt", "C:\\evil.txt", "..\\evil.txt"]
)
def test_a_zip_archive_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as files:
        files.writestr(name, "x")
    with pytest.raises(InputError, match="leads out of the folder"):
        prepared(tmp_path / "evil.zip")
    assert not (tmp_path / "evil.txt").exists()


def zipped(path: Path, **options: Any) -> zipfile.ZipFile:
    return zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options)


def test_an_archive_that_swells_is_refused(tmp_path: Path) -> None:
    """A megabyte of zeros packs into a kilobyte; images never do."""
    with zipped(tmp_path / "bomb.zip") as files:
        files.writestr("images/a.png", b"\0" * 1_000_000)
    with pytest.raises(InputError, match=r"would swell from 0\.0 to 1 MB, as no images do"):
        archives.unpack_archive(tmp_path / "bomb.zip", tmp_path / "unpacked", harmless_bytes=100_000)
    assert not list((tmp_path / "out").glob("source/**/*.png"))


def test_an_archive_larger_than_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with zipped(tmp_path / "large.zip") as files:
        files.writestr("images/a.png", b"pixels, pixels")
    with pytest.raises(InputError, match=r"needs 0\.0 GB unpacked, but .* has 0\.0 GB left"):
        prepared(tmp_path / "large.zip")


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "task.zip"
    with zipped(path) as files:
        files.writestr("annotations.xml", "<annotations/>" * 100)
    whole = bytearray(path.read_bytes())
    whole[60] ^= 255
    path.write_bytes(whole if damage == "flipped" else whole[:70])
    with pytest.raises(InputError, match="get it again"):
        prepared(path)


def test_a_link_in_an_archive_leads_nowhere(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("images/a.png")
    link.external_attr = 0o120777 << 16
    with zipped(tmp_path / "links.zip") as files:
        files.writestr(link, "/etc/passwd")
        files.writestr("annotations.xml", HEAD + TAIL)
    with pytest.raises(InputError, match="not a raster"):
        prepared(tmp_path / "links.zip")
    assert not (tmp_path / "out" / "source" / "images" / "a.png").is_symlink()


ROOFS = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><project><labels>
<label><name>building</name><attributes>
<attribute><name>storeys</name><input_type>number</input_type><values>1\n9\n1</values></attribute>
<attribute><name>roof</name><input_type>select</input_type><values>flat\ngabled\nignore</values></attribute>
</attributes></label><label><name>shed</name></label></labels></project></meta>
<image id="0" name="a.png" width="40" height="30">
"""


def roofed(left: int, roof: str | None, label: str = "building") -> str:
    chosen = f'<attribute name="roof">{roof}</attribute>' if roof is not None else ""
    return f'<box label="{label}" xtl="{left}" ytl="0" xbr="{left + 5}" ybr="5">{chosen}</box>'


def test_an_attribute_may_hold_the_class(task: Callable[..., Path]) -> None:
    shapes = [roofed(0, "gabled"), roofed(5, "flat"), roofed(10, "tiled"), roofed(15, "ignore")]
    shapes += [roofed(20, None, "shed"), roofed(25, "")]
    source = task("", ROOFS + "".join(shapes) + TAIL)
    wanted = replace(WANTED, attribute="roof")
    dataset = prepare_cvat(source, wanted, DatasetBuilder(source.parent / "roofs", 0))
    names = [each.name for each in dataset.classes]
    assert names == ["background", "flat", "gabled", "shed", "tiled", "building"]
    found = read_window(dataset.label_path(dataset.items[0]))[0]
    assert found[2, [2, 7, 12, 17, 22, 27]].tolist() == [2, 1, 4, 255, 3, 5]


def test_several_tasks_are_drawn_side_by_side(task: Callable[..., Path], tmp_path: Path) -> None:
    """By worker processes as by none, and images of one name are kept apart by their task."""
    folder, project = task(""), tmp_path / "project"
    for number in (1, 2):
        shutil.copytree(folder, project / f"task_{number}")
        text = HEAD.replace("<job>", f"<task><id>{number}</id>").replace("</job>", "</task>")
        shapes = f'<box label="building" xtl="0" ytl="0" xbr="{number}" ybr="4"/>'
        (project / f"task_{number}" / "annotations.xml").write_text(text + shapes + TAIL)
    sets = [prepare_cvat(project, WANTED, DatasetBuilder(tmp_path / f"out{n}", n)) for n in (0, 2)]
    for dataset in sets:
        assert [item.place for item in dataset.items] == ["1_a", "2_a"]
        sums = [int((read_window(dataset.label_path(item))[0] == 1).sum()) for item in dataset.items]
        assert sums == [4, 8]


def test_cvats_coco_export_comes_in_as_well(task: Callable[..., Path], tmp_path: Path) -> None:
    """Boxes have no outline there, and masks are marked as crowds."""
    folder = task("")
    boxed = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [], "bbox": [0, 0, 4, 4], "iscrowd": 0}
    rle = {"counts": [30 * 39, 30], "size": [30, 40]}
    mask = {"id": 2, "image_id": 1, "category_id": 2, "segmentation": rle, "iscrowd": 1}
    content = {
        "categories": [{"id": 1, "name": "building"}, {"id": 2, "name": "shed"}],
        "images": [{"id": 1, "file_name": "a.png", "height": 30, "width": 40}],
        "annotations": [boxed, mask],
    }
    with zipped(tmp_path / "coco.zip") as files:
        files.write(folder / "images" / "a.png", "images/default/a.png")
        files.writestr("annotations/instances_default.json", json.dumps(content))
    assert np.array_equal(
        label(tmp_path / "coco.zip"), block(slice(4), slice(4)) + block(slice(30), slice(39, 40), 2)
    )


def test_a_finished_set_is_left_alone(task: Callable[..., Path]) -> None:
    source = task("")
    prepared(source)
    DatasetBuilder(source.parent / "out").end()
    with pytest.raises(InputError, match="holds a data set already"):
        prepared(source)


def test_a_polygon_outside_its_image_draws_nothing(task: Callable[..., Path]) -> None:
    assert not label(task('<polygon label="shed" points="100,100;120,100;120,120"/>')).any()


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>'
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "refused as unsafe"),
        ('<!DOCTYPE annotations SYSTEM "file:///etc/passwd"><annotations/>', "refused as unsafe"),
        (HEAD, "not XML that can be read to its end"),
        ("<html/>", "begins with <html>"),
        ("<annotations><track/></annotations>", "XML for videos"),
        ("<annotations/>", "none of its images is there"),
        (HEAD.replace("a.png", "../a.png") + TAIL, "leads out of the folder"),
        (HEAD.replace('width="40"', 'width="50"') + TAIL, "speaks of 50 x 30"),
        (HEAD.replace('width="40"', "") + TAIL, "lacks name, width or height"),
        (HEAD + TAIL.replace("</annotations>", '<image name="a.png" width="40" height="30"/></annotations>'), "there twice"),
        (HEAD + '<box label="tent" xtl="0" ytl="0" xbr="4" ybr="4"/>' + TAIL, "label tent is not among"),
        (HEAD + '<box label="shed" xtl="0" ytl="0" xbr="4"/>' + TAIL, "lacks a number"),
        (HEAD + '<polygon label="shed" points="1,2;3"/>' + TAIL, "broken one"),
        (HEAD + '<polygon label="shed" points="1,2;3,4"/>' + TAIL, "2 corners"),
        (HEAD + '<mask label="shed" rle="1, 2" left="0" top="0" width="2" height="2"/>' + TAIL, "3 pixels in a box of 4"),
    ],
)  # fmt: skip
def test_unsafe_and_broken_files_are_refused(task: Callable[..., Path], text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(task("", text))


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"expected CVAT's annotations\.xml"):
        prepared(tmp_path / "empty")
