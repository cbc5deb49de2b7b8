"""Mending what an audit found: unusable items and copies go, and places that share ground come to share a split."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from geoseg.errors import InputError
from geoseg.prepare.audit.audit import Audit, write_results
from geoseg.prepare.audit.shared import Shared
from geoseg.prepare.dataset import FILE, SPLITS, Item, Split, write_dataset

BEFORE = "dataset.before-fix.toml"
UNUSABLE = {"unreadable", "unknown value", "empty"}


def fixed(audited: Audit) -> Audit:
    """Write the data set without what spoils it; the former `dataset.toml` stays as `dataset.before-fix.toml`."""
    dropped = unusable(audited) | copies(audited)
    kept = [index for index in range(len(audited.looks)) if index not in dropped]
    if not kept:
        raise InputError(
            f"{audited.dataset.folder}: nothing usable would be left; mend the data set's source"
        )
    items, moved = together(audited.dataset.items, kept, audited.shared)
    number = {old: new for new, old in enumerate(kept)}
    done = told(audited, dropped, moved)
    dataset = replace(audited.dataset, items=tuple(items))
    mended = Audit(
        dataset,
        tuple(replace(audited.looks[index], item=item) for index, item in zip(kept, items, strict=True)),
        tuple(
            replace(pair, first=number[pair.first], second=number[pair.second])
            for pair in audited.shared
            if pair.first in number and pair.second in number
        ),
        done,
    )
    shutil.copyfile(dataset.folder / FILE, dataset.folder / BEFORE)
    write_dataset(dataset, dataset.folder)
    write_results(mended)
    return mended


def unusable(audited: Audit) -> set[int]:
    return {index for finding in audited.problems if finding.kind in UNUSABLE for index in finding.items}


def copies(audited: Audit) -> set[int]:
    """All but one of each picture: a copy used for testing stays rather than one used for training."""
    items, dropped = audited.dataset.items, set[int]()
    for pair in audited.shared:
        if pair.is_copy and pair.first not in dropped and pair.second not in dropped:
            keeps_second = SPLITS.index(items[pair.second].split) > SPLITS.index(items[pair.first].split)
            dropped.add(pair.first if keeps_second else pair.second)
    return dropped


def together(
    items: Sequence[Item], kept: Sequence[int], shared: Iterable[Shared]
) -> tuple[list[Item], dict[str, Split]]:
    """Let places with common ground share a split: the one most of their items are in, training if in doubt."""
    root = {items[index].place: items[index].place for index in kept}
    for pair in shared:
        if pair.first in kept and pair.second in kept:
            root[top(root, items[pair.second].place)] = top(root, items[pair.first].place)
    votes: dict[str, Counter[Split]] = {}
    for index in kept:
        votes.setdefault(top(root, items[index].place), Counter())[items[index].split] += 1
    split_of: dict[str, Split] = {
        place: max(SPLITS, key=lambda split: votes[top(root, place)][split]) for place in root
    }
    moved = {
        items[index].place: split_of[items[index].place]
        for index in kept
        if split_of[items[index].place] != items[index].split
    }
    return [replace(items[index], split=split_of[items[index].place]) for index in kept], moved


def top(root: Mapping[str, str], place: str) -> str:
    while root[place] != place:
        place = root[place]
    return place


def told(audited: Audit, dropped: set[int], moved: Mapping[str, Split]) -> tuple[str, ...]:
    drops = [f"Dropped {audited.dataset.items[index].image}" for index in sorted(dropped)]
    moves = [f"Moved place {place} to {split}" for place, split in sorted(moved.items())]
    return tuple(drops + moves) or ("Nothing had to be changed",)
