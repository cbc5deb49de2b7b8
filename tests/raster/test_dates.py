"""Dates as files and catalogues write them, and which of them goes before which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from layers import GRID, write_raster

from geoseg.errors import InputError
from geoseg.raster.dates import find_image_date, join_dates, parse_date, parse_day


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026:05:04 10:31:00", "2026-05-04"),
        ("2026-05-04T10:31:00.123Z", "2026-05-04"),
        ("20260504", "2026-05-04"),
        ("20260504T103100", "2026-05-04"),
        (" 2026/05/04", "2026-05-04"),
        ("0000:00:00 00:00:00", None),
        ("2026:02:30 10:31:00", None),
        ("1700-01-01", None),
        ("9999-01-01", None),
        ("May 2026", None),
        ("", None),
    ],
)
def test_days_as_cameras_and_catalogues_write_them(text: str, day: str | None) -> None:
    assert parse_day(text) == day


@given(st.text(max_size=30))
def test_no_text_is_too_odd(text: str) -> None:
    day = parse_day(text)
    assert day is None or parse_date(day) == day


@given(st.lists(st.dates(), min_size=1, max_size=6))
def test_several_days_are_the_first_and_the_last(days: list[Any]) -> None:
    texts = [day.isoformat() for day in days]
    first, _, last = join_dates(texts).partition("/")
    assert (first, last or first) == (min(texts), max(texts))
    assert join_dates([join_dates(texts[:3]), *texts[3:]]) == join_dates(texts)


@pytest.mark.parametrize(
    "text", ["4 May 2026", "2026-05", "2026-05-04/", "2026-05-06/2026-05-04", "2026-13-01", "20260504"]
)
def test_dates_of_users_are_checked(text: str) -> None:
    with pytest.raises(InputError, match="write a day as 2026-05-04"):
        parse_date(text)


def scene(folder: Path, name: str = "scene.tif", **tags: str) -> str:
    path = write_raster(folder / name, np.zeros(GRID.shape, dtype=np.uint8))
    with rasterio.open(path, "r+") as dataset:
        imagery = {each: tags.pop(each) for each in list(tags) if each == "ACQUISITIONDATETIME"}
        dataset.update_tags(**tags)
        dataset.update_tags(ns="IMAGERY", **imagery)
    return str(path)


def item(**properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature", "properties": properties,
        "assets": {"data": {"href": "./scene.tif", "type": "image/tiff"}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "day"),
    [
        ({}, None),
        ({"TIFFTAG_DATETIME": "2026:05:04 10:00:00"}, "2026-05-04"),
        (
            {"TIFFTAG_DATETIME": "2026:06:01 10:00:00", "EXIF_DateTimeOriginal": "2026:05:04 10:00:00"},
            "2026-05-04",
        ),
        (
            {"TIFFTAG_DATETIME": "2026:06:01 10:00:00", "ACQUISITIONDATETIME": "2026-05-04 10:00:00"},
            "2026-05-04",
        ),
        (
            {"TIFFTAG_DATETIME": "2026:06:01 10:00:00", "GEOSEG": '{"image_date": "2026-05-04/2026-05-06"}'},
            "2026-05-04/2026-05-06",
        ),
        ({"TIFFTAG_DATETIME": "0000:00:00 00:00:00", "GEOSEG": "no JSON"}, None),
    ],
)
def test_tags_of_a_file(tags: dict[str, str], day: str | None, tmp_path: Path) -> None:
    assert find_image_date([], [scene(tmp_path, **tags)]) == day


@pytest.mark.parametrize(
    ("record", "day"),
    [
        (item(datetime="2026-05-04T08:00:00Z"), "2026-05-04"),
        (
            item(datetime=None, start_datetime="2026-05-04T00:00:00Z", end_datetime="2026-08-01T00:00:00Z"),
            "2026-05-04/2026-08-01",
        ),
        (item(datetime=None), "2026-06-01"),
        ({"labels": [1, 2]}, "2026-06-01"),
        ([1, 2], "2026-06-01"),
    ],
)
def test_the_record_beside_a_file_goes_before_its_tags(record: Any, day: str, tmp_path: Path) -> None:
    file = scene(tmp_path, TIFFTAG_DATETIME="2026:06:01 10:00:00")
    Path(file).with_suffix(".json").write_text(json.dumps(record))
    assert find_image_date([], [file]) == day


def test_a_list_of_stac_items_goes_before_all(tmp_path: Path) -> None:
    file = scene(tmp_path, TIFFTAG_DATETIME="2026:06:01 10:00:00")
    items = tmp_path / "items.json"
    items.write_text(
        json.dumps({"type": "FeatureCollection", "features": [item(datetime="2026-05-04T08:00:00Z")]})
    )
    assert find_image_date([str(items)], [file]) == "2026-05-04"


def test_several_files_make_a_span_where_each_tells(tmp_path: Path) -> None:
    one = scene(tmp_path, "a.tif", TIFFTAG_DATETIME="2026:05:04 10:00:00")
    other = scene(tmp_path, "b.tif", TIFFTAG_DATETIME="2026:05:06 10:00:00")
    assert find_image_date([], [one, other]) == "2026-05-04/2026-05-06"
    assert find_image_date([], [one, scene(tmp_path, "c.tif")]) is None
