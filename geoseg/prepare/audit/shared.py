"""Which images show the same ground: the same file twice, the same picture again, a crop of it, or by their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import shapely

from geoseg.prepare.audit.landmarks import LandmarkSearch, Match
from geoseg.prepare.audit.likeness import THUMB, alike, ratios_of
from geoseg.prepare.audit.look import Look, Traces

Kind = Literal["identical", "near-duplicate", "same ground", "overlapping"]

SHARED_SHARE = 0.001


@dataclass(frozen=True)
class Shared:
    """Two items (by number) that show the same ground, wholly or in part. `how` explains it to a person."""

    first: int
    second: int
    kind: Kind
    how: str

    @property
    def is_copy(self) -> bool:
        return self.kind in ("identical", "near-duplicate")


class GroundSearch:
    """Takes in images one by one, about a kilobyte of each, and finds those that share ground."""

    def __init__(self, folder: Path) -> None:
        self._first_of: dict[bytes, int] = {}
        self._copies: list[Shared] = []
        self._originals: list[int] = []
        self._thumbs = bytearray()
        self._landmarks = LandmarkSearch(folder)

    def add(self, index: int, look: Look, traces: Traces) -> None:
        """Take in an item; a copy, pixel by pixel, of an earlier one is noted and not looked at further."""
        first = self._first_of.setdefault(look.digest, index)
        if first != index:
            self._copies.append(Shared(first, index, "identical", "equal pixel by pixel"))
            return
        self._thumbs += traces.thumb.tobytes()
        self._landmarks.add(len(self._originals), traces.landmarks)
        self._originals.append(index)

    def found(self, looks: Sequence[Look]) -> list[Shared]:
        """Every pair of items that shares ground, under the strongest name it deserves."""
        pairs = {(pair.first, pair.second): pair for pair in self._copies}
        for source in (self._near_duplicates, self._same_ground, self._overlapping):
            for pair in source(looks):
                pairs.setdefault((pair.first, pair.second), pair)
        return sorted(pairs.values(), key=lambda pair: (pair.first, pair.second))

    def _near_duplicates(self, looks: Sequence[Look]) -> Iterator[Shared]:
        thumbs = np.frombuffer(self._thumbs, np.int8).reshape(-1, THUMB, THUMB)
        for pair in alike(thumbs, ratios_of([looks[index].shape for index in self._originals])):
            how = f"{pair.likeness:.0%} alike, perhaps turned or recoloured"
            yield Shared(self._originals[pair.first], self._originals[pair.second], "near-duplicate", how)

    def _same_ground(self, looks: Sequence[Look]) -> Iterator[Shared]:
        for match in self._landmarks.matches():
            yield Shared(
                self._originals[match.first], self._originals[match.second], "same ground", told(match)
            )

    def _overlapping(self, looks: Sequence[Look]) -> Iterator[Shared]:
        placed = np.array([index for index in self._originals if looks[index].outline], int)
        if not len(placed):
            return
        outlines = shapely.polygons([looks[index].outline for index in placed])
        one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
        one, other = one[one < other], other[one < other]
        smaller = np.minimum(shapely.area(outlines[one]), shapely.area(outlines[other]))
        common = shapely.area(shapely.intersection(outlines[one], outlines[other])) / smaller
        for i in np.nonzero(common > SHARED_SHARE)[0].tolist():
            how = f"{common[i]:.1%} of the smaller one lies in the other on the map"
            yield Shared(int(placed[one[i]]), int(placed[other[i]]), "overlapping", how)


def told(match: Match) -> str:
    return (
        f"{match.votes} landmarks agree that the second begins {match.rows:+d} rows and {match.cols:+d} columns "
        "from the first's corner"
    )
