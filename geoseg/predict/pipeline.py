"""Work that runs ahead in a thread, so that reading, the model and writing overlap in time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 0.1


class Finished:
    """The end of an iteration, with the error that ended it if there was one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The same items, made in a thread of their own, at most `depth` of them waiting."""
    waiting: queue.Queue[T | Finished] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=produce, args=(items, waiting, stopped), daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), Finished):
            yield item
        if item.error:
            raise item.error
    finally:
        stopped.set()
        thread.join()


def produce(items: Iterable[T], waiting: queue.Queue[T | Finished], stopped: threading.Event) -> None:
    """Fill the queue until the items end or nobody wants them any more."""
    end = Finished()
    iterator = iter(items)
    try:
        for item in iterator:
            if not hand_over(item, waiting, stopped):
                return
    except BaseException as error:  # noqa: BLE001 - raised again where the items are used
        end = Finished(error)
    finally:
        close = getattr(iterator, "close", None)
        if close:
            close()
    hand_over(end, waiting, stopped)


def hand_over(item: T | Finished, waiting: queue.Queue[T | Finished], stopped: threading.Event) -> bool:
    """Put an item into the queue unless it is no longer wanted."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=PATIENCE_S)
        except queue.Full:
            continue
        return True
    return False
