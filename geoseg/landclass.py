"""A class of ground: the word that data sets, models, masks and maps share."""

from __future__ import annotations

import re
from dataclasses import dataclass

from geoseg.errors import InputError


@dataclass(frozen=True)
class LandClass:
    """A class of pixels, with the colour that maps show it in."""

    name: str
    color: str

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("a class has no name")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.color):
            raise InputError(f"class {self.name}: colour {self.color!r} is not written like #c0392b")

    @property
    def rgb(self) -> tuple[int, int, int]:
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)
