"""How large the pixels of a photograph from a drone are on the ground, by what the camera wrote into the file.

A camera that looks straight down from a height H, through a lens whose focal length is f pixels, sees H / f of ground per
pixel.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import BinaryIO

from PIL import Image

FILM_DIAGONAL_MM = hypot(36, 24)
"""Of the 35 mm film by which focal lengths are compared: 43.27 mm."""
UNIT_MM = {"2": 25.4, "3": 10.0}
"""EXIF's units of length: inch and centimetre."""
STRAIGHT_DOWN_DEG = -90.0
MOST_TILT_DEG = 15.0
"""Within it the ground at the picture's middle is seen at most 4 % farther away, as the height alone would have it."""
SHAPE_TOLERANCE = 0.01
"""Sides of a whole frame, scaled down, differ by rounding only; a piece cut out of it has another shape."""

HEIGHT = re.compile(r'(?:RelativeAltitude|AboveGroundAltitude)(?:="|>)\s*([-+]?\d+(?:\.\d+)?)')
PITCH = re.compile(r'GimbalPitchDegree(?:="|>)\s*([-+]?\d+(?:\.\d+)?)')
NUMBER = re.compile(r"\d+(?:\.\d+)?")

CAMERA_TAGS = 0x8769
"""The tag that leads to what a camera wrote of itself."""
TAG_NAMES = {
    0x9003: "DateTimeOriginal", 0x9004: "DateTimeDigitized", 0x920A: "FocalLength", 0xA002: "PixelXDimension",
    0xA003: "PixelYDimension", 0xA20E: "FocalPlaneXResolution", 0xA210: "FocalPlaneResolutionUnit",
    0xA405: "FocalLengthIn35mmFilm",
}  # fmt: skip
PNG_HEAD = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class CameraTags:
    """What a camera wrote: EXIF tags by their names, the text of the XMP packet, and the picture's size today."""

    exif: Mapping[str, str]
    xmp: str
    height: int
    width: int

    def find_pixel_size_m(self) -> float | None:
        """The side of a pixel on the ground; none where the tags do not tell, or the camera did not look down."""
        height_m, focal_px = self.height_m, self.find_focal_length_px()
        if height_m is None or height_m <= 0 or not focal_px or not self.looks_down or not self.is_whole:
            return None
        return height_m / focal_px

    @property
    def height_m(self) -> float | None:
        """How high the camera was: above the place where it took off, as drones tell it."""
        return read_number(HEIGHT, self.xmp)

    @property
    def looks_down(self) -> bool:
        """Whether the camera looked straight down, or does not say where it looked."""
        pitch = read_number(PITCH, self.xmp)
        return pitch is None or abs(pitch - STRAIGHT_DOWN_DEG) <= MOST_TILT_DEG

    @property
    def is_whole(self) -> bool:
        """Whether the picture is the whole frame, perhaps made smaller or turned, and not a piece of it."""
        sides = self._get("PixelXDimension"), self._get("PixelYDimension")
        if not all(sides):
            return True
        then, now = max(sides) / min(sides), max(self.height, self.width) / min(self.height, self.width)
        return abs(now / then - 1) <= SHAPE_TOLERANCE

    def find_focal_length_px(self) -> float | None:
        """The focal length in pixels of the picture: from its equivalent on film, else from the sensor's own pixels."""
        if equivalent_mm := self._get("FocalLengthIn35mmFilm"):
            return equivalent_mm / FILM_DIAGONAL_MM * hypot(self.height, self.width)
        per_unit, unit = (
            self._get("FocalPlaneXResolution"),
            self.exif.get("EXIF_FocalPlaneResolutionUnit", "2"),
        )
        if not per_unit:
            return None
        frame = max(self._get("PixelXDimension"), self._get("PixelYDimension"))
        scale = max(self.height, self.width) / frame if frame else 1.0
        return self._get("FocalLength") * per_unit / UNIT_MM.get(unit, 25.4) * scale

    def _get(self, name: str) -> float:
        """A number among the tags, GDAL writes some in brackets; 0 where it is not told."""
        found = NUMBER.search(self.exif.get(f"EXIF_{name}", ""))
        return float(found[0]) if found else 0.0


def read_number(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    return float(found[1]) if found else None


def read_exif(path: Path) -> dict[str, str]:
    """A camera's tags in a PNG or TIFF file, by the names that GDAL gives those of a JPEG; none where there are none."""
    try:
        with path.open("rb") as file:
            exif = find_png_exif(file) if file.read(len(PNG_HEAD)) == PNG_HEAD else file
            if exif is None:
                return {}
            exif.seek(0)
            tags = Image.Exif()
            tags.load_from_fp(exif)
            told = tags.get_ifd(CAMERA_TAGS)
            return {f"EXIF_{name}": str(told[number]) for number, name in TAG_NAMES.items() if number in told}
    except Exception:  # noqa: BLE001
        return {}  # damaged tags say as little as none


def find_png_exif(file: BinaryIO) -> BinaryIO | None:
    """The chunk of a PNG that holds what a TIFF has in front: found by going from chunk to chunk."""
    file.seek(len(PNG_HEAD))
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4]), head[4:]
        if kind == b"eXIf":
            return io.BytesIO(file.read(length))
        file.seek(length + 4, io.SEEK_CUR)
    return None
