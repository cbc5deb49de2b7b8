"""A data set's file tells everything, and says in one line what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from geoseg.datasets.schema import Dataset, Item, read_dataset, write_dataset
from geoseg.errors import InputError
from geoseg.raster.palette import ClassEntry

TOWN = Dataset(
    name="town",
    licence="CC0",
    attribution="Ünïted \"Surveyors\" \\ & Sons",
    source="here",
    gsd_m=0.3,
    bands=("red", "green", "blue"),
    classes=(ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e")),
    items=(
        Item("images/a.tif", "labels/a.tif", "north"),
        Item("images/b.jpg", "b.geojson", "south", "validation", 0.25, "kind", "area.geojson"),
    ),
)  # fmt: skip


def test_a_data_set_survives_its_file(tmp_path: Path) -> None:
    file = write_dataset(TOWN, tmp_path)
    assert read_dataset(tmp_path) == read_dataset(file) == replace(TOWN, folder=tmp_path)
    assert list(tmp_path.iterdir()) == [file]


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@example(name="\x7f\t\n", place="\\u007f")
@given(name=text, place=text)
def test_any_name_survives(tmp_path_factory: pytest.TempPathFactory, name: str, place: str) -> None:
    folder = tmp_path_factory.mktemp("set")
    named = replace(TOWN, name=name, items=(Item("a", "b", place),))
    write_dataset(named, folder)
    assert read_dataset(folder) == replace(named, folder=folder)


def test_paths_start_at_the_folder(tmp_path: Path) -> None:
    write_dataset(TOWN, tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.image_path(dataset.items[0]) == tmp_path / "images/a.tif"
    assert [item.place for item in dataset.split("validation")] == ["south"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('split = "validation"', 'split = "dev"', "split is 'dev'"),
        ('place = "south"', 'place = "north"', "place north is in the splits train and validation"),
        ("gsd_m = 0.3", "gsd_m = 0", "gsd_m is 0"),
        ("gsd_m = 0.3", 'gsd_m = "0.3"', "gsd_m is '0.3', not a number"),
        ("gsd_m = 0.3\n", "", "gsd_m is missing"),
        ("ignore = 255", "ignore = 1", "ignore is 1, which is also a class"),
        ("#e4572e", "red", "colour 'red'"),
        ('name = "building"', 'name = "background"', "class background is there twice"),
        ('labelled = "area.geojson"', 'labeled = "area.geojson"', "unknown field 'items[1].labeled'"),
        ('["red", "green", "blue"]', "[]", "bands is empty"),
        ('["red", "green", "blue"]', "3", "bands is '3', not a list"),
        ("[[classes]]", "[[classes", "cannot be read as a data set"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, before: str, after: str, message: str) -> None:
    file = write_dataset(TOWN, tmp_path)
    file.write_text(file.read_text().replace(before, after, 1))
    with pytest.raises(InputError) as caught:
        read_dataset(tmp_path)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no dataset\.toml"):
        read_dataset(tmp_path)
