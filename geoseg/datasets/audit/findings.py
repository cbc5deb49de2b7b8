"""What the audit finds in its records, among it ground that two splits share, and how it says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.datasets.audit.landmarks import LandmarkMatch, LandmarkSearch
from geoseg.datasets.audit.records import (
    COUNT,
    HIGHEST,
    LOWEST,
    SIZES_M2,
    SQUARES,
    TOTAL,
    AuditRecord,
    ImageFeatures,
)
from geoseg.datasets.audit.shift import Shift
from geoseg.datasets.audit.thumbnails import THUMB, compute_aspect_ratios, find_similar
from geoseg.datasets.schema import SPLITS, Dataset
from geoseg.progress import format_count

SharedKind = Literal["identical", "near-duplicate", "same ground", "overlapping"]

SHARED_SHARE = 0.001


@dataclass(frozen=True)
class SharedGround:
    """Two items (by number) that show the same ground, wholly or in part. `how` explains it to a person."""

    first: int
    second: int
    kind: SharedKind
    how: str

    @property
    def is_copy(self) -> bool:
        return self.kind in ("identical", "near-duplicate")


class GroundSearch:
    """Takes in images one by one, about a kilobyte of each, and finds those that share ground."""

    def __init__(self, folder: Path) -> None:
        self._first_of: dict[bytes, int] = {}
        self._copies: list[SharedGround] = []
        self._originals: list[int] = []
        self._thumbs = bytearray()
        self._landmarks = LandmarkSearch(folder)

    def add(self, index: int, look: AuditRecord, traces: ImageFeatures) -> None:
        """Take in an item; a copy, pixel by pixel, of an earlier one is noted and not looked at further."""
        first = self._first_of.setdefault(look.digest, index)
        if first != index:
            self._copies.append(SharedGround(first, index, "identical", "equal pixel by pixel"))
            return
        self._thumbs += traces.thumb.tobytes()
        self._landmarks.add(len(self._originals), traces.landmarks)
        self._originals.append(index)

    def found(self, looks: Sequence[AuditRecord]) -> list[SharedGround]:
        """Every pair of items that shares ground, under the strongest name it deserves."""
        pairs = {(pair.first, pair.second): pair for pair in self._copies}
        for source in (self._near_duplicates, self._same_ground, self._overlapping):
            for pair in source(looks):
                if not lie_apart(looks[pair.first], looks[pair.second]):
                    pairs.setdefault((pair.first, pair.second), pair)
        return sorted(pairs.values(), key=lambda pair: (pair.first, pair.second))

    def _near_duplicates(self, looks: Sequence[AuditRecord]) -> Iterator[SharedGround]:
        thumbs = np.frombuffer(self._thumbs, np.int8).reshape(-1, THUMB, THUMB)
        for pair in find_similar(
            thumbs, compute_aspect_ratios([looks[index].shape for index in self._originals])
        ):
            how = f"{pair.likeness:.0%} alike, perhaps turned or recoloured"
            yield SharedGround(
                self._originals[pair.first], self._originals[pair.second], "near-duplicate", how
            )

    def _same_ground(self, looks: Sequence[AuditRecord]) -> Iterator[SharedGround]:
        for match in self._landmarks.matches():
            yield SharedGround(
                self._originals[match.first],
                self._originals[match.second],
                "same ground",
                describe_match(match),
            )

    def _overlapping(self, looks: Sequence[AuditRecord]) -> Iterator[SharedGround]:
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
            yield SharedGround(int(placed[one[i]]), int(placed[other[i]]), "overlapping", how)


def lie_apart(first: AuditRecord, second: AuditRecord) -> bool:
    """Whether two images say where they lie, and have no ground in common: then they only look alike."""
    if not (first.outline and second.outline):
        return False
    return not shapely.Polygon(first.outline).intersects(shapely.Polygon(second.outline))


def describe_match(match: LandmarkMatch) -> str:
    return (
        f"{match.votes} landmarks agree that the second begins {match.rows:+d} rows and {match.cols:+d} columns "
        "from the first's corner"
    )


PAGE_FILE = "audit.png"
SUMMARY_FILE = "audit.json"
FEW = 8
"""Classes that are all listed, however little there is of them."""
LEAST_SHARE = 0.0005
"""What a tenth of a percent is rounded from."""
UNEVEN = 0.2
UNEVEN_TIMES = 2.0
SCARCE = 0.005
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know about some items (by number). A problem spoils training or its figures; a note does not."""

    kind: str
    items: tuple[int, ...]
    text: str
    is_problem: bool = True


@dataclass(frozen=True)
class PooledShift:
    """How far labels of many small images, taken together, should move. Without a place they are of the whole set."""

    place: str | None
    items: tuple[int, ...]
    east_m: float
    south_m: float


