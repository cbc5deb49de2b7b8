"""Every kind of shape that CVAT writes becomes the right pixels; unsafe and broken files are refused."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import photo

from geoseg.errors import InputError
from geoseg.prepare.cvat.cvat import CvatSet, prepare_cvat
from geoseg.prepare.dataset import Dataset
from geoseg.prepare.making import Origin, Workshop
from geoseg.prepare.picture import read_window

WANTED = CvatSet(Origin("task", "CC0", "me", "here"), 0.3)
HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels>
<label><name>building</name><color>#ff0000</color><attributes><attribute><name>roof</name></attribute></attributes></label>
<label><name>shed</name></label></labels></job></meta>
<image id="0" name="a.png" width="40" height="30">
"""
TAIL = "</image></annotations>"


@pytest.fixture
def task(tmp_path: Path) -> Callable[[str], Path]:
    def write(shapes: str, text: str | None = None) -> Path:
        from PIL import Image

        folder = tmp_path / "task"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis(photo(30, 40), 0, -1)).save(folder / "images" / "a.png")
        (folder / "annotations.xml").write_text(HEAD + shapes + TAIL if text is None else text)
        return folder

    return write


def prepared(source: Path) -> Dataset:
    return prepare_cvat(source, WANTED, Workshop(source.parent / "out", 0))


def label(source: Path) -> np.ndarray:
    dataset = prepared(source)
    return read_window(dataset.label_path(dataset.items[0]))[0]


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
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder))
    assert label(tmp_path / "task.zip").sum() == 16


def test_a_zip_archive_that_leads_out_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", "x")
    with pytest.raises(InputError, match="leads out of the folder"):
        prepared(tmp_path / "evil.zip")
    assert not (tmp_path / "evil.txt").exists()


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
