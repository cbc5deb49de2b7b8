"""Work that runs ahead in threads, so that reading, the model and writing overlap in time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 0.1

this_thread = threading.local()


class Unwanted(BaseException):
    """Ends work in a thread whose results nobody waits for any more."""


class Finished:
    """The end of a source, with the error that ended it if there was one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(*sources: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The items of all sources as they come, each source in a thread of its own, at most `depth` items waiting."""
    waiting: queue.Queue[T | Finished] = queue.Queue(depth)
    stopped = threading.Event()
    threads = [threading.Thread(target=produce, args=(source, waiting, stopped)) for source in sources]
    for thread in threads:
        thread.start()
    try:
        yield from arriving(waiting, len(sources))
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def arriving(waiting: queue.Queue[T | Finished], running: int) -> Iterator[T]:
    """Items until every source has ended; the first error ends all."""
    while running:
        check_wanted()
        try:
            item = waiting.get(timeout=PATIENCE_S)
        except queue.Empty:
            continue
        if not isinstance(item, Finished):
            yield item
        elif item.error:
            raise item.error
        else:
            running -= 1


def produce(source: Iterable[T], waiting: queue.Queue[T | Finished], stopped: threading.Event) -> None:
    """Fill the queue until the source ends or nobody wants its items any more."""
    this_thread.stopped = stopped
    end = Finished()
    items = iter(source)
    try:
        for item in items:
            if not hand_over(item, waiting, stopped):
                break
    except Unwanted:
        pass
    except BaseException as error:  # noqa: BLE001 - raised again where the items are used
        end = Finished(error)
    finally:
        if hasattr(items, "close"):
            items.close()
    hand_over(end, waiting, stopped)


def check_wanted() -> None:
    """To be called within long work: ends it when the thread that should get its result has stopped waiting."""
    stopped = getattr(this_thread, "stopped", None)
    if stopped is not None and stopped.is_set():
        raise Unwanted


def hand_over(item: T | Finished, waiting: queue.Queue[T | Finished], stopped: threading.Event) -> bool:
    """Put an item into the queue unless it is no longer wanted."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=PATIENCE_S)
        except queue.Full:
            continue
        return True
    return False