@dataclass(frozen=True)
class AuditResult:
    """What an audit found; looks stand in the order of the data set's items."""

    dataset: Dataset
    looks: tuple[AuditRecord, ...]
    shared: tuple[SharedGround, ...]
    pooled: tuple[PooledShift, ...] = ()
    done: tuple[str, ...] = ()

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Everything found, ground shared between splits first: it makes a model look better than it is."""
        found = [
            *self.ground_findings(),
            *self.item_findings(),
            *self.pooled_findings(),
            *self.split_findings(),
        ]
        return tuple(sorted(found, key=lambda finding: finding.kind != "leak"))

    @cached_property
    def problems(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.is_problem)

    @property
    def leaks(self) -> int:
        """How many pairs of items show the same ground in two splits."""
        return sum(finding.kind == "leak" for finding in self.findings)

    def item_findings(self) -> Iterator[Finding]:
        colors = find_usual_colors(self.looks)
        for index, (item, look) in enumerate(zip(self.dataset.items, self.looks, strict=True)):
            for kind, text, is_problem in (
                *find_item_problems(look, self.dataset),
                *find_odd_colors(look, self.dataset, colors),
            ):
                yield Finding(kind, (index,), f"{item.image}: {text}", is_problem)

    def ground_findings(self) -> Iterator[Finding]:
        items = self.dataset.items
        for pair in self.shared:
            first, second = items[pair.first], items[pair.second]
            leaks = first.split != second.split
            kind = "leak" if leaks else pair.kind
            splits = f" ({first.split} and {second.split}!)" if leaks else ""
            text = f"{first.image} and {second.image}{splits}: {pair.kind}, {pair.how}"
            yield Finding(kind, (pair.first, pair.second), text, leaks or pair.is_copy)

    def pooled_findings(self) -> Iterator[Finding]:
        for pool in self.pooled:
            whose = f"place {pool.place}" if pool.place else "the whole set"
            move = describe_move(pool.east_m, pool.south_m)
            text = f"{whose}: labels of {len(pool.items)} images, taken together, should move {move}"
            yield Finding("shifted", pool.items, text)

    def split_findings(self) -> Iterator[Finding]:
        for split in ("validation", "test"):
            if split in self.shares and "train" in self.shares:
                for text in compare_class_shares(
                    list_class_names(self.dataset), self.shares["train"], self.shares[split], split
                ):
                    yield Finding("label shift", (), text, is_problem=False)
        for split in ("train", "validation"):
            if split not in self.shares and self.shares:
                yield Finding(
                    "split", (), f"no usable item is of the split {split}", is_problem=split == "train"
                )

    @cached_property
    def shares(self) -> Mapping[str, NDArray[np.float64]]:
        """The share of each class in the known area of each split."""
        totals = {split: np.zeros(len(self.dataset.classes)) for split in SPLITS}
        for item, look in zip(self.dataset.items, self.looks, strict=True):
            totals[item.split] += look.counts[: len(self.dataset.classes)] * look.gsd_m**2
        return {split: total / total.sum() for split, total in totals.items() if total.sum()}

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """How many connected objects there are of each size."""
        sizes: NDArray[np.int64] = sum((look.sizes for look in self.looks), np.zeros(len(SIZES_M2), np.int64))
        return sizes

    @cached_property
    def band_statistics(self) -> list[dict[str, float | str]]:
        """Mean, standard deviation and range of each band over all pixels whose label is known."""
        known = [look.bands for look in self.looks if look.bands.shape[1] and look.bands[COUNT].all()]
        if not known:
            return []
        count, total, squares = (sum(bands[row] for bands in known) for row in (COUNT, TOTAL, SQUARES))
        means = total / count
        deviations = np.sqrt(np.maximum(squares / count - means**2, 0))
        lowest = np.min([bands[LOWEST] for bands in known], axis=0)
        highest = np.max([bands[HIGHEST] for bands in known], axis=0)
        rows = np.round([means, deviations, lowest, highest], 4).T.tolist()
        return [
            {"band": band, **dict(zip(("mean", "std", "min", "max"), row, strict=True))}
            for band, row in zip(self.dataset.bands, rows, strict=True)
        ]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Everything, for programs."""
        dataset = self.dataset
        splits = Counter(item.split for item in dataset.items)
        return {
            "name": dataset.name,
            "licence": dataset.licence,
            "source": dataset.source,
            "items": {split: splits[split] for split in SPLITS},
            "places": sorted({item.place for item in dataset.items}),
            "area_km2": round(sum(look.area_km2 for look in self.looks), 4),
            "class_shares": {
                split: dict(zip(list_class_names(dataset), np.round(share, 4).tolist(), strict=True))
                for split, share in self.shares.items()
            },
            "object_sizes_m2": dict(zip(map(str, SIZES_M2), self.sizes.tolist(), strict=True)),
            "bands": self.band_statistics,
            "leaks": self.leaks,
            "problems": [finding.text for finding in self.problems],
            "notes": [finding.text for finding in self.findings if not finding.is_problem],
            "done": list(self.done),
        }

    @property
    def lines(self) -> list[str]:
        """Everything that matters, for people."""
        summary = self.summary
        counts = ", ".join(f"{count} {split}" for split, count in summary["items"].items() if count)
        lines = [
            f"{self.dataset.folder}: {counts}; {summary['area_km2']:g} km²; licence {self.dataset.licence}"
        ]
        for split, shares in summary["class_shares"].items():
            lines.append(f"  {split}: {format_shares(shares)}")
        lines += [
            f"  {each['band']}: mean {each['mean']}, std {each['std']}, {each['min']} to {each['max']}"
            for each in self.band_statistics
        ]
        lines += limit_lines("Problem: ", summary["problems"]) + limit_lines("Note: ", summary["notes"])
        counted = ", ".join(format_count(len(summary[f"{kind}s"]), kind) for kind in ("problem", "note"))
        return [*lines, *limit_lines("", self.done), f"{counted}; look at {self.dataset.folder / PAGE_FILE}"]


