from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from geoseg.inference.threads import CancelToken, WorkCancelled, prefetch


def count(numbers: Iterable[int]) -> Callable[[CancelToken], Iterator[int]]:
    return lambda token: iter(numbers)


def test_items_come_in_order() -> None:
    assert list(prefetch(count(range(100)), token=CancelToken())) == list(range(100))


def test_several_sources_are_emptied() -> None:
    sources = (count(range(50)), count(range(50, 90)), count([]))
    assert sorted(prefetch(*sources, token=CancelToken(), depth=3)) == list(range(90))


def test_work_runs_ahead_but_not_far() -> None:
    made = []

    def source(token: CancelToken) -> Iterator[int]:
        for i in range(10):
            made.append(i)
            yield i

    items = prefetch(source, token=CancelToken(), depth=2)
    next(items)
    time.sleep(0.3)
    assert 2 <= len(made) <= 4
    assert list(items) == list(range(1, 10))


def test_an_error_arrives_where_the_items_are_used() -> None:
    def failing(token: CancelToken) -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = prefetch(failing, token=CancelToken(), depth=3)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


@pytest.mark.parametrize("sources", [1, 3])
def test_stopping_early_ends_the_threads_and_closes_the_sources(sources: int) -> None:
    closed = []

    def endless(token: CancelToken) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    before = threading.active_count()
    items = prefetch(*[endless] * sources, token=CancelToken())
    next(items)
    items.close()
    assert threading.active_count() == before
    assert len(closed) == sources


def test_chains_of_threads_stop_together() -> None:
    before = threading.active_count()

    def outer(token: CancelToken) -> Iterator[int]:
        return prefetch(inner, token=token)

    def inner(token: CancelToken) -> Iterator[int]:
        return prefetch(count(range(10**9)), token=token)

    items = prefetch(outer, token=CancelToken())
    next(items)
    items.close()
    assert threading.active_count() == before


def test_long_work_ends_soon_after_nobody_waits_for_it() -> None:
    ended = []

    def endless_item(token: CancelToken) -> Iterator[int]:
        yield 1
        try:
            while True:
                time.sleep(0.01)
                token.check()
        finally:
            ended.append(True)

    items = prefetch(lambda token: prefetch(endless_item, token=token), token=CancelToken())
    next(items)
    start = time.monotonic()
    items.close()
    assert ended == [True]
    assert time.monotonic() - start < 2


def test_a_cancelled_token_ends_work_from_outside() -> None:
    token = CancelToken()
    items = prefetch(count(range(10**9)), token=token)
    assert [next(items) for _ in range(6)] == [0, 1, 2, 3, 4, 5]
    token.cancel()
    with pytest.raises(WorkCancelled):
        next(items)
    assert not CancelToken().is_cancelled
    assert CancelToken(CancelToken(token)).is_cancelled


def test_a_child_leaves_its_parent_be() -> None:
    parent = CancelToken()
    CancelToken(parent).cancel()
    parent.check()
