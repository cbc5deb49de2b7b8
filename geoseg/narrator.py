"""How the library tells what it is doing without ever printing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Narrator:
    """Hears what is going on. This one keeps quiet; the command line's writes to stderr."""

    def say(self, line: str) -> None:
        """Take note of something the user would like to know."""

    def warn(self, line: str) -> None:
        """Take note of something the user should act on."""

    @contextmanager
    def task(self, what: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
        """Follow a long task: the caller reports each amount as it is done."""
        yield lambda amount: None


QUIET = Narrator()