def format_shares(shares: Mapping[str, float]) -> str:
    """How much of the ground each class covers; those that are hardly there are only counted."""
    told = [
        f"{name} {share:.1%}" for name, share in shares.items() if share >= LEAST_SHARE or len(shares) <= FEW
    ]
    rest = len(shares) - len(told)
    return ", ".join(told) + (f", and {rest} classes of less than {LEAST_SHARE:.2%}" if rest else "")


def list_class_names(dataset: Dataset) -> list[str]:
    return [each.name for each in dataset.classes]


def limit_lines(before: str, texts: Sequence[str]) -> list[str]:
    more = [f"... and {len(texts) - SHOWN} more, in {SUMMARY_FILE}"] if len(texts) > SHOWN else []
    return [before + text for text in texts[:SHOWN]] + more


def compare_class_shares(
    classes: Sequence[str], train: NDArray[np.float64], other: NDArray[np.float64], split: str
) -> Iterator[str]:
    """Where a split's classes are so unlike those of training that its scores say little."""
    gap = np.abs(other - train).sum() / 2
    if gap > UNEVEN:
        yield f"classes differ between train and {split} by {gap:.0%} of the area"
    for name, one, two in zip(classes, train, other, strict=True):
        if max(one, two) > SCARCE and max(one, two) > UNEVEN_TIMES * min(one, two):
            yield f"{name} covers {one:.1%} of train but {two:.1%} of {split}"


def find_item_problems(look: AuditRecord, dataset: Dataset) -> Iterator[tuple[str, str, bool]]:
    """What is wrong with one item: kind, words, and whether it is a problem."""
    if look.error:
        yield "unreadable", look.error, True
        return
    classes, counts, total = len(dataset.classes), look.counts, int(look.pixels.sum())
    unknown = [value for value in look.values.tolist() if value >= classes and value != dataset.ignore]
    if unknown:
        yield "unknown value", f"its label holds {', '.join(map(str, unknown[:5]))}, which is no class", True
    if counts[dataset.ignore] == total:
        yield "empty", "nothing of its label is known", True
    elif counts[0] + counts[dataset.ignore] == total and classes > 1:
        yield "empty", f"its label holds nothing but {dataset.classes[0].name}", False
    if look.is_flat:
        yield "empty", "the image shows one value everywhere", True
    if look.shift and look.shift.is_notable:
        yield "shifted", describe_shift(look.shift), True
    elif look.shift and look.shift.is_coarse:
        stray, blocks = look.shift.stray_blocks, look.shift.blocks
        text = f"labels stray from the image's edges, here and there, in {stray} of {blocks} blocks"
        yield "coarse", text, False


def find_usual_colors(looks: Sequence[AuditRecord]) -> Mapping[int, str]:
    """The colour that most of the labels' own colour tables give each value."""
    votes: dict[int, Counter[str]] = {}
    for look in looks:
        for value, color in look.palette.items():
            votes.setdefault(value, Counter())[color] += 1
    return {value: counter.most_common(1)[0][0] for value, counter in votes.items()}


def find_odd_colors(
    look: AuditRecord, dataset: Dataset, usual: Mapping[int, str]
) -> Iterator[tuple[str, str, bool]]:
    """Where a label's own colour table says that its values mean other classes than the data set thinks."""
    class_of = {each.color.lower(): each.name for each in dataset.classes}
    for value, color in look.palette.items():
        named = class_of.get(color)
        if value < len(dataset.classes) and named not in (None, dataset.classes[value].name):
            text = f"its colour table shows value {value} as {color}, the colour of {named}, not of "
            yield "colour table", text + dataset.classes[value].name, True
        elif color != usual[value]:
            yield (
                "colour table",
                f"value {value} is {color} in its colour table, {usual[value]} in most",
                True,
            )


def describe_shift(shift: Shift) -> str:
    move = describe_move(shift.east_m, shift.south_m)
    if shift.is_constant:
        return f"labels should move {move} to lie on the image's edges"
    return (
        f"labels are off the image's edges in {shift.stray_blocks} of {shift.blocks} blocks, by about {move}"
    )


def describe_move(east: float, south: float) -> str:
    return f"{abs(east):.1f} m {'east' if east >= 0 else 'west'} and {abs(south):.1f} m {'south' if south >= 0 else 'north'}"
