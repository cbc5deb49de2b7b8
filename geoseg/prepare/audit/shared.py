"""Which images show the same ground: the same file twice, the same picture again, a crop of it, or by their place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import fft

from geoseg.prepare.audit.landmarks import Match, matches
from geoseg.prepare.audit.look import Look

Kind = Literal["identical", "near-duplicate", "same ground", "overlapping"]

LOW = 9
BUCKET = 64
LIKENESS = 0.93
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


def shared_ground(looks: Sequence[Look]) -> list[Shared]:
    """Every pair of items that shares ground, under the strongest name it deserves."""
    found: dict[tuple[int, int], Shared] = {}
    usable = [index for index, look in enumerate(looks) if look.trouble is None]
    originals: list[int] = []
    for pair in identical(looks, usable, originals):
        found.setdefault((pair.first, pair.second), pair)
    for source in (near_duplicates, same_ground, overlapping):
        for pair in source(looks, originals):
            found.setdefault((pair.first, pair.second), pair)
    return sorted(found.values(), key=lambda pair: (pair.first, pair.second))


def identical(looks: Sequence[Look], usable: Iterable[int], originals: list[int]) -> Iterator[Shared]:
    """Images equal pixel by pixel; the first of each is noted among the originals."""
    first_of: dict[tuple[str, tuple[int, int]], int] = {}
    for index in usable:
        first = first_of.setdefault((looks[index].digest, looks[index].shape), index)
        if first == index:
            originals.append(index)
        else:
            yield Shared(first, index, "identical", "equal pixel by pixel")


def near_duplicates(looks: Sequence[Look], originals: Sequence[int]) -> Iterator[Shared]:
    """Images that look the same when seen small, also turned or mirrored."""
    thumbs = {index: thumb for index in originals if (thumb := looks[index].thumb) is not None}
    known: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for index, thumb in thumbs.items():
        candidates: set[int] = set()
        for turned in orientations(thumb):
            for key in hash_parts(turned):
                candidates.update(known[key][:BUCKET])
        for other in sorted(candidates):
            likeness = max(float((each * thumbs[other]).mean()) for each in orientations(thumb))
            if likeness > LIKENESS and similar_shape(looks[index], looks[other]):
                yield Shared(
                    other, index, "near-duplicate", f"{likeness:.0%} alike, perhaps turned or recoloured"
                )
        for key in hash_parts(thumb):
            known[key].append(index)


def orientations(thumb: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [np.rot90(side, turns) for side in (thumb, thumb[:, ::-1]) for turns in range(4)]


def hash_parts(thumb: NDArray[np.float32]) -> list[tuple[int, int]]:
    """A perceptual hash in four parts: near-duplicates agree in at least one of them."""
    waves = fft.dctn(thumb, norm="ortho")[:LOW, :LOW].ravel()[1 : 1 + 64]
    bits = np.packbits(waves > np.median(waves)).view(np.uint16)
    return [(part, int(value)) for part, value in enumerate(bits)]


def similar_shape(one: Look, other: Look) -> bool:
    ratios = sorted((one.shape[0] / one.shape[1], other.shape[0] / other.shape[1]))
    return ratios[1] / ratios[0] < 1.1 or ratios[1] * ratios[0] > 0.9


def same_ground(looks: Sequence[Look], originals: Sequence[int]) -> Iterator[Shared]:
    """Crops and neighbours that landmarks give away."""
    marked = [index for index in originals if looks[index].landmarks is not None]
    for match in matches([marks for index in marked if (marks := looks[index].landmarks)]):
        first, second = marked[match.first], marked[match.second]
        yield Shared(first, second, "same ground", told(match, looks[first], looks[second]))


def told(match: Match, first: Look, second: Look) -> str:
    return (
        f"{match.votes} landmarks agree that the second begins {match.rows:+d} rows and {match.cols:+d} columns "
        "from the first's corner"
    )


def overlapping(looks: Sequence[Look], originals: Sequence[int]) -> Iterator[Shared]:
    """Images whose georeferences overlap."""
    placed = [index for index in originals if looks[index].outline]
    outlines = shapely.polygons([looks[index].outline for index in placed]) if placed else np.array([])
    tree = shapely.STRtree(outlines)
    for one, other in tree.query(outlines, predicate="intersects").T if len(outlines) else ():
        if one < other:
            share = outlines[one].intersection(outlines[other]).area / min(
                outlines[one].area, outlines[other].area
            )
            if share > SHARED_SHARE:
                how = f"{share:.1%} of the smaller one lies in the other on the map"
                yield Shared(placed[one], placed[other], "overlapping", how)
