"""COCO files become data sets, and broken ones are refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from heard import Heard
from made import HERE, UTM33, RasterWriter, photo

from geoseg.datasets.builder import DatasetBuilder, Origin, SplitRule
from geoseg.datasets.coco import reader
from geoseg.datasets.coco.dataset import CocoOptions, find_coco_files, prepare_coco
from geoseg.datasets.images import read_window
from geoseg.datasets.polygons import LabelForm
from geoseg.datasets.schema import Dataset, read_dataset
from geoseg.errors import InputError

WANTED = CocoOptions(Origin("photos", "CC0", "me", "here"), 0.3)
LAYERS = replace(WANTED, form="vectors")
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


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


def prepared(source: Path, wanted: CocoOptions = WANTED, out: str = "out") -> Dataset:
    shop = DatasetBuilder(source.parent / out, 0, overwrite=True)
    return prepare_coco(find_coco_files(source, None), wanted, shop)


def test_shapes_become_classes(source: Callable[..., Path]) -> None:
    dataset = prepared(source())
    assert [each.name for each in dataset.classes] == ["background", "shed", "building"]
    first, second, third = (read_window(dataset.label_path(item))[0] for item in dataset.items)
    assert first[12, 12] == 2
    assert first[17, 17] == 1
    assert first[0, 0] == 0
    assert (second[:, 0] == 255).all()
    assert not second[:, 1:].any()
    assert not third.any()
    assert read_dataset(dataset.folder) == dataset
    assert not (dataset.folder / ".spool").exists()


def annotation(number: int, category: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 1, "category_id": category, "segmentation": segmentation, **more}


def block(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def first_label(dataset: Dataset) -> np.ndarray:
    return read_window(dataset.label_path(dataset.items[0]))[0]


CROWD = {"size": [30, 40], "counts": [0, 600, 600]}


def test_a_crowd_is_unknown_but_for_what_was_drawn_in_it(source: Callable[..., Path]) -> None:
    shapes = [annotation(1, 100, block(2, 2, 6, 6)), annotation(2, 100, CROWD, iscrowd=1)]
    expected = np.zeros((30, 40), np.uint8)
    expected[:, :20] = 255
    expected[2:6, 2:6] = 2
    assert np.array_equal(first_label(prepared(source(annotations=shapes))), expected)
    expected[:, :20] = 2
    drawn = prepared(source(annotations=shapes), replace(WANTED, crowds="draw"))
    assert np.array_equal(first_label(drawn), expected)


@pytest.mark.parametrize(("iscrowd", "precision"), [(1, 1.0), (0, 0.5)])
def test_a_find_in_a_crowd_counts_as_in_cocos_own_scores(
    source: Callable[..., Path], iscrowd: int, precision: float
) -> None:
    """Nothing found there is a false alarm, for COCO's evaluation and for ours."""
    coco, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    shapes = [
        annotation(1, 100, block(30, 2, 36, 8), bbox=[30, 2, 6, 6], area=36, iscrowd=0),
        annotation(2, 100, CROWD, bbox=[0, 0, 20, 30], area=600, iscrowd=iscrowd),
    ]
    found = [(30, 2, 6, 6), (5, 5, 6, 6)]
    truth = coco.COCO()
    truth.dataset = content(annotations=shapes)
    truth.createIndex()
    boxes = [{"image_id": 1, "category_id": 100, "bbox": list(box), "score": 0.9} for box in found]
    judge = evaluation.COCOeval(truth, truth.loadRes(boxes), "bbox")
    judge.params.imgIds, judge.params.catIds = [1], [100]
    judge.evaluate()
    seen = judge.evalImgs[0]
    counted = ~seen["dtIgnore"][0]
    assert (seen["dtMatches"][0][counted] > 0).mean() == precision
    label = first_label(prepared(source(annotations=shapes)))
    wrong = [set(np.unique(label[y : y + h, x : x + w])) == {0} for x, y, w, h in found]
    assert wrong == [False, False]
    assert (label[5:11, 5:11] == (255 if iscrowd else 2)).all()


def test_later_categories_lie_above_earlier_ones(source: Callable[..., Path]) -> None:
    shapes = [annotation(1, 7, block(0, 0, 20, 20)), annotation(2, 100, block(10, 10, 30, 30))]
    for form in ("masks", "vectors"):
        dataset = prepared(source(annotations=shapes), replace(WANTED, form=form), out=form)
        label = classes(dataset)
        assert (label[5, 5], label[15, 15], label[25, 25], label[25, 5]) == (1, 2, 2, 0)


def test_a_box_alone_is_drawn(source: Callable[..., Path]) -> None:
    label = first_label(prepared(source(annotations=[annotation(1, 7, [], bbox=[10, 5, 10, 10])])))
    assert label[5:15, 10:20].all()
    assert label.sum() == 100


