"""When an image was taken: dates in the words of many files, as ISO 8601 writes them.

A date is `2026-05-04`; where several images make one result it is the first and the last, `2026-05-04/2026-05-06`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from geoseg.errors import InputError
from geoseg.raster.lists import read_items
from geoseg.raster.source import open_raster, read_tags
from geoseg.records import parse_json

DAY = re.compile(r"\s*(\d{4})[-:/.]?(\d{2})[-:/.]?(\d{2})(?!\d{3})")
"""As cameras (2026:05:04 10:31:00), catalogues (2026-05-04T10:31:00Z) and Landsat (20260504) write it."""
OWN_TAG = "GEOSEG"
LARGEST_ITEM = 1_000_000
"""Bytes of a STAC item; a larger file of the same name is something else, such as labels."""
EARLIEST = 1826
"""The year of the first photograph; clocks that were never set tell 0000 or 0001."""
TAGS = ("EXIF_DateTimeOriginal", "EXIF_DateTimeDigitized", "TIFFTAG_DATETIME", "EXIF_DateTime")
"""Tags that tell when an image was taken, the surest first: software writes its own time into TIFF's."""


def parse_day(text: str) -> str | None:
    """The day that a text begins with; none where it tells none that an image can have been taken on."""
    found = DAY.match(text)
    try:
        day = date(*map(int, found.groups())) if found else None
    except ValueError:
        return None
    return day.isoformat() if day and EARLIEST <= day.year <= date.today().year + 1 else None


def parse_date(text: str) -> str:
    """A date, or a first and a last one, that a user gives."""
    days = [parse_day(part) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", part) else None for part in text.split("/")]
    if not 1 <= len(days) <= 2 or None in days or days != sorted(days):  # type: ignore[type-var]
        raise InputError(
            f"`date` {text}: write a day as 2026-05-04, or the first and the last as 2026-05-04/2026-05-06"
        )
    return "/".join(filter(None, days))


def join_dates(dates: Iterable[str]) -> str:
    """The first and the last of several dates; the one that it is, where all are the same."""
    days = sorted({day for each in dates for day in each.split("/")})
    return days[0] if len(days) == 1 else f"{days[0]}/{days[-1]}"


def find_image_date(paths: Sequence[str], files: Sequence[str]) -> str | None:
    """When a scene was taken, by all that tells it; none unless every file tells.

    `paths` is how the user named the `files`. A catalogue goes before what a file says of itself.
    """
    listed = read_listed_dates(paths)
    dates: list[str] = []
    for file in files:
        day = listed.get(file) or read_record_date(file) or read_file_date(file)
        if day is None:
            return None
        dates.append(day)
    return join_dates(dates)


def read_listed_dates(paths: Sequence[str]) -> dict[str, str]:
    """The dates of the images of STAC items in the lists among some paths."""
    lists = [path for path in map(Path, paths) if path.suffix.lower() == ".json" and path.is_file()]
    found = {image: read_item_date(item) for path in lists for image, item in read_items(path)}
    return {image: day for image, day in found.items() if day}


def read_record_date(file: str) -> str | None:
    """The date in the STAC item beside a file, as `geoseg export` and many catalogues write it."""
    beside = Path(file).with_suffix(".json")
    try:
        if "://" in file or not beside.is_file() or beside.stat().st_size > LARGEST_ITEM:
            return None
        item = parse_json(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # a file of somebody else's
    return read_item_date(item)


def read_item_date(item: Any) -> str | None:
    """When the image of a STAC item was taken."""
    properties = item.get("properties") if isinstance(item, Mapping) else None
    if not isinstance(properties, Mapping):
        return None
    told = [properties.get(name) for name in ("datetime", "start_datetime", "end_datetime")]
    days = [parse_day(each) if isinstance(each, str) else None for each in told]
    return days[0] or (join_dates(days[1:]) if all(days[1:]) else None)  # type: ignore[arg-type]


def read_file_date(file: str) -> str | None:
    """When an image was taken, as its own tags tell."""
    with open_raster(file, file) as dataset:
        tags, imagery = read_tags(dataset), dataset.tags(ns="IMAGERY")
    own = read_own_date(tags.get(OWN_TAG, ""))
    told = (imagery.get("ACQUISITIONDATETIME", ""), *(tags.get(name, "") for name in TAGS))
    return own or next(filter(None, map(parse_day, told)), None)


def read_own_date(written: str) -> str | None:
    """What a raster of `geoseg infer` tells of the image that it was made of."""
    try:
        day = json.loads(written).get("image_date") if written else None
    except (ValueError, AttributeError):
        return None
    return day if isinstance(day, str) else None
