"""Shares of the work, for any batch system: each is done by a command of its own, the last command joins them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from geoseg.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """One of `count` shares, numbered from 1 on."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """A shard as it is given: 3/100."""
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
        number, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= count:
            raise InputError(
                f"`shard` {text}: give the number of a share and how many there are, 1/3 to 3/3 say"
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """As it can stand in the name of a file."""
        return f"shard-{self.number}-of-{self.count}"

    def take_run(self, items: Sequence[T]) -> Sequence[T]:
        """Its part of things that are done best together with their neighbours."""
        return items[(self.number - 1) * len(items) // self.count : self.number * len(items) // self.count]

    def take_every(self, items: Sequence[T]) -> Sequence[T]:
        """Its part of things that know nothing of each other; neighbours, often alike in size, go to different shares."""
        return items[self.number - 1 :: self.count]
