"""What an option is: its name, type, default, help and the values that it may have.

Options of a command are the fields of one frozen dataclass; flags, TOML keys and keyword arguments all come from it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from math import nextafter
from typing import Any, Literal, get_args, get_origin

from geoseg.errors import InputError


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
BELOW_ONE = Limits("a number from 0 to below 1", 0, nextafter(1, 0))
FINITE = Limits("a finite number", -sys.float_info.max)


def define_option(default: Any, meaning: str, limits: Limits | None = None) -> Any:
    return field(default=default, metadata={"help": meaning, "limits": limits})


def convert_option(kind: Any, value: Any, place: str) -> Any:
    """A value of a setting's type; whole numbers serve as decimals."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InputError(f"{place} is {value!r}; give one of {', '.join(get_args(kind))}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{place} is {value!r}, which is no {kind.__name__}")
    return value


def format_flag(name: str) -> str:
    return "--" + name.replace("_", "-")
