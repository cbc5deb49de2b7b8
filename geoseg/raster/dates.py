"""When an image was taken: dates in the words of many files, as ISO 8601 writes them.

A date is `2026-05-04`; where several images make one result it is the first and the last, `2026-05-04/2026-05-06`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

from geoseg.errors import InputError

DAY = re.compile(r"\s*(\d{4})[-:/.]?(\d{2})[-:/.]?(\d{2})(?!\d{3})")
"""As cameras (2026:05:04 10:31:00), catalogues (2026-05-04T10:31:00Z) and Landsat (20260504) write it."""
EARLIEST = 1826
"""The year of the first photograph; clocks that were never set tell 0000 or 0001."""
WORDS = ("EXIF_DateTimeOriginal", "EXIF_DateTimeDigitized", "TIFFTAG_DATETIME", "EXIF_DateTime")
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
