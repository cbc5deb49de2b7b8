"""Which places train, which validate and which test."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from geoseg.errors import InputError
from geoseg.prepare.dataset import Split


@dataclass(frozen=True)
class SplitRule:
    """Named places go where they are named; of the rest a share validates. The same places always fall the same way."""

    validation: Collection[str] = ()
    test: Collection[str] = ()
    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InputError(f"--validation-share {self.share:g}: must be from 0 to below 1")
        both = set(self.validation) & set(self.test)
        if both:
            raise InputError(f"place {min(both)} is named for validation and for test")

    def of(self, places: Collection[str]) -> Mapping[str, Split]:
        """The split of each place."""
        for named in (*self.validation, *self.test):
            if named not in places:
                raise InputError(f"{named}: no such place; there are {', '.join(sorted(set(places))[:12])}")
        free = sorted(set(places) - set(self.validation) - set(self.test), key=shuffled)
        count = 0 if self.validation else round(self.share * len(free))
        validating = {*self.validation, *free[:count]}
        return {name: split_of(name, validating, self.test) for name in places}


def shuffled(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()


def split_of(place: str, validation: Collection[str], test: Collection[str]) -> Split:
    if place in test:
        return "test"
    return "validation" if place in validation else "train"
