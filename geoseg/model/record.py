"""Frozen dataclasses from JSON: every value is checked against its field's type, every complaint names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

CALLED = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}


def require(condition: bool, complaint: str) -> None:
    """Refuse a value that breaks a rule."""
    if not condition:
        raise ValueError(complaint)


def read_record(kind: type[T], raw: object, place: str = "") -> T:
    """A dataclass from a JSON object; `place` is the object's own place in the document, such as `scaling.`"""
    given = typed(dict, raw, place.rstrip(".") or "the document")
    hints = get_type_hints(kind)
    for name in given:
        require(name in hints, f"unknown field {place + name!r}; known are {', '.join(sorted(hints))}")
    for name in needed(kind):
        require(name in given, f"{place}{name} is missing")
    return kind(**{name: value_of(hints[name], value, place + name) for name, value in given.items()})


def needed(kind: type[Any]) -> list[str]:
    return [
        entry.name for entry in fields(kind) if entry.default is MISSING and entry.default_factory is MISSING
    ]


def value_of(kind: Any, raw: Any, place: str) -> Any:
    """A JSON value as a field's type wants it."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return raw
    if is_dataclass(kind):
        return read_record(kind, raw, f"{place}.")  # type: ignore[arg-type]
    if origin is tuple:
        return items(inner, raw, place)
    if origin is Mapping:
        return {
            key: value_of(inner[1], value, f"{place}.{key}") for key, value in typed(dict, raw, place).items()
        }
    if origin is Literal:
        require(raw in inner, f"{place} is {raw!r}, not {' or '.join(inner)}")
        return raw
    return number(raw, place) if kind is float else typed(kind, raw, place)


def items(kinds: tuple[Any, ...], raw: Any, place: str) -> tuple[Any, ...]:
    """A list: of any length where its type ends in an ellipsis, else of one."""
    entries = typed(list, raw, place)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(entries)
    require(len(entries) == len(kinds), f"{place} has {len(entries)} entries, not {len(kinds)}")
    return tuple(
        value_of(kind, entry, f"{place}[{i}]")
        for i, (kind, entry) in enumerate(zip(kinds, entries, strict=True))
    )


def number(raw: Any, place: str) -> float:
    value = float(raw) if isinstance(raw, int) and not isinstance(raw, bool) else typed(float, raw, place)
    require(math.isfinite(value), f"{place} is {value}, not a number to reckon with")
    return value


def typed(kind: type[T], raw: Any, place: str) -> T:
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        raise ValueError(f"{place} is {str(raw)[:40]!r}, not {CALLED[kind]}")
    return raw
