"""The audit of a data set: what it holds, and everything that would spoil training on it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.narrator import QUIET, Narrator
from geoseg.prepare.audit.look import SIZES_M2, Look, look_at
from geoseg.prepare.audit.page import write_page
from geoseg.prepare.audit.shared import Shared, shared_ground
from geoseg.prepare.audit.shift import Shift
from geoseg.prepare.dataset import SPLITS, Dataset
from geoseg.prepare.making import Workshop

PAGE = "audit.png"
RECORD = "audit.json"
UNEVEN = 0.2
SHOWN = 12


@dataclass(frozen=True)
class Finding:
    """Something to know about some items (by number). A problem spoils training or its figures; a note does not."""

    kind: str
    items: tuple[int, ...]
    text: str
    is_problem: bool = True


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    dataset: Dataset
    looks: tuple[Look, ...]
    shared: tuple[Shared, ...]
    done: tuple[str, ...] = ()

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.item_findings(), *self.ground_findings(), *self.split_findings())

    @property
    def problems(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.is_problem)

    def item_findings(self) -> Iterator[Finding]:
        for index, look in enumerate(self.looks):
            for kind, text, is_problem in troubles(look, self.dataset):
                yield Finding(kind, (index,), f"{look.item.image}: {text}", is_problem)

    def ground_findings(self) -> Iterator[Finding]:
        items = self.dataset.items
        for pair in self.shared:
            first, second = items[pair.first], items[pair.second]
            leaks = first.split != second.split
            kind = "leak" if leaks else pair.kind
            splits = f" ({first.split} and {second.split}!)" if leaks else ""
            text = f"{first.image} and {second.image}{splits}: {pair.kind}, {pair.how}"
            yield Finding(kind, (pair.first, pair.second), text, leaks or pair.is_copy)

    def split_findings(self) -> Iterator[Finding]:
        shares = self.shares
        if "train" in shares:
            for split in shares.keys() - {"train"}:
                gap = np.abs(shares[split] - shares["train"]).sum() / 2
                if gap > UNEVEN:
                    text = f"classes differ between train and {split} by {gap:.0%} of the area"
                    yield Finding("label shift", (), text, is_problem=False)

    @cached_property
    def shares(self) -> Mapping[str, NDArray[np.float64]]:
        """The share of each class in the known area of each split."""
        totals = {split: np.zeros(len(self.dataset.classes)) for split in SPLITS}
        for look in self.looks:
            area = look.counts[: len(self.dataset.classes)] * look.gsd_m**2
            totals[look.item.split] += area
        return {split: total / total.sum() for split, total in totals.items() if total.sum()}

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many connected objects there are of each size."""
        empty = np.zeros(len(SIZES_M2), np.int64)
        return np.sum([look.sizes for look in self.looks], axis=0) if self.looks else empty

    @property
    def band_statistics(self) -> list[dict[str, float | str]]:
        """Mean and standard deviation of each band over the whole set."""
        count = len(self.dataset.bands)
        sums = np.sum(
            [look.sums for look in self.looks if look.sums.shape[1] == count] or [np.zeros((3, count))],
            axis=0,
        )
        pixels = np.maximum(sums[0], 1)
        means = sums[1] / pixels
        deviations = np.sqrt(np.maximum(sums[2] / pixels - means**2, 0))
        return [
            {"band": band, "mean": round(float(mean), 4), "std": round(float(std), 4)}
            for band, mean, std in zip(self.dataset.bands, means, deviations, strict=True)
        ]

    @property
    def summary(self) -> dict[str, Any]:
        """Everything, for programs."""
        dataset = self.dataset
        return {
            "name": dataset.name,
            "licence": dataset.licence,
            "source": dataset.source,
            "items": {split: len(dataset.split(split)) for split in SPLITS},
            "places": sorted({item.place for item in dataset.items}),
            "area_km2": round(sum(area_km2(look) for look in self.looks), 4),
            "class_shares": {
                split: dict(zip(names(dataset), np.round(share, 4).tolist(), strict=True))
                for split, share in self.shares.items()
            },
            "object_sizes_m2": dict(zip(map(str, SIZES_M2), self.sizes.tolist(), strict=True)),
            "bands": self.band_statistics,
            "problems": [finding.text for finding in self.problems],
            "notes": [finding.text for finding in self.findings if not finding.is_problem],
            "done": list(self.done),
        }

    @property
    def lines(self) -> list[str]:
        """Everything that matters, for people."""
        summary = self.summary
        counts = ", ".join(f"{count} {split}" for split, count in summary["items"].items() if count)
        lines = [f"{self.dataset.folder}: {counts}; {summary['area_km2']:g} km²; {self.dataset.licence}"]
        for split, shares in summary["class_shares"].items():
            lines.append(f"  {split}: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
        lines += shortened("Problem", summary["problems"]) + shortened("Note", summary["notes"])
        return [
            *lines, *self.done,
            f"{len(summary['problems'])} problems, {len(summary['notes'])} notes; look at {self.dataset.folder / PAGE}",
        ]  # fmt: skip


def names(dataset: Dataset) -> list[str]:
    return [each.name for each in dataset.classes]


def area_km2(look: Look) -> float:
    return look.shape[0] * look.shape[1] * look.gsd_m**2 / 1e6


def shortened(word: str, texts: Sequence[str]) -> list[str]:
    more = [f"... and {len(texts) - SHOWN} more, in {RECORD}"] if len(texts) > SHOWN else []
    return [f"{word}: {text}" for text in texts[:SHOWN]] + more


def troubles(look: Look, dataset: Dataset) -> Iterator[tuple[str, str, bool]]:
    """What is wrong with one item: kind, words, and whether it is a problem."""
    if look.trouble:
        yield "unreadable", look.trouble, True
        return
    classes, total = len(dataset.classes), int(look.counts.sum())
    unknown = [v for v in np.nonzero(look.counts)[0].tolist() if v >= classes and v != dataset.ignore]
    if unknown:
        yield "unknown value", f"its label holds {', '.join(map(str, unknown[:5]))}, which is no class", True
    if look.counts[dataset.ignore] == total:
        yield "empty", "nothing of its label is known", True
    elif look.counts[0] + look.counts[dataset.ignore] == total and classes > 1:
        yield "empty", f"its label holds nothing but {dataset.classes[0].name}", False
    if look.is_flat:
        yield "empty", "the image shows one value everywhere", True
    if look.shift and look.shift.is_notable:
        yield "shifted", shift_words(look.shift), True
    elif look.shift and look.shift.is_coarse:
        stray, blocks = look.shift.stray_blocks, look.shift.blocks
        yield (
            "coarse",
            f"labels stray from the image's edges, here and there, in {stray} of {blocks} blocks",
            False,
        )


def shift_words(shift: Shift) -> str:
    east, south = shift.east_m, shift.south_m
    move = f"{abs(east):.1f} m {'east' if east >= 0 else 'west'} and {abs(south):.1f} m {'south' if south >= 0 else 'north'}"
    if shift.is_constant:
        return f"labels should move {move} to lie on the image's edges"
    return (
        f"labels are off the image's edges in {shift.stray_blocks} of {shift.blocks} blocks, by about {move}"
    )


def audit(dataset: Dataset, workers: int | None = None, narrator: Narrator = QUIET) -> Audit:
    """Look through a data set; leaves `audit.png` to look at and `audit.json` beside `dataset.toml`."""
    bench = Workshop(dataset.folder, workers, narrator=narrator)
    calls = [{"dataset": bare(dataset), "item": item} for item in dataset.items]
    looks = bench.all_done("Auditing", look_at, calls)
    audited = Audit(dataset, tuple(looks), tuple(shared_ground(looks)))
    write_results(audited)
    return audited


def bare(dataset: Dataset) -> Dataset:
    """The data set without its items, light enough to send along with each of them."""
    return replace(dataset, items=())


def write_results(audited: Audit) -> None:
    record = audited.dataset.folder / RECORD
    unfinished = record.with_name(f".{RECORD}.{os.getpid()}")
    unfinished.write_text(json.dumps(audited.summary, indent=1, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(record)
    write_page(audited, audited.dataset.folder / PAGE)
