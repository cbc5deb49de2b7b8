"""Work that runs ahead in threads, so that reading, the model and writing overlap in time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.1


class WorkCancelled(BaseException):
    """Ends work whose results nobody waits for any more."""


class CancelToken:
    """Tells work whether its results are still wanted; a child's are no longer when its parent's are not."""

    def __init__(self, parent: CancelToken | None = None) -> None:
        self.parent = parent
        self.event = threading.Event()

    def cancel(self) -> None:
        self.event.set()

    @property
    def is_cancelled(self) -> bool:
        return self.event.is_set() or (self.parent is not None and self.parent.is_cancelled)

    def check(self) -> None:
        """To be called within long work: ends it once its results are not wanted."""
        if self.is_cancelled:
            raise WorkCancelled


Source = Callable[[CancelToken], Iterable[T]]
"""Work that makes items, and looks at its token now and then."""


class EndOfSource:
    """The end of a source, with the error that ended it if there was one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(*sources: Source[T], token: CancelToken, depth: int = 1) -> Iterator[T]:
    """The items of all sources as they come, each source in a thread of its own, at most `depth` items waiting.

    Sources are cancelled with `token`, and when whoever uses the items stops before the end.
    """
    waiting: queue.Queue[T | EndOfSource] = queue.Queue(depth)
    own = CancelToken(token)
    threads = [threading.Thread(target=produce_items, args=(source, waiting, own)) for source in sources]
    for thread in threads:
        thread.start()
    try:
        yield from receive_items(waiting, len(sources), token)
    finally:
        own.cancel()
        for thread in threads:
            thread.join()


def receive_items(waiting: queue.Queue[T | EndOfSource], running: int, token: CancelToken) -> Iterator[T]:
    """Items until every source has ended; the first error ends all."""
    while running:
        token.check()
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


def produce_items(source: Source[T], waiting: queue.Queue[T | EndOfSource], token: CancelToken) -> None:
    """Fill the queue until the source ends or nobody wants its items any more."""
    end = EndOfSource()
    items: Iterator[T] = iter(())
    try:
        items = iter(source(token))
        for item in items:
            if not put_item(item, waiting, token):
                break
    except WorkCancelled:
        pass
    except BaseException as error:  # noqa: BLE001 - raised again where the items are used
        end = EndOfSource(error)
    finally:
        if hasattr(items, "close"):
            items.close()
    put_item(end, waiting, token)


def put_item(item: T | EndOfSource, waiting: queue.Queue[T | EndOfSource], token: CancelToken) -> bool:
    """Put an item into the queue unless it is no longer wanted."""
    while not token.is_cancelled:
        try:
            waiting.put(item, timeout=POLL_S)
        except queue.Full:
            continue
        return True
    return False
