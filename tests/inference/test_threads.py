from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from geoseg.inference.threads import check_cancelled, prefetch


def test_items_come_in_order() -> None:
    assert list(prefetch(range(100))) == list(range(100))


def test_several_sources_are_emptied() -> None:
    assert sorted(prefetch(range(50), range(50, 90), iter([]), depth=3)) == list(range(90))


def test_work_runs_ahead_but_not_far() -> None:
    made = []

    def source() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            yield i

    items = prefetch(source(), depth=2)
    next(items)
    time.sleep(0.3)
    assert 2 <= len(made) <= 4
    assert list(items) == list(range(1, 10))


def test_an_error_arrives_where_the_items_are_used() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = prefetch(failing(), depth=3)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


@pytest.mark.parametrize("sources", [1, 3])
def test_stopping_early_ends_the_threads_and_closes_the_sources(sources: int) -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    before = threading.active_count()
    items = prefetch(*(endless() for _ in range(sources)))
    next(items)
    items.close()
    assert threading.active_count() == before
    assert len(closed) == sources


def test_chains_of_threads_stop_together() -> None:
    before = threading.active_count()
    items = prefetch(prefetch(prefetch(iter(range(10**9)))))
    next(items)
    items.close()
    assert threading.active_count() == before


def test_long_work_ends_soon_after_nobody_waits_for_it() -> None:
    ended = []

    def endless_item() -> Iterator[int]:
        yield 1
        try:
            while True:
                time.sleep(0.01)
                check_cancelled()
        finally:
            ended.append(True)

    items = prefetch(prefetch(endless_item()))
    next(items)
    start = time.monotonic()
    items.close()
    assert ended == [True]
    assert time.monotonic() - start < 2