def test_names_of_categories_mean_what_they_say(source: Callable[..., Path]) -> None:
    """Two numbers of one name are one class; ignore and background are no classes of their own."""
    names = {0: "roof", 3: "roof", 4: "ignore", 5: "background"}
    shapes = [annotation(n, n, block(10 * i, 0, 10 * i + 10, 10)) for i, n in enumerate(names)]
    listed = [{"id": number, "name": name} for number, name in names.items()]
    dataset = prepared(source(categories=listed, annotations=shapes))
    assert [each.name for each in dataset.classes] == ["background", "roof"]
    assert first_label(dataset)[5, [5, 15, 25, 35]].tolist() == [1, 1, 255, 0]


def classes(dataset: Dataset, number: int = 0) -> np.ndarray:
    """An item's label as training reads it."""
    from geoseg.datasets.reading.sites import open_site
    from geoseg.raster.grid import Window

    site = open_site(dataset, dataset.items[number], dataset.gsd_m)
    return site.labels.read(Window(0, 0, *site.image.shape))


def test_layers_become_the_pixels_of_the_masks(source: Callable[..., Path]) -> None:
    shapes = [
        annotation(1, 100, block(2, 2, 9, 7)),
        annotation(2, 7, [*block(20, 5, 25, 9), *block(30, 20, 60, 28)]),
        annotation(3, 100, {"size": [30, 40], "counts": [303, 4, 26, 4, 863]}),
        annotation(4, 100, CROWD, iscrowd=1),
    ]
    layers = prepared(source(annotations=shapes), LAYERS)
    masks = prepared(source(annotations=shapes), out="masks")
    assert layers.items[0].labelled is not None
    assert layers.items[1].labelled is None
    for number in range(3):
        assert np.array_equal(classes(layers, number), classes(masks, number))
    assert read_dataset(layers.folder) == layers


def test_layers_of_images_on_the_map_lie_on_the_map(
    source: Callable[..., Path], write_raster: RasterWriter
) -> None:
    write_raster("source/images/1.tif", photo(30, 40))
    images = [{"id": 1, "file_name": "1.tif", "height": 30, "width": 40}]
    dataset = prepared(source(images=images, annotations=[annotation(1, 7, block(10, 5, 20, 15))]), LAYERS)
    layer = geopandas.read_file(dataset.label_path(dataset.items[0]))
    assert layer.crs == UTM33
    assert layer["class"].tolist() == ["shed"]
    assert layer.area.sum() == pytest.approx(100 * 0.3**2)
    corner = layer.total_bounds[[0, 3]]
    assert corner == pytest.approx(HERE @ (10, 5))


def test_layers_serve_the_audit_and_the_scores(source: Callable[..., Path]) -> None:
    from geoseg.datasets.audit.run import audit_dataset

    shapes = [annotation(1, 100, block(2, 2, 9, 7)), annotation(2, 100, block(10, 10, 20, 20), iscrowd=1)]
    dataset = prepared(source(annotations=shapes), LAYERS)
    assert not [line for line in audit_dataset(dataset, 0).lines if "cannot" in line or "no place" in line]


def test_an_image_of_another_size_than_the_file_says_is_refused(source: Callable[..., Path]) -> None:
    images = [{"id": 1, "file_name": "1.png", "height": 30, "width": 50}]
    with pytest.raises(InputError, match=r"is 40 x 30 pixels, but its COCO file speaks of 50 x 30"):
        prepared(source(images=images, annotations=[]), LAYERS)


def test_layers_give_way_to_masks(source: Callable[..., Path]) -> None:
    folder = source()
    prepared(folder, LAYERS)
    shop = DatasetBuilder(folder.parent / "out", 0, overwrite=True)
    assert not list(prepare_coco(find_coco_files(folder, None), WANTED, shop).folder.glob("**/*.fgb"))


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_the_size_of_the_pieces_read_does_not_matter(source: Callable[..., Path], chunk: int) -> None:
    path = source() / "annotation.json"
    found = [(key, value) for key, value, _ in reader.read_elements(path, chunk=chunk)]
    assert [value for key, value in found if key == "annotations"] == content()["annotations"]
    assert ("info", {"year": 2020}) in found


def test_subsets(source: Callable[..., Path]) -> None:
    assert len(prepared(source(), CocoOptions(WANTED.origin, 0.3, limit=2)).items) == 2


def test_every_other_image(source: Callable[..., Path]) -> None:
    names = [
        Path(item.image).name for item in prepared(source(), CocoOptions(WANTED.origin, 0.3, every=2)).items
    ]
    assert names == ["1.png", "3.png"]


def test_missing_images_are_counted(source: Callable[..., Path], heard: Heard) -> None:
    folder = source()
    (folder / "images" / "2.png").unlink()
    assert len(prepared(folder).items) == 2
    assert "1 image not in" in heard.warnings[0]


