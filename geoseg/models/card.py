"""A model's card: what the model expects of a scene and what its answers mean. Kept as `card.json`.

Every value is checked against its field's type, and every complaint names the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from geoseg.errors import InputError
from geoseg.raster.palette import ClassEntry
from geoseg.records import parse_json, read_record, require

Activation = Literal["sigmoid", "softmax"]
Separator = Literal["boundary", "distance"]
Stretch = Literal["never", "when-foreign", "always"]

# A mask keeps classes in bytes, and 255 means nodata.
MOST_CLASSES = 255


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
        lower, upper = self.percentiles
        require(self.low < self.high, f"scaling from {self.low:g} to {self.high:g} leaves no range")
        require(all(std > 0 for std in self.std), "scaling.std must be above zero")
        require(
            self.stretch in get_args(Stretch),
            f"scaling.stretch is {self.stretch!r}, not {format_choices(Stretch)}",
        )
        require(
            0 <= lower < upper <= 100, f"scaling.percentiles {self.percentiles} are not rising, from 0 to 100"
        )


@dataclass(frozen=True)
class DerivedBand:
    """A further input of the network: a formula of band names, each band counting from 0 to 1 over its scaling.

    Values beyond `low` to `high` are cut off; the network sees that range as -1 to 1.
    """

    name: str
    formula: str
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        require(self.low < self.high, f"derived band {self.name}: {self.low:g} to {self.high:g} is no range")


@dataclass(frozen=True)
class Card:
    """What a model was made for, and what is known about it.

    `separators` are further outputs of the network, after those of the classes, that tell where one building ends: the
    probability of its boundary, and the distance to it, from 0 there to 1 deep inside.
    """

    name: str
    bands: tuple[str, ...]
    classes: tuple[ClassEntry, ...]
    gsd_m: float
    gsd_range_m: tuple[float, float]
    description: str = ""
    patch: int = 512
    scaling: Scaling = field(default_factory=Scaling)
    derived: tuple[DerivedBand, ...] = ()
    activation: Activation = "sigmoid"
    separators: tuple[Separator, ...] = ()
    threshold: float = 0.5
    min_area_m2: float = 0.0
    licence: str = ""
    sources: tuple[Mapping[str, Any], ...] = ()
    known_failures: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        self.refuse_unusable_classes()
        self.refuse_unusable_scale()
        require(bool(self.bands), "bands is empty")
        for name, values in (("mean", self.scaling.mean), ("std", self.scaling.std)):
            fits = len(values) in (1, len(self.bands))
            require(fits, f"scaling.{name} has {len(values)} entries for {len(self.bands)} bands")
        require(0 < self.threshold < 1, f"threshold {self.threshold:g} is not between 0 and 1")
        require(self.min_area_m2 >= 0, f"min_area_m2 {self.min_area_m2:g} is below zero")
        written = re.fullmatch(r"([0-9a-f]{64})?", self.weights_sha256)
        require(bool(written), f"weights_sha256 {self.weights_sha256!r} is not 64 hexadecimal digits")

    def refuse_unusable_classes(self) -> None:
        names = [entry.name for entry in self.classes]
        require(
            self.activation in get_args(Activation),
            f"activation is {self.activation!r}, not {format_choices(Activation)}",
        )
        require(len(names) >= 2, "classes needs at least two, the first of them the background")
        require(
            len(names) <= MOST_CLASSES, f"classes are {len(names)}, but a mask holds {MOST_CLASSES} at most"
        )
        require(len(set(names)) == len(names), "classes has two of the same name")
        yes_or_no = self.activation != "sigmoid" or len(names) == 2
        require(yes_or_no, "activation sigmoid needs two classes: the background and what is sought")
        require(
            not self.separators or self.activation == "sigmoid",
            "separators need the activation sigmoid and two classes",
        )
        require(len(set(self.separators)) == len(self.separators), "separators has two of the same name")

    def refuse_unusable_scale(self) -> None:
        finest, coarsest = self.gsd_range_m
        tolerated = 0 < finest <= self.gsd_m <= coarsest
        require(tolerated, f"gsd_m {self.gsd_m:g} is not within gsd_range_m, {finest:g} to {coarsest:g}")
        require(self.patch >= 1, f"patch {self.patch} is no size")

    @property
    def outputs(self) -> tuple[str, ...]:
        """What each channel of the network is about: the class that is sought, or every class, then the separators."""
        names = tuple(entry.name for entry in self.classes)
        return (*(names[1:] if self.activation == "sigmoid" else names), *self.separators)

    @property
    def class_channels(self) -> int:
        """How many of the network's channels are about classes: one for a yes/no model, else one a class."""
        return len(self.outputs) - len(self.separators)

    @property
    def inputs(self) -> int:
        """How many channels the network takes: the bands of a scene, then the derived ones."""
        return len(self.bands) + len(self.derived)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str, origin: str) -> Card:
        """Read a card from JSON; `origin` is the file that an error names."""
        try:
            return read_record(cls, parse_json(text))
        except (ValueError, InputError) as error:
            raise InputError(f"{origin}: not a usable model card: {error}") from error

    @classmethod
    def read(cls, path: Path) -> Card:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: the model card cannot be read ({error})") from error
        return cls.parse(text, str(path))


def format_choices(choice: Any) -> str:
    return " or ".join(get_args(choice))
