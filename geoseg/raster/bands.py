"""Which bands of a scene a model wants, found by number, by name or by colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.errors import InputError


@dataclass(frozen=True)
class Band:
    """A band of a file: its number from 1, its description and its colour as the file tells them."""

    number: int
    description: str
    colour: str

    @property
    def is_alpha(self) -> bool:
        return self.colour == "alpha"

    def answers_to(self, name: str) -> bool:
        return name.strip().lower() in (self.description.lower(), self.colour.lower())

    def __str__(self) -> str:
        return f"{self.number} ({self.description or self.colour})"


def requested_bands(available: Sequence[Band], request: str, scene: str) -> tuple[int, ...]:
    """The band numbers that `--bands` names, each by number or by description."""
    return tuple(requested_band(available, item.strip(), request, scene) for item in request.split(","))


def requested_band(available: Sequence[Band], item: str, request: str, scene: str) -> int:
    matches = [b for b in available if str(b.number) == item] or [b for b in available if b.answers_to(item)]
    if not item or not matches:
        raise InputError(f"--bands {request}: {scene} has no band '{item}'; it has {listed(available)}")
    return matches[0].number


def matching_bands(available: Sequence[Band], wanted: Sequence[str], scene: str) -> tuple[int, ...]:
    """The bands a model wants: those that carry its names, else all bands when the count is right.

    A band that is asked for by name is data, though many programs mark a fourth band as alpha, whatever it holds.
    """
    data = [band for band in available if not band.is_alpha]
    found = [next((b.number for b in available if b.answers_to(name)), None) for name in wanted]
    if None not in found and len(set(found)) == len(found):
        return tuple(number for number in found if number is not None)
    if len(data) == len(wanted):
        return tuple(band.number for band in data)
    raise InputError(
        f"{scene}: the model wants {len(wanted)} bands ({', '.join(wanted)}) and the scene has {listed(available)}; "
        f"choose with --bands, e.g. --bands {','.join(str(i + 1) for i in range(len(wanted)))}"
    )


def listed(bands: Sequence[Band]) -> str:
    return f"{len(bands)}: " + ", ".join(map(str, bands))
