"""What an option is: its name, type, default, help and the values that it may have.

The options of a command are the fields of one frozen dataclass: keywords of the Python function, flags of the command
line, keys of a TOML file and the reference in the docs all come from it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from functools import reduce
from math import nextafter
from numbers import Integral, Real
from operator import or_
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from geoseg.errors import InputError, shorten_error
from geoseg.records import parse_toml


@dataclass(frozen=True)
class Limits:
    """Numbers from `least` to `most`, both included, in the words in which they are asked for."""

    words: str
    least: float
    most: float = sys.float_info.max

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most


AT_LEAST_ONE = Limits("at least 1", 1)
ABOVE_ZERO = Limits("a finite number above zero", nextafter(0, 1))
ZERO_OR_MORE = Limits("a finite number, zero or more", 0)
SHARE = Limits("a number from 0 to 1", 0, 1)
BETWEEN_ZERO_AND_ONE = Limits("a number between 0 and 1", nextafter(0, 1), nextafter(1, 0))
BELOW_ONE = Limits("a number from 0 to below 1", 0, nextafter(1, 0))
FINITE = Limits("a finite number", -sys.float_info.max)


INPUTS = "What goes in"
OUTPUTS = "What comes out"
MODEL = "The model and its settings"
FOOTPRINTS = "How footprints are made"
REGIONS = "Regions"
SAMPLES = "How the sample is drawn"
LOOKS = "How it looks"
RESOURCES = "Resources"
MESSAGES = "Messages"
LABELS = "Images and labels"
COMPOSITES = "How scenes become one image"
PAIRS = "Training pairs"
NETWORK = "The network"
PATCHES = "Patches"
LOSSES = "The loss"
STEPS = "Steps and validation"
PLACES = "Places and splits"
GROUPS = (
    INPUTS,
    OUTPUTS,
    LABELS,
    COMPOSITES,
    PAIRS,
    NETWORK,
    PATCHES,
    LOSSES,
    STEPS,
    PLACES,
    MODEL,
    FOOTPRINTS,
    SAMPLES,
    REGIONS,
    LOOKS,
    "Options",
    RESOURCES,
    MESSAGES,
)
"""The headings below which a command's help lists its options, in their order."""


def define_option(
    default: Any,
    meaning: str,
    limits: Limits | None = None,
    *,
    group: str = "",
    flags: tuple[str, ...] = (),
    metavar: str | None = None,
) -> Any:
    """A field of an options class. `[default: …]` at the end of its meaning says what is done where it is left out.

    `flags` replace the flag that its name gives; one of them with `=` stands for that value: `--no-split=none`. `group` is
    the heading below which the command's help lists it.
    """
    metadata = {"help": meaning, "limits": limits, "group": group, "flags": flags, "metavar": metavar}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a command, each converted to its type and checked. None: left to be decided."""

    def __post_init__(self) -> None:
        for option in list_options(type(self)):
            value = option.convert(getattr(self, option.name))
            object.__setattr__(self, option.name, value)

    def replace(self, changes: Mapping[str, Any], origin: str = "") -> Self:
        """The options with some of them replaced; `origin` tells of the changes where they come from."""
        known = {option.name: option for option in list_options(type(self))}
        for name in changes:
            if name not in known:
                raise InputError(f"{origin}no option is called {name!r}; {suggest_name(name, known)}")
        converted = {name: known[name].convert(value, origin) for name, value in changes.items()}
        return dataclasses.replace(self, **converted)

    def to_toml(self) -> str:
        """The options as a TOML file that gives them back."""
        given = {option.name: getattr(self, option.name) for option in list_options(type(self))}
        return "".join(
            f"{name} = {json.dumps(value, ensure_ascii=False, default=str)}\n"
            for name, value in given.items()
            if value is not None
        )


def suggest_name(name: str, known: Mapping[str, Any]) -> str:
    """The name that was probably meant, else all that there are."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


OptionsKind = TypeVar("OptionsKind", bound=Options)


