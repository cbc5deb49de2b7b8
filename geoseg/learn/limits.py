"""Which numbers can be meant by a setting or by a parameter of a loss. What is no number, or endless, never can."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import nextafter


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
