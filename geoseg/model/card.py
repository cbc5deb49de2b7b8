"""A model's card: what the model expects of a scene and what its answers mean. Kept as `card.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from geoseg.errors import InputError

Activation = Literal["sigmoid", "softmax"]
Stretch = Literal["never", "when-foreign", "always"]


@dataclass(frozen=True)
class LandClass:
    """A class of pixels, with the colour that maps show it in."""

    name: str
    color: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.color):
            raise ValueError(f"class {self.name}: colour {self.color!r} is not written like #c0392b")

    @property
    def rgb(self) -> tuple[int, int, int]:
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True)
class Scaling:
    """How raw values become network inputs: `low` to `high` becomes 0 to 1, then mean and std are applied.

    `stretch` says when the scene's own percentiles replace `low` and `high`: never, when the scene's values cannot
    be on that scale (16-bit imagery for a model of 8-bit imagery), or always.
    """

    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    stretch: Stretch = "when-foreign"
    percentiles: tuple[float, float] = (1.0, 99.0)

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"scaling from {self.low:g} to {self.high:g} leaves no range")
        if any(s <= 0 for s in self.std):
            raise ValueError("scaling.std must be above zero")
        if self.stretch not in ("never", "when-foreign", "always"):
            raise ValueError(f"scaling.stretch is {self.stretch!r}, not never, when-foreign or always")


@dataclass(frozen=True)
class Card:
    """What a model was made for, and what is known about it."""

    name: str
    bands: tuple[str, ...]
    classes: tuple[LandClass, ...]
    gsd_m: float
    gsd_range_m: tuple[float, float]
    description: str = ""
    patch: int = 512
    scaling: Scaling = field(default_factory=Scaling)
    activation: Activation = "sigmoid"
    threshold: float = 0.5
    min_area_m2: float = 0.0
    licence: str = ""
    sources: tuple[Mapping[str, str], ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        if not self.bands:
            raise ValueError("bands is empty")
        if len(self.classes) < 2:
            raise ValueError("classes needs at least two, the first of them the background")
        if self.activation not in ("sigmoid", "softmax"):
            raise ValueError(f"activation is {self.activation!r}, not sigmoid or softmax")
        if self.activation == "sigmoid" and len(self.classes) != 2:
            raise ValueError("activation sigmoid needs two classes: the background and what is sought")
        if not 0 < self.gsd_range_m[0] <= self.gsd_m <= self.gsd_range_m[1]:
            raise ValueError(f"gsd_m {self.gsd_m:g} is not within gsd_range_m {self.gsd_range_m}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold:g} is not between 0 and 1")
        if self.patch < 1:
            raise ValueError(f"patch {self.patch} is no size")

    @property
    def outputs(self) -> int:
        """How many channels the network gives: one for a yes/no model, else one a class."""
        return 1 if self.activation == "sigmoid" else len(self.classes)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str, origin: str) -> Card:
        """Read a card from JSON; `origin` is the file that an error names."""
        try:
            raw = json.loads(text)
            if not isinstance(raw, dict):
                raise TypeError("it is not a JSON object")
            return cls(**known_fields(cls, shaped(raw)))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{origin}: not a usable model card: {error}") from error

    @classmethod
    def read(cls, path: Path) -> Card:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: the model card cannot be read ({error})") from error
        return cls.parse(text, str(path))


def shaped(raw: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists and objects as the tuples and values that a card is made of."""
    scaling = dict(raw.get("scaling", {}))
    for name in ("mean", "std", "percentiles"):
        if name in scaling:
            scaling[name] = tuple(float(value) for value in scaling[name])
    return {
        **raw,
        "bands": tuple(raw["bands"]),
        "classes": tuple(LandClass(**entry) for entry in raw["classes"]),
        "gsd_m": float(raw["gsd_m"]),
        "gsd_range_m": (float(raw["gsd_range_m"][0]), float(raw["gsd_range_m"][1])),
        "scaling": Scaling(**known_fields(Scaling, scaling)),
        "sources": tuple(raw.get("sources", ())),
    }


def known_fields(kind: type[Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse a field that a card does not have, since a misspelt one would silently be ignored."""
    names = {entry.name for entry in fields(kind)}
    unknown = sorted(set(raw) - names)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(names))}")
    return dict(raw)
