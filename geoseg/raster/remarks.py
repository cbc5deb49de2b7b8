"""Notices what GDAL reads of a raster as if it were not there, since a disk fails: it tells so in passing, and goes on."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader

LOST_TAG = re.compile(r'IO error during reading of "(?:Geo|GDAL|RPC|Color)\w+"')
"""One of those tags that tell what pixels are, and where they lie."""
LOST_PIXELS = re.compile(r"\w+:Cannot read offset/size|\w+: ?Read [Ee]rror")
"""Where pixels lie, or pixels. What GDAL says of directories behind the last one is no loss."""


class Listener(logging.Filter):
    """Hears what GDAL tells rasterio, in each thread for itself. rasterio passes on its errors as remarks: nobody else gets those."""

    def __init__(self) -> None:
        super().__init__()
        self._heard = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        getattr(self._heard, "remarks", []).append(record.getMessage())
        return record.levelno >= logging.getLogger("rasterio").getEffectiveLevel()

    @contextmanager
    def listen(self) -> Iterator[list[str]]:
        """What is said in this block."""
        before, self._heard.remarks = getattr(self._heard, "remarks", []), []
        try:
            yield self._heard.remarks
        finally:
            self._heard.remarks = before


LISTENER = Listener()
for gdal in map(logging.getLogger, ("rasterio._env", "rasterio._err")):
    gdal.setLevel(logging.INFO)
    gdal.addFilter(LISTENER)


@contextmanager
def refuse_lost_tags() -> Iterator[None]:
    """Refuse a raster of which a tag cannot be read: GDAL opens it without, such as without its place, and only warns."""
    with LISTENER.listen() as remarks:
        yield
    refuse(LOST_TAG, remarks)


def refuse(lost: re.Pattern[str], remarks: Sequence[str]) -> None:
    """Refuse a raster where GDAL has said that something of it is lost."""
    found = [match[0] for match in map(lost.search, remarks) if match]
    if found:
        raise RasterioIOError(found[0])


class CarefulReader(DatasetReader):  # type: ignore[misc]
    """A raster whose pixels are read, or refused: GDAL takes those for zeros of which it could not read where they lie."""

    def read(self, *arguments: Any, **options: Any) -> Any:
        with LISTENER.listen() as remarks:
            values = super().read(*arguments, **options)
        refuse(LOST_PIXELS, remarks)
        return values
