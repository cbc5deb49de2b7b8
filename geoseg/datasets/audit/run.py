"""The audit of a data set from its first image to its report, and the repairs that `fix` makes."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.datasets.audit.content import gather_content
from geoseg.datasets.audit.findings import (
    PAGE_FILE,
    SUMMARY_FILE,
    AuditResult,
    GroundSearch,
    PooledShift,
    SharedGround,
)
from geoseg.datasets.audit.page import write_page
from geoseg.datasets.audit.records import AuditRecord, ImageFeatures, inspect_item
from geoseg.datasets.audit.shift import AgreementPool
from geoseg.datasets.builder import DatasetBuilder
from geoseg.datasets.options import Split
from geoseg.datasets.schema import DATASET_FILE, SPLITS, Dataset, Item, write_dataset
from geoseg.errors import InputError
from geoseg.io.atomic import explain_write_errors, replace_text
from geoseg.io.staging import make_staging_folder, sweep_staging_folders
from geoseg.progress import format_count

log = logging.getLogger(__name__)

UNUSABLE = {"unreadable", "unknown value", "empty"}


def fix_dataset(audited: AuditResult, workers: int | None = None) -> AuditResult:
    """Write the data set without what spoils it; the former `dataset.toml` stays beside it."""
    folder = audited.dataset.folder
    reasons = choose_items_to_drop(audited)
    kept = [index for index in range(len(audited.looks)) if index not in reasons]
    if not kept:
        raise InputError(f"{folder}: nothing usable would be left; mend the data set's source")
    items, moved = unite_splits(audited.dataset.items, kept, audited.shared)
    done = describe_changes(audited.dataset.items, reasons, moved)
    if done:
        former = find_unused_path(folder)
        shutil.copyfile(folder / DATASET_FILE, former)
        write_dataset(replace(audited.dataset, items=tuple(items)), folder)
        done = (*done, f"The former {DATASET_FILE} is kept as {former.name}; no image or label was deleted")
    mended = keep_items(audited, kept, items, done or ("Nothing had to be changed",))
    write_audit(mended, DatasetBuilder(folder, workers))
    return mended


def choose_items_to_drop(audited: AuditResult) -> dict[int, str]:
    """The items to leave out, by number, and why."""
    items = audited.dataset.items
    reasons = {
        index: finding.text.removeprefix(f"{items[index].image}: ")
        for finding in audited.problems
        if finding.kind in UNUSABLE
        for index in finding.items
    }
    return choose_copies_to_drop(items, [pair for pair in audited.shared if pair.is_copy], reasons) | reasons


def choose_copies_to_drop(
    items: Sequence[Item], pairs: Sequence[SharedGround], unusable: Collection[int]
) -> dict[int, str]:
    """All but one of each picture: a copy used for testing stays rather than one used for training."""
    drops: dict[int, str] = {}
    for group in group_linked(len(items), [(pair.first, pair.second) for pair in pairs]):
        usable = [index for index in group if index not in unusable]
        if len(usable) > 1:
            stays = max(usable, key=lambda index: (SPLITS.index(items[index].split), -index))
            drops |= {index: f"a copy of {items[stays].image}" for index in usable if index != stays}
    return drops


def group_linked(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Numbers below `count` that pairs link, directly or through others; those alone are left out."""
    if not pairs:
        return []
    one, other = np.array(pairs).T
    _, group = connected_components(coo_array((np.ones(len(pairs)), (one, other)), shape=(count, count)))
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.nonzero(np.diff(group[order]))[0] + 1)
    return [part.tolist() for part in parts if len(part) > 1]


def unite_splits(
    items: Sequence[Item], kept: Sequence[int], shared: Iterable[SharedGround]
) -> tuple[list[Item], dict[str, Split]]:
    """Let places with common ground share a split: the one most of their items are in, training if in doubt.

    No split that had items loses all of them, as long as there are groups of places enough.
    """
    staying = set(kept)
    votes = {place: Counter[Split]() for place in dict.fromkeys(items[index].place for index in kept)}
    for index in kept:
        votes[items[index].place][items[index].split] += 1
    number = {place: i for i, place in enumerate(votes)}
    links = [
        (number[items[pair.first].place], number[items[pair.second].place])
        for pair in shared
        if pair.first in staying and pair.second in staying
    ]
    split_of = {items[index].place: items[index].split for index in kept}
    names = list(votes)
    linked = group_linked(len(names), links)
    alone = set(range(len(names))) - {i for group in linked for i in group}
    groups = [[names[i] for i in group] for group in [*linked, *([i] for i in sorted(alone))]]
    ballots = [sum((votes[place] for place in group), Counter[Split]()) for group in groups]
    chosen = fill_splits([max(SPLITS, key=counted.__getitem__) for counted in ballots], ballots)
    splits = {place: split for group, split in zip(groups, chosen, strict=True) for place in group}
    moved = {place: split for place, split in splits.items() if split != split_of[place]}
    return [replace(items[index], split=splits[items[index].place]) for index in kept], moved


