"""What bands are called: by colour, as people say it, or by number, as Sentinel-2 does."""

from __future__ import annotations

from collections.abc import Sequence

PHOTO = ("red", "green", "blue")
COLOURS = {
    "blue": ("b", "b2", "b02"),
    "green": ("g", "b3", "b03"),
    "red": ("r", "b4", "b04"),
    "rededge": ("b5", "b05", "rededge1", "red_edge"),
    "nir": ("n", "b8", "b08"),
    "swir": ("b11", "swir1", "swir16"),
}


def colour(name: str) -> str:
    """The colour that a band's name stands for, or the name itself, in small letters, where it stands for none."""
    plain = name.strip().lower()
    return next((each for each, names in COLOURS.items() if plain in names), plain)


def named(wanted: str, bands: Sequence[str]) -> str | None:
    """What a colour is called among some bands: exactly so if it can be, else by another of its names."""
    known = {band.lower(): band for band in bands}
    return next((known[name] for name in (wanted, *COLOURS.get(wanted, ())) if name in known), None)


def shown(bands: Sequence[str]) -> tuple[int, int, int]:
    """Which bands, counted from 0, a person sees as red, green and blue: those called so, else the first three."""
    called = [named(each, bands) for each in PHOTO]
    found = [bands.index(name) for name in called if name]
    red, green, blue = (min(place, len(bands) - 1) for place in (found if len(found) == 3 else range(3)))
    return red, green, blue
