"""What a TIFF file holds beside its first picture. GDAL opens a file without what it cannot read of it, and says nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rasterio.enums import MaskFlags
from rasterio.errors import RasterioIOError

REDUCED, MASK = 1, 4
"""The bits of a directory's kind: a smaller copy of the first picture; where a picture is known."""
KIND, WIDTH, HEIGHT, SAMPLES = 254, 256, 257, 277
LAYOUTS = {42: ("4xI", "H", "HHI4s", "I"), 43: ("8xQ", "Q", "HHQ8s", "Q")}
"""Of a TIFF and of a BigTIFF: where the first directory stands, the number of its entries, an entry, where the next one stands."""
NUMBERS = {3: "H", 4: "I"}


@dataclass(frozen=True)
class Directory:
    """A picture in a TIFF file."""

    kind: int
    shape: tuple[int, int]
    samples: int


def refuse_lost_directories(path: Path, dataset: Any) -> None:
    """Refuse an open TIFF file with a mask or overviews that GDAL could not read."""
    first, *others = list_directories(path) or [Directory(0, dataset.shape, dataset.count)]
    if not others:
        return
    kinds = [(each.kind & (REDUCED | MASK), each) for each in others]
    has_mask = any(kind == MASK and each.shape == first.shape for kind, each in kinds)
    if has_mask and MaskFlags.per_dataset not in dataset.mask_flag_enums[0]:
        raise RasterioIOError("its mask cannot be read")
    overviews = sum(kind == REDUCED and each.samples == first.samples for kind, each in kinds)
    if len(dataset.overviews(1)) < overviews:
        raise RasterioIOError("its overviews cannot be read")


def list_directories(path: Path) -> list[Directory]:
    """The directories of a TIFF file, up to one that is none, as some programs leave behind the last."""
    found: list[Directory] = []
    try:
        with path.open("rb") as file, suppress(struct.error):
            for directory in read_directories(file):
                found.append(directory)  # noqa: PERF402 - what was found before an error counts
    except OSError as error:
        raise RasterioIOError(f"a directory of it cannot be read: {error.strerror}") from error
    return found


def read_directories(file: BinaryIO) -> Iterator[Directory]:
    start = file.read(4)
    order = "<" if start[:2] == b"II" else ">"
    first, count, entry, following = (
        struct.Struct(order + part) for part in LAYOUTS[struct.unpack(order + "2xH", start)[0]]
    )
    file.seek(0)
    (place,) = first.unpack(file.read(first.size))
    seen = set[int]()
    while place and place not in seen:
        seen.add(place)
        file.seek(place)
        (entries,) = count.unpack(file.read(count.size))
        content = file.read(entries * entry.size)
        values = {
            tag: struct.unpack_from(order + NUMBERS[kind], value)[0]
            for tag, kind, _, value in entry.iter_unpack(content)
            if tag in (KIND, WIDTH, HEIGHT, SAMPLES) and kind in NUMBERS
        }
        yield Directory(
            values.get(KIND, 0), (values.get(HEIGHT, 0), values.get(WIDTH, 0)), values.get(SAMPLES, 1)
        )
        (place,) = following.unpack(file.read(following.size))
