"""COCO files become data sets, and broken ones are refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import photo

from geoseg.errors import InputError
from geoseg.narrator import Narrator
from geoseg.prepare.coco import stream
from geoseg.prepare.coco.coco import CocoSet, find_parts, prepare_coco
from geoseg.prepare.dataset import Dataset, read_dataset
from geoseg.prepare.making import Origin, Workshop
from geoseg.prepare.picture import read_window

WANTED = CocoSet(Origin("photos", "CC0", "me", "here"), 0.3)
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


class Heard(Narrator):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)


def content(**changes: Any) -> dict[str, Any]:
    return {
        "info": {"year": 2020},
        "categories": [{"id": 100, "name": "building"}, {"id": 7, "name": "shed"}],
        "images": [{"id": n, "file_name": f"{n}.png", "height": 30, "width": 40} for n in (1, 2, 3)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 100, "segmentation": SQUARE},
            {"id": 2, "image_id": 1, "category_id": 7, "segmentation": [[15, 15, 30, 15, 30, 25, 15, 25]]},
            {"id": 3, "image_id": 2, "category_id": 100, "segmentation": {"size": [30, 40], "counts": [0, 30, 1170]}, "iscrowd": 1},
        ],
        **changes,
    }  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        from PIL import Image

        folder = tmp_path / "source"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for number in (1, 2, 3):
            Image.fromarray(np.moveaxis(photo(30, 40), 0, -1)).save(folder / "images" / f"{number}.png")
        (folder / "annotation.json").write_text(json.dumps(content(**changes)))
        return folder

    return write


def prepared(source: Path, wanted: CocoSet = WANTED, narrator: Narrator | None = None) -> Dataset:
    shop = Workshop(source.parent / "out", 0, narrator=narrator or Narrator())
    return prepare_coco(find_parts(source, None), wanted, shop)


def test_shapes_become_classes(source: Callable[..., Path]) -> None:
    dataset = prepared(source())
    assert [each.name for each in dataset.classes] == ["background", "shed", "building"]
    first, second, third = (read_window(dataset.label_path(item))[0] for item in dataset.items)
    assert first[12, 12] == 2
    assert first[17, 17] == 1
    assert first[0, 0] == 0
    assert (second[:, 0] == 2).all()
    assert not second[:, 1:].any()
    assert not third.any()
    assert read_dataset(dataset.folder) == dataset
    assert not (dataset.folder / ".spool").exists()


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_the_size_of_the_pieces_read_does_not_matter(
    source: Callable[..., Path], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CHUNK", chunk)
    path = source() / "annotation.json"
    found = [(key, value) for key, value, _ in stream.elements(path)]
    assert [value for key, value in found if key == "annotations"] == content()["annotations"]
    assert ("info", {"year": 2020}) in found


def test_subsets(source: Callable[..., Path]) -> None:
    assert len(prepared(source(), CocoSet(WANTED.origin, 0.3, limit=2)).items) == 2


def test_every_other_image(source: Callable[..., Path]) -> None:
    names = [Path(item.image).name for item in prepared(source(), CocoSet(WANTED.origin, 0.3, every=2)).items]
    assert names == ["1.png", "3.png"]


def test_missing_images_are_counted(source: Callable[..., Path]) -> None:
    folder, heard = source(), Heard()
    (folder / "images" / "2.png").unlink()
    assert len(prepared(folder, narrator=heard).items) == 2
    assert "1 images are not in" in heard.warnings[0]


def test_shapes_that_cannot_be_drawn_are_told(source: Callable[..., Path]) -> None:
    heard = Heard()
    broken = [{"id": 9, "image_id": 1, "category_id": 7, "segmentation": [[1, 2]]}]
    prepared(source(annotations=broken), narrator=heard)
    assert "1 annotations cannot be drawn" in heard.warnings[0]
    assert "annotation 9" in heard.warnings[0]


def test_train_and_val_folders_are_splits(source: Callable[..., Path]) -> None:
    folder, both = source(), source().parent / "both"
    for split in ("train", "val"):
        shutil.copytree(folder, both / split)
    dataset = prepared(both)
    assert [item.split for item in dataset.items] == ["train"] * 3 + ["validation"] * 3
    assert len({dataset.label_path(item) for item in dataset.items}) == 6
    assert all(dataset.label_path(item).is_file() for item in dataset.items)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "lists no images"),
        ({"images": [{"id": 1}]}, "lacks id, file_name"),
        ({"images": [{"id": 1, "file_name": "../a.png", "height": 3, "width": 3}]}, "leads out of the folder"),
        ({"images": [{"id": 1, "file_name": "/etc/passwd", "height": 3, "width": 3}]}, "leads out of the folder"),
        ({"images": [{"id": 1, "file_name": "C:\\a.png", "height": 3, "width": 3}]}, "leads out of the folder"),
        ({"images": content()["images"][:1] * 2}, "image id 1 is there twice"),
        ({"annotations": content()["annotations"][:1] * 2}, "annotation id 1 is there twice"),
        ({"categories": [{"id": 7, "name": "shed"}]}, "2 annotations are of category 100"),
        ({"categories": [{"id": 7, "name": "a"}, {"id": 7, "name": "b"}]}, "category id 7 is there twice"),
        ({"annotations": [{"id": 1}]}, "lacks image_id"),
        ({"images": [{**content()["images"][0], "id": n} for n in (1, 2)]}, "would be named 1 is there twice"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(
    source: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prepared(source(**changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(content())[:-200], "cut off"),
        ("[1, 2]", "must be a JSON object"),
        ('{"licenses": [{"id": 1}} ]', "not JSON"),
        ('{"images" [', "not JSON"),
        ("", "cut off"),
    ],
)
def test_broken_json_is_refused(source: Callable[..., Path], text: str, message: str) -> None:
    folder = source()
    (folder / "annotation.json").write_text(text)
    with pytest.raises(InputError, match=message):
        prepared(folder)
    assert not (folder.parent / "out" / "dataset.toml").exists()


def test_a_folder_without_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a COCO file"):
        find_parts(tmp_path, None)