def fill_splits(chosen: Sequence[Split], ballots: Sequence[Counter[Split]]) -> list[Split]:
    """Choices in which no split that had items is left empty: the smallest group that has some of them goes back."""
    filled = list(chosen)
    for split in SPLITS:
        candidates = [
            index
            for index, counted in enumerate(ballots)
            if counted[split] and filled.count(filled[index]) > 1
        ]
        if split not in filled and candidates:
            filled[min(candidates, key=lambda index: ballots[index].total())] = split
    return filled


def describe_changes(
    items: Sequence[Item], reasons: Mapping[int, str], moved: Mapping[str, Split]
) -> tuple[str, ...]:
    drops = [f"Dropped {items[index].image}: {reason}" for index, reason in sorted(reasons.items())]
    moves = [f"Moved place {place} to {split}" for place, split in sorted(moved.items())]
    return tuple(drops + moves)


def find_unused_path(folder: Path) -> Path:
    """A name for the former `dataset.toml` that nothing has yet."""
    names = ("dataset.before-fix.toml", *(f"dataset.before-fix-{number}.toml" for number in range(2, 10_000)))
    return next(path for name in names if not (path := folder / name).exists())


def keep_items(
    audited: AuditResult, kept: Sequence[int], items: Sequence[Item], done: tuple[str, ...]
) -> AuditResult:
    """What the audit found about the items that stay."""
    number = {old: new for new, old in enumerate(kept)}
    return AuditResult(
        replace(audited.dataset, items=tuple(items)),
        tuple(audited.looks[index] for index in kept),
        tuple(
            replace(pair, first=number[pair.first], second=number[pair.second])
            for pair in audited.shared
            if pair.first in number and pair.second in number
        ),
        tuple(
            replace(pool, items=tuple(number[index] for index in pool.items if index in number))
            for pool in audited.pooled
        ),
        done,
    )


def audit_dataset(dataset: Dataset, workers: int | None = None) -> AuditResult:
    """Look through a data set; leaves `audit.png` to look at and `audit.json` beside `dataset.toml`.

    Of each image about two kilobytes are kept, so that sets of hundreds of thousands of images can be audited.
    """
    builder = DatasetBuilder(dataset.folder, workers)
    calls = [{"dataset": strip_items(dataset), "item": item} for item in dataset.items]
    scratch = dataset.folder / SUMMARY_FILE
    sweep_staging_folders(scratch.parent, scratch.name)
    with explain_write_errors(scratch), make_staging_folder(scratch) as folder:
        search, pools = GroundSearch(folder), PlacePools(dataset.items)
        looks: list[AuditRecord] = []
        for look, traces in builder.run_each("Auditing", inspect_item, calls):
            if traces:
                search.add(len(looks), look, traces)
                pools.add(len(looks), look, traces)
            looks.append(look)
        audited = AuditResult(dataset, tuple(looks), tuple(search.found(looks)), tuple(pools.shifts()))
    write_audit(audited, builder)
    return audited


def strip_items(dataset: Dataset) -> Dataset:
    """The data set without its items, light enough to send along with each of them."""
    return replace(dataset, items=())


class PlacePools:
    """Small images whose labels are looked at together: those of one place, and of the whole set where each has its own."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._sizes = Counter(item.place for item in items)
        self._pools: dict[tuple[str | None, tuple[int, ...], float], AgreementPool] = {}

    def add(self, index: int, look: AuditRecord, traces: ImageFeatures) -> None:
        found = traces.agreement
        if found is None or (look.shift and look.shift.has_enough_blocks):
            return
        place = self._items[index].place
        gsd_m = float(f"{look.gsd_m:.2g}")
        key = (place if self._sizes[place] > 1 else None, found.surface.shape, gsd_m)
        self._pools.setdefault(key, AgreementPool(gsd_m)).add(index, found)

    def shifts(self) -> Iterator[PooledShift]:
        for (place, _, _), pool in self._pools.items():
            if offset := pool.offset_m:
                yield PooledShift(place, tuple(pool.items), *offset)


def warn_about_leaks(audited: AuditResult) -> None:
    """Nobody is to miss that scores will be too good, even where nobody reads on."""
    if audited.leaks:
        log.warning(
            f"{audited.dataset.folder}: {format_count(audited.leaks, 'pair')} of items show the same ground in two splits, so "
            f"that scores would be too good; run geoseg prepare audit {audited.dataset.folder} --fix"
        )


def write_audit(audited: AuditResult, builder: DatasetBuilder) -> None:
    """Leave the figures and the page beside the data set."""
    folder, content = audited.dataset.folder, gather_content(audited, builder)
    figures = {**audited.summary, **content.summary}
    replace_text(folder / SUMMARY_FILE, json.dumps(figures, indent=1, ensure_ascii=False))
    write_page(content, folder / PAGE_FILE)
