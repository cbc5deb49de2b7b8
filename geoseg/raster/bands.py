"""Bands by number, by name or by color: what they are called, and which of a scene's bands a model wants.

A band may be called by its color, as people say it, or by its number, as Sentinel-2 does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from geoseg.errors import InputError

RGB = ("red", "green", "blue")
BAND_ALIASES = {
    "blue": ("b", "b2", "b02"),
    "green": ("g", "b3", "b03"),
    "red": ("r", "b4", "b04"),
    "rededge": ("b5", "b05", "rededge1", "red_edge"),
    "nir": ("n", "b8", "b08"),
    "swir": ("b11", "swir1", "swir16"),
}


def find_color(name: str) -> str:
    """The colour that a band's name stands for, or the name itself, in small letters, where it stands for none."""
    plain = name.strip().lower()
    return next((each for each, names in BAND_ALIASES.items() if plain in names), plain)


def find_band_name(wanted: str, bands: Sequence[str]) -> str | None:
    """What a colour is called among some bands: exactly so if it can be, else by another of its names."""
    known = {band.lower(): band for band in bands}
    return next((known[name] for name in (wanted, *BAND_ALIASES.get(wanted, ())) if name in known), None)


def find_rgb_bands(bands: Sequence[str]) -> tuple[int, int, int]:
    """Which bands, counted from 0, a person sees as red, green and blue: those called so, else the first three."""
    called = [find_band_name(each, bands) for each in RGB]
    found = [bands.index(name) for name in called if name]
    red, green, blue = (min(place, len(bands) - 1) for place in (found if len(found) == 3 else range(3)))
    return red, green, blue


@dataclass(frozen=True)
class Band:
    """A band of a file: its number from 1, its description, its colour and the type of its pixels as the file tells them."""

    number: int
    description: str
    color: str
    dtype: str = ""

    @property
    def is_alpha(self) -> bool:
        return self.color == "alpha"

    def matches(self, name: str) -> bool:
        """Whether it is called so in its file, or by another name of the same colour: B4 is red.

        A description goes before the colour, which GDAL gives to the first three bands of any file of bytes.
        """
        plain, color = self.description.strip().lower(), find_color(self.description)
        if color not in BAND_ALIASES:
            color = self.color.lower()
        return name.strip().lower() in (plain, color) or find_color(name) == color

    def __str__(self) -> str:
        return f"{self.number} ({self.description or self.color})"


def list_bands(dataset: Any) -> tuple[Band, ...]:
    """The bands of an open raster."""
    told = zip(dataset.indexes, dataset.descriptions, dataset.colorinterp, dataset.dtypes, strict=True)
    return tuple(Band(number, (text or "").strip(), color.name, dtype) for number, text, color, dtype in told)


def parse_bands(available: Sequence[Band], request: str, scene: str) -> tuple[int, ...]:
    """The band numbers that `bands` names, each by number or by description."""
    return tuple(parse_band(available, item.strip(), request, scene) for item in request.split(","))


def parse_band(available: Sequence[Band], item: str, request: str, scene: str) -> int:
    matches = [b for b in available if str(b.number) == item] or [b for b in available if b.matches(item)]
    if not item or not matches:
        raise InputError(f"`bands` {request}: {scene} has no band '{item}'; it has {format_bands(available)}")
    return matches[0].number


def match_bands(available: Sequence[Band], wanted: Sequence[str], scene: str) -> tuple[int, ...]:
    """The bands a model wants: those that carry its names, else all bands when the count is right.

    A band that is asked for by name is data, though many programs mark a fourth band as alpha, whatever it holds.
    """
    data = [band for band in available if not band.is_alpha]
    if are_numbered(data):
        available = [replace(band, description="") for band in available]
    found = [next((b.number for b in available if b.matches(name)), None) for name in wanted]
    if None not in found and len(set(found)) == len(found):
        return tuple(number for number in found if number is not None)
    if len(data) == len(wanted):
        return tuple(band.number for band in data)
    raise InputError(
        f"{scene}: the model wants {len(wanted)} bands ({', '.join(wanted)}) and the scene has {format_bands(available)}; "
        f"{advise_on_bands(data, len(wanted))}"
    )


def advise_on_bands(data: Sequence[Band], wanted: int) -> str:
    """What helps where bands do not fit: a grey image serves for any model, and one that lacks bands does not."""
    if 1 < len(data) < wanted:
        return "take an image that has them, or another `model`"
    numbers = [data[0].number] * wanted if len(data) == 1 else range(1, wanted + 1)
    return f"choose with `bands`, e.g. `bands` {','.join(map(str, numbers))}"


def are_numbered(bands: Sequence[Band]) -> bool:
    """Whether bands are called b1, b2, b3 in their order: names that say nothing, and least that b2 is blue."""
    return [band.description.strip().lower() for band in bands] == [f"b{i + 1}" for i in range(len(bands))]


def format_bands(bands: Sequence[Band]) -> str:
    return f"{len(bands)}: " + ", ".join(map(str, bands))
