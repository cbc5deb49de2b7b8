"""How the library tells what it is doing without ever printing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

MOST_LISTED = 6


class Tick(Protocol):
    """Moves a task on by an amount; may note how it goes, and correct how much there is in all."""

    def __call__(self, amount: float, note: str = "", total: float | None = None) -> None: ...


def unheard(amount: float, note: str = "", total: float | None = None) -> None:
    """Take no note."""


class Narrator:
    """Hears what is going on. This one keeps quiet; the command line's writes to stderr."""

    def say(self, line: str) -> None:
        """Take note of something the user would like to know."""

    def warn(self, line: str) -> None:
        """Take note of something the user should act on."""

    @contextmanager
    def task(self, what: str, total: float, unit: str, done: float = 0) -> Iterator[Tick]:
        """Follow a long task, of which some may be done already: the caller reports each amount as it is done."""
        yield unheard


QUIET = Narrator()


def listed(names: Sequence[str]) -> str:
    """Names in a line, the first few of many."""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