def test_a_set_without_any_image_is_refused(source: Callable[..., Path]) -> None:
    folder = source()
    shutil.rmtree(folder / "images")
    with pytest.raises(InputError, match=r"none of its images is in .*; say with `images`"):
        prepared(folder)
    assert not list(folder.parent.glob("**/dataset.toml"))


def test_shapes_that_cannot_be_drawn_are_told(source: Callable[..., Path], heard: Heard) -> None:
    broken = [{"id": 9, "image_id": 1, "category_id": 7, "segmentation": [[1, 2]]}]
    prepared(source(annotations=broken))
    assert "1 annotations cannot be drawn" in heard.warnings[0]
    assert "annotation 9" in heard.warnings[0]


@pytest.mark.parametrize("form", ["masks", "vectors"])
def test_shapes_outside_their_image_and_crossing_themselves(
    source: Callable[..., Path], form: LabelForm, heard: Heard
) -> None:
    crossed = [[0, 0, 10, 10, 10, 0, 0, 10]]
    outside, partly = block(50, 50, 60, 60), block(30, 20, 90, 90)
    shapes = [annotation(n + 1, 7, shape) for n, shape in enumerate((outside, crossed, partly))]
    dataset = prepared(source(annotations=shapes), replace(WANTED, form=form))
    assert heard.warnings[0].endswith("first: annotation 1: covers nothing of its image")
    label = classes(dataset)
    assert 40 <= label[:15].sum() <= 70
    assert label[20:, 30:].all()


def test_annotations_of_unknown_images_are_told(source: Callable[..., Path], heard: Heard) -> None:
    prepared(source(annotations=[{**annotation(1, 7, SQUARE), "image_id": 99}]))
    assert "1 annotations are of images that it does not list" in heard.warnings[0]


def test_files_of_one_folder_are_parts_of_their_own(source: Callable[..., Path]) -> None:
    """As COCO lays it out itself: annotations/instances_train.json and its like, with the same file names."""
    folder, both = source(), source().parent / "both"
    for split in ("train", "val"):
        shutil.copytree(folder / "images", both / "images" / f"instances_{split}")
    (both / "annotations").mkdir()
    empty = json.dumps(content(annotations=[]))
    (both / "annotations" / "instances_train.json").write_text(json.dumps(content()))
    (both / "annotations" / "instances_val.json").write_text(empty)
    dataset = prepared(both)
    assert [item.split for item in dataset.items] == ["train"] * 3 + ["validation"] * 3
    named = replace(WANTED, splits=SplitRule(validation=["nonsense"]))
    with pytest.raises(InputError, match="`validation` nonsense: the folders name the splits"):
        prepared(both, named, "named")
    assert first_label(dataset).any()
    assert not read_window(dataset.label_path(dataset.items[3])).any()


def test_parts_with_other_categories_are_refused(source: Callable[..., Path]) -> None:
    folder, both = source(), source().parent / "both"
    for split in ("train", "val"):
        shutil.copytree(folder, both / split)
    other = content(categories=[{"id": 100, "name": "house"}, {"id": 7, "name": "shed"}])
    (both / "val" / "annotation.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="categories differ from those of"):
        prepared(both)


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
        ({"categories": [{"id": 7, "name": "\ud800"}]}, "it holds half of a character"),
        ({"images": [{"id": 1, "file_name": "../a.png", "height": 3, "width": 3}]}, "leads out of the folder"),
        ({"images": [{"id": 1, "file_name": "/etc/passwd", "height": 3, "width": 3}]}, "leads out of the folder"),
        ({"images": [{"id": 1, "file_name": "C:\\a.png", "height": 3, "width": 3}]}, "leads out of the folder"),
        ({"images": [{"id": 1, "file_name": "a.png", "height": 0, "width": 3}]}, "that cannot be"),
        ({"images": [{"id": 1, "file_name": "a.png", "height": 10**9, "width": 10**9}]}, "that cannot be"),
        ({"images": content()["images"][:1] * 2}, "image id 1 is there twice"),
        ({"annotations": content()["annotations"][:1] * 2}, "annotation id 1 is there twice"),
        ({"categories": [{"id": 7, "name": "shed"}]}, "2 annotations are of category 100"),
        ({"categories": [{"id": 7, "name": "a"}, {"id": 7, "name": "b"}]}, "category id 7 is there twice"),
        ({"annotations": [{"id": 1}]}, "lacks image_id"),
        ({"annotations": [7]}, "lacks image_id"),
        ({"annotations": [{"id": 2**70, "image_id": 1, "category_id": 7}]}, "lacks image_id"),
        ({"categories": [], "annotations": []}, "lists no categories"),
        ({"categories": [{"id": n, "name": str(n)} for n in range(300)]}, "labels hold 254"),
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
        find_coco_files(tmp_path, None)
