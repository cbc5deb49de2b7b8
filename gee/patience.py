"""How long to keep asking, and how many at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Event
from typing import TypeVar

from gee.faults import BusyError, FlakyError, RefusalError
from geoseg.errors import GeosegError, InputError
from geoseg.narrator import QUIET

Answer = TypeVar("Answer")

MOST_WORKERS = 40
LONGEST_HOURS = 10 * 24.0
QUIET_S = 60.0


@dataclass
class Patience:
    """Asks again after refusals that may pass, with full jitter, until a deadline."""

    hours: float = 12.0
    tries: int = 8
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    stopped: Event = field(default_factory=Event)
    started: float = field(default_factory=time.monotonic)
    draw: random.Random = field(default_factory=random.Random)
    tell: Callable[[str], None] = QUIET.say
    told: float = float("-inf")

    def __post_init__(self) -> None:
        if not 0 < self.hours <= LONGEST_HOURS:
            raise InputError(f"--deadline {self.hours:g} must lie between 0 and {LONGEST_HOURS:g} hours")

    def insist(self, ask: Callable[[], Answer]) -> Answer:
        """The answer, once it comes. A flaky service is asked `tries` times, a busy one until the deadline."""
        failures = 0
        for attempt in count():
            try:
                return ask()
            except (BusyError, FlakyError) as refusal:
                failures += isinstance(refusal, FlakyError)
                if failures >= self.tries:
                    raise GeosegError(
                        f"{refusal} (asked {failures} times); run the same command later"
                    ) from None
                self.wait(attempt, refusal)
        raise AssertionError

    def wait(self, attempt: int, refusal: RefusalError) -> None:
        """Sleep before asking again, unless the deadline would pass or the work was stopped."""
        jitter = self.draw.uniform(0, min(self.longest_wait_s, self.first_wait_s * 2 ** min(attempt, 10)))
        self.tell_now_and_then(refusal)
        self.pause(refusal.wait_s + jitter, str(refusal))

    def tell_now_and_then(self, refusal: RefusalError) -> None:
        """Say what is waited for, at most once in a while: thousands of requests may be refused alike."""
        if time.monotonic() - self.told > QUIET_S:
            self.told = time.monotonic()
            self.tell(f"{refusal}; asking again, with patience")

    def pause(self, seconds: float, reason: str) -> None:
        """Sleep, unless the deadline would pass first or somebody stops the work meanwhile."""
        if time.monotonic() + seconds > self.started + self.hours * 3600:
            raise GeosegError(
                f"not done after {self.hours:g} hours ({reason}); what was fetched is kept: run the same "
                "command again, with a longer --deadline or fewer --workers"
            )
        if self.stopped.wait(seconds):
            raise GeosegError("stopped")


class Gate:
    """Lets in as many requests at once as the service bears: one more after a round of answers, half when busy."""

    def __init__(self, most: int) -> None:
        if not 1 <= most <= MOST_WORKERS:
            raise InputError(
                f"--workers {most} must lie between 1 and {MOST_WORKERS}, Earth Engine's own limit"
            )
        self.most = most
        self.limit = float(most)
        self.inside = 0
        self.round = 0
        self.changed = Condition()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Wait to be let in, then hold a place; the gate learns from how it ends."""
        round_entered = self.enter()
        try:
            yield
        except BusyError:
            self.leave(busy_since=round_entered)
            raise
        except BaseException:
            self.leave()
            raise
        self.leave(growth=1.0)

    def enter(self) -> int:
        with self.changed:
            self.changed.wait_for(lambda: self.inside < int(self.limit))
            self.inside += 1
            return self.round

    def leave(self, growth: float = 0.0, busy_since: int | None = None) -> None:
        """Give the place back. Refusals of requests that entered in one round halve the limit once."""
        with self.changed:
            self.inside -= 1
            if busy_since == self.round:
                self.limit = max(1.0, self.limit / 2)
                self.round += 1
            self.limit = min(float(self.most), self.limit + growth / self.limit)
            self.changed.notify_all()

    def narrow(self, most: int) -> None:
        """Let in no more than this from now on."""
        with self.changed:
            self.most = min(self.most, most)
            self.limit = min(self.limit, float(self.most))
