"""Work that runs ahead in threads, so that reading, the model and writing overlap in time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.1

this_thread = threading.local()


class WorkCancelled(BaseException):
    """Ends work in a thread whose results nobody waits for any more."""


class EndOfSource:
    """The end of a source, with the error that ended it if there was one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(*sources: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The items of all sources as they come, each source in a thread of its own, at most `depth` items waiting."""
    waiting: queue.Queue[T | EndOfSource] = queue.Queue(depth)
    stopped = threading.Event()
    threads = [threading.Thread(target=produce_items, args=(source, waiting, stopped)) for source in sources]
    for thread in threads:
        thread.start()
    try:
        yield from receive_items(waiting, len(sources))
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def receive_items(waiting: queue.Queue[T | EndOfSource], running: int) -> Iterator[T]:
    """Items until every source has ended; the first error ends all."""
    while running:
        check_cancelled()
        try:
            item = waiting.get(timeout=POLL_S)
        except queue.Empty:
            continue
        if not isinstance(item, EndOfSource):
            yield item
        elif item.error:
            raise item.error
        else:
            running -= 1


def produce_items(
    source: Iterable[T], waiting: queue.Queue[T | EndOfSource], stopped: threading.Event
) -> None:
    """Fill the queue until the source ends or nobody wants its items any more."""
    this_thread.stopped = stopped
    end = EndOfSource()
    items = iter(source)
    try:
        for item in items:
            if not put_item(item, waiting, stopped):
                break
    except WorkCancelled:
        pass
    except BaseException as error:  # noqa: BLE001 - raised again where the items are used
        end = EndOfSource(error)
    finally:
        if hasattr(items, "close"):
            items.close()
    put_item(end, waiting, stopped)


def check_cancelled() -> None:
    """To be called within long work: ends it when the thread that should get its result has stopped waiting."""
    stopped = getattr(this_thread, "stopped", None)
    if stopped is not None and stopped.is_set():
        raise WorkCancelled


def put_item(item: T | EndOfSource, waiting: queue.Queue[T | EndOfSource], stopped: threading.Event) -> bool:
    """Put an item into the queue unless it is no longer wanted."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=POLL_S)
        except queue.Full:
            continue
        return True
    return False
