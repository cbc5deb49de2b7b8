"""Records that people write in JSON or TOML, as frozen dataclasses whose every value is checked.

No library does it: msgspec cannot refuse unknown fields of dataclasses, pydantic adds 0.1 s to the start, and neither is on
machines that only train.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from geoseg.errors import InputError

T = TypeVar("T")

TYPE_NAMES = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}


def parse_json(text: str | bytes) -> Any:
    """What a text in JSON says; one that is nested deeper than Python can follow has a fault like others."""
    try:
        value = json.loads(text)
        refuse_half_characters(value)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def refuse_half_characters(value: Any) -> None:
    """Refuse text that no file can hold: JSON can name half of a character, as `\\ud800` alone."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds half of a character, {error.object[error.start]!r}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """What a text in TOML says; one that is nested deeper than Python can follow has a fault like others."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def require(condition: bool, complaint: str) -> None:
    """Refuse a value that breaks a rule."""
    if not condition:
        raise InputError(complaint)


def read_record(kind: type[T], raw: object, place: str = "") -> T:
    """A dataclass from an object of JSON or a table of TOML; `place` is its own place in the document, as `scaling.`"""
    given = check_type(dict, raw, place.rstrip(".") or "the document")
    hints = find_types(cast("Hashable", kind))
    for name in given:
        require(name in hints, f"unknown field {place + name!r}; known are {', '.join(sorted(hints))}")
    for name in list_required(kind):
        require(name in given, f"{place}{name} is missing")
    return kind(**{name: convert_value(hints[name], value, place + name) for name, value in given.items()})


@cache
def find_types(kind: Hashable) -> Mapping[str, Any]:
    return get_type_hints(kind)


def list_required(kind: type[Any]) -> list[str]:
    return [
        entry.name for entry in fields(kind) if entry.default is MISSING and entry.default_factory is MISSING
    ]


def convert_value(kind: Any, raw: Any, place: str) -> Any:
    """A value as a field's type wants it."""
    if get_origin(kind) is UnionType:
        kind = get_args(kind)[0]  # None: left out
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return raw
    if is_dataclass(kind):
        return read_record(kind, raw, f"{place}.")  # type: ignore[arg-type]
    if origin is tuple:
        return convert_items(inner, raw, place)
    if origin is Mapping:
        return {
            key: convert_value(inner[1], value, f"{place}.{key}")
            for key, value in check_type(dict, raw, place).items()
        }
    if origin is Literal:
        require(raw in inner, f"{place} is {raw!r}, not {' or '.join(inner)}")
        return raw
    return convert_number(raw, place) if kind is float else check_type(kind, raw, place)


def convert_items(kinds: tuple[Any, ...], raw: Any, place: str) -> tuple[Any, ...]:
    """A list: of any length where its type ends in an ellipsis, else of one."""
    entries = check_type(list, raw, place)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(entries)
    require(len(entries) == len(kinds), f"{place} has {len(entries)} entries, not {len(kinds)}")
    return tuple(
        convert_value(kind, entry, f"{place}[{i}]")
        for i, (kind, entry) in enumerate(zip(kinds, entries, strict=True))
    )


def convert_number(raw: Any, place: str) -> float:
    whole = isinstance(raw, int) and not isinstance(raw, bool)
    try:
        value = float(raw) if whole else check_type(float, raw, place)
    except OverflowError:
        value = math.inf
    require(math.isfinite(value), f"{place} is {shorten_number(raw)}, not a finite number")
    return value


def shorten_number(raw: Any) -> str:
    """A number in a line; Python refuses to write out whole numbers of thousands of digits."""
    return (
        f"a number of {raw.bit_length()} bits" if isinstance(raw, int) and raw.bit_length() > 64 else str(raw)
    )


def check_type(kind: type[T], raw: Any, place: str) -> T:
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        shown = shorten_number(raw) if isinstance(raw, int) else str(raw)[:40]
        raise InputError(f"{place} is {shown!r}, not {TYPE_NAMES.get(kind, kind.__name__)}")
    return raw