def read_options(kind: type[OptionsKind], path: Path | None, given: Mapping[str, Any]) -> OptionsKind:
    """The options of a TOML file, and over them those that are given."""
    options = kind()
    if path is not None:
        try:
            # Editors on Windows write a mark before the first letter, which utf-8-sig passes over.
            written = parse_toml(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as options ({shorten_error(error)})") from error
        options = options.replace(written, f"{path}: ")
    return options.replace(given)


@dataclass(frozen=True)
class Option:
    """One field of an options class. `kind` is the type of its values; that it may be left out is no type."""

    name: str
    kind: Any
    default: Any
    help: str
    limits: Limits | None
    group: str
    flags: tuple[str, ...]
    metavar: str | None

    @property
    def takes_many(self) -> bool:
        """Whether it can be given several times."""
        return get_origin(self.kind) is tuple

    @property
    def choices(self) -> tuple[Any, ...]:
        """The only values it can have; none where any of its type will do."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    def convert(self, value: Any, origin: str = "") -> Any:
        """A value as one of the option's type, or a line on why it is none."""
        if value is None and self.default is None:
            return None
        name = f"`{self.name}`"
        if self.choices:
            return self._choose(value, f"{origin}{name}")
        converted = convert_value(self.kind, value)
        if converted is MISSING:
            raise InputError(f"{origin}{name} {value!r}: is no {describe_kind(self.kind)}")
        if self.limits is not None and converted not in self.limits:
            raise InputError(f"{origin}{name} {value}: give {self.limits.words}")
        return converted

    def _choose(self, value: Any, name: str) -> Any:
        """The choice that is meant; the command line gives numbers as text."""
        for choice in self.choices:
            if str(choice) == str(value):
                return choice
        raise InputError(f"{name} {value}: give one of {', '.join(map(str, self.choices))}")


def list_options(kind: type) -> tuple[Option, ...]:
    """The options of a class, in their order."""
    hints = get_type_hints(kind)
    return tuple(
        Option(
            entry.name,
            drop_none(hints[entry.name]),
            None if entry.default is MISSING else entry.default,
            *(entry.metadata[key] for key in ("help", "limits", "group", "flags", "metavar")),
        )
        for entry in fields(kind)
        if "help" in entry.metadata
    )


def drop_none(hint: Any) -> Any:
    """A type without the None that says that it may be left out."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return reduce(or_, kinds)


def convert_float(value: float) -> Any:
    """A number as a decimal, unless it is a whole one beyond every decimal."""
    try:
        return float(value)
    except OverflowError:
        return MISSING


def convert_texts(value: Any) -> Any:
    """One text, or several, as a tuple of them."""
    if isinstance(value, str | PathLike):
        return (str(value),)
    return tuple(map(str, value)) if isinstance(value, Iterable) else MISSING


def is_number(value: Any, kind: type = Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


CONVERSIONS: Mapping[Any, Callable[[Any], Any]] = {
    Path: lambda value: Path(value) if isinstance(value, str | PathLike) else MISSING,
    int: lambda value: int(value) if is_number(value, Integral) else MISSING,
    float: lambda value: convert_float(value) if is_number(value) else MISSING,
    str | float: lambda value: value if isinstance(value, str) or is_number(value) else MISSING,
    tuple[str, ...]: convert_texts,
}
"""How values of other types are taken for one of these: whole numbers serve as decimals, text as paths, NumPy's numbers as
Python's."""


def convert_value(kind: Any, value: Any) -> Any:
    """A value of a type, or MISSING if it is none."""
    convert = CONVERSIONS.get(kind)
    if convert is not None:
        return convert(value)
    return value if isinstance(value, kind) else MISSING


KIND_NAMES = {
    int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path", str | float: "text or number",
    tuple[str, ...]: "text and no list of texts",
}  # fmt: skip


def describe_kind(kind: Any) -> str:
    return KIND_NAMES.get(kind, str(kind))


UNITS = re.compile(r"_(m2|m)$")
PARAMETER = re.compile(r"`([a-z_0-9]+)`")


def format_flag(name: str) -> str:
    """The flag of a parameter; its help says the unit."""
    return "--" + UNITS.sub("", name).replace("_", "-")


def show_flags(text: str, flags: Mapping[str, str]) -> str:
    """A message in which parameters stand as the command line knows them: `min_area_m2` becomes --min-area."""
    return PARAMETER.sub(lambda match: flags.get(match[1]) or format_flag(match[1]), text)
