"""Mending what an audit found: unusable items and copies go, and places that share ground come to share a split.

Only `dataset.toml` changes. Images and labels stay on disk, and every former `dataset.toml` is kept under a name of its own.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.errors import InputError
from geoseg.prepare.audit.audit import write_results
from geoseg.prepare.audit.findings import Audit
from geoseg.prepare.audit.shared import Shared
from geoseg.prepare.dataset import FILE, SPLITS, Item, Split, write_dataset

UNUSABLE = {"unreadable", "unknown value", "empty"}


def fixed(audited: Audit) -> Audit:
    """Write the data set without what spoils it; the former `dataset.toml` stays beside it."""
    folder = audited.dataset.folder
    reasons = dropped(audited)
    kept = [index for index in range(len(audited.looks)) if index not in reasons]
    if not kept:
        raise InputError(f"{folder}: nothing usable would be left; mend the data set's source")
    items, moved = together(audited.dataset.items, kept, audited.shared)
    done = told(audited.dataset.items, reasons, moved)
    if done:
        former = unused(folder)
        shutil.copyfile(folder / FILE, former)
        write_dataset(replace(audited.dataset, items=tuple(items)), folder)
        done = (*done, f"The former {FILE} is kept as {former.name}; no image or label was deleted")
    mended = without(audited, kept, items, done or ("Nothing had to be changed",))
    write_results(mended)
    return mended


def dropped(audited: Audit) -> dict[int, str]:
    """The items to leave out, by number, and why."""
    items = audited.dataset.items
    reasons = {
        index: finding.text.removeprefix(f"{items[index].image}: ")
        for finding in audited.problems
        if finding.kind in UNUSABLE
        for index in finding.items
    }
    return copies(items, [pair for pair in audited.shared if pair.is_copy], reasons) | reasons


def copies(items: Sequence[Item], pairs: Sequence[Shared], unusable: Collection[int]) -> dict[int, str]:
    """All but one of each picture: a copy used for testing stays rather than one used for training."""
    drops: dict[int, str] = {}
    for group in groups(len(items), [(pair.first, pair.second) for pair in pairs]):
        usable = [index for index in group if index not in unusable]
        if len(usable) > 1:
            stays = max(usable, key=lambda index: (SPLITS.index(items[index].split), -index))
            drops |= {index: f"a copy of {items[stays].image}" for index in usable if index != stays}
    return drops


def groups(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Numbers below `count` that pairs link, directly or through others; those alone are left out."""
    if not pairs:
        return []
    one, other = np.array(pairs).T
    _, group = connected_components(coo_array((np.ones(len(pairs)), (one, other)), shape=(count, count)))
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.nonzero(np.diff(group[order]))[0] + 1)
    return [part.tolist() for part in parts if len(part) > 1]


def together(
    items: Sequence[Item], kept: Sequence[int], shared: Iterable[Shared]
) -> tuple[list[Item], dict[str, Split]]:
    """Let places with common ground share a split: the one most of their items are in, training if in doubt."""
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
    names, moved = list(votes), dict[str, Split]()
    for group in groups(len(names), links):
        ballots = sum((votes[names[i]] for i in group), Counter[Split]())
        chosen = max(SPLITS, key=lambda split: ballots[split])
        moved |= {names[i]: chosen for i in group if split_of[names[i]] != chosen}
    splits = split_of | moved
    return [replace(items[index], split=splits[items[index].place]) for index in kept], moved


def told(items: Sequence[Item], reasons: Mapping[int, str], moved: Mapping[str, Split]) -> tuple[str, ...]:
    drops = [f"Dropped {items[index].image}: {reason}" for index, reason in sorted(reasons.items())]
    moves = [f"Moved place {place} to {split}" for place, split in sorted(moved.items())]
    return tuple(drops + moves)


def unused(folder: Path) -> Path:
    """A name for the former `dataset.toml` that nothing has yet."""
    names = ("dataset.before-fix.toml", *(f"dataset.before-fix-{number}.toml" for number in range(2, 10_000)))
    return next(path for name in names if not (path := folder / name).exists())


def without(audited: Audit, kept: Sequence[int], items: Sequence[Item], done: tuple[str, ...]) -> Audit:
    """What the audit found about the items that stay."""
    number = {old: new for new, old in enumerate(kept)}
    return Audit(
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
