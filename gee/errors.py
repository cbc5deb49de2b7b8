"""What errors of Earth Engine mean, how often a request is retried, and how many requests run at a time."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Event
from typing import Any, TypeVar

from geoseg.errors import GeosegError, InputError

log = logging.getLogger(__name__)


class RefusalError(GeosegError):
    """Earth Engine did not give what was asked for."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class TooLargeError(RefusalError):
    """A smaller piece of the same may be accepted."""


class BusyError(RefusalError):
    """The same may be accepted later, and fewer at a time."""


class FlakyError(RefusalError):
    """The same will probably be accepted when asked again."""


class AlreadyStartedError(RefusalError):
    """The batch task was started by an earlier request of the same id."""


class DeniedError(RefusalError, InputError):
    """The same will never be accepted; the message says what to change."""


@dataclass(frozen=True)
class RefusalRule:
    """What a refusal whose text matches `pattern` means, and what to tell the user beside the text."""

    pattern: str
    refusal: type[RefusalError]
    remedy: str = ""
    wait_s: float = 0.0


REFUSAL_RULES = (
    RefusalRule(r"Total request size|Pixel grid dimensions|User memory limit", TooLargeError),
    RefusalRule(r"Computation timed out|memory capacity exceeded", TooLargeError),
    RefusalRule(r"already started with the given request_id", AlreadyStartedError),
    RefusalRule(r"Quota exceeded.*per minute", BusyError, wait_s=30.0),
    RefusalRule(r"Too Many Requests|Too many concurrent|concurrency limit|rateLimitExceeded", BusyError),
    RefusalRule(
        r"per day|quota.*(used up|exhausted)|EECU.*(exceeded|limit)|exceeded.*compute quota",
        DeniedError,
        "the project's quota is exhausted: wait until it is renewed, or use another --project; "
        "what was fetched is kept, and the same command goes on from there",
    ),
    RefusalRule(
        r"has not been used in project|is disabled|SERVICE_DISABLED",
        DeniedError,
        "enable the Earth Engine API for project {project} at that address, or use another --project",
    ),
    RefusalRule(
        r"required permission to use project|serviceusage",
        DeniedError,
        "ask the owner of project {project} for the role Service Usage Consumer "
        "(roles/serviceusage.serviceUsageConsumer), or use another --project",
    ),
    RefusalRule(
        r"not registered|not signed up",
        DeniedError,
        "register project {project} at https://code.earthengine.google.com/register",
    ),
    RefusalRule(
        r"(?i)(asset|collection).*(not found|does not (exist|have))|caller does not have access",
        DeniedError,
        "the asset does not exist or this account may not read it (some data sets need a sign-up)",
    ),
    RefusalRule(r"did not match any bands|has no band|No band named", DeniedError, "choose other --bands"),
    RefusalRule(
        r"invalid_grant|invalid_scope|Token has been expired|invalid authentication credentials",
        DeniedError,
        "the credentials are expired or revoked, or this computer's clock is wrong: "
        "sign in again with `earthengine authenticate --force`",
    ),
)

STATUS_RULES = {
    401: RefusalRule("", DeniedError, "the credentials have expired: run `earthengine authenticate --force`"),
    403: RefusalRule("", DeniedError, "this account lacks the right to do that in project {project}"),
    404: RefusalRule("", DeniedError, "it does not exist, or this account may not see it"),
    408: RefusalRule("", FlakyError),
    429: RefusalRule("", BusyError),
}


def make_refusal(error: Exception, project: str) -> RefusalError:
    """The refusal behind an exception of the Earth Engine client."""
    response = getattr(error, "resp", None) or getattr(error.__context__, "resp", None)
    status = int(response.status) if response is not None else 0
    text = " ".join(str(error).split())
    meaning = find_rule(error, status, text)
    said = f"Earth Engine says: {text}" if status else f"Earth Engine did not answer: {text}"
    remedy = f": {meaning.remedy.format(project=project)}" if meaning.remedy else ""
    return meaning.refusal(said + remedy, max(meaning.wait_s, read_retry_after(response)))


def find_rule(error: Exception, status: int, text: str) -> RefusalRule:
    """What an answer means, by its text first and its status else."""
    for meaning in REFUSAL_RULES:
        if re.search(meaning.pattern, text):
            return meaning
    if status in STATUS_RULES:
        return STATUS_RULES[status]
    lost = isinstance(error, (ConnectionError, TimeoutError))
    return RefusalRule("", FlakyError) if lost or status >= 500 else RefusalRule("", DeniedError)


def read_retry_after(response: Any) -> float:
    """The seconds a refusal asks to wait, if it says so in seconds."""
    text = str(response.get("retry-after", "")) if response is not None else ""
    return float(text) if text.isdigit() else 0.0


Answer = TypeVar("Answer")

MOST_WORKERS = 40
LONGEST_HOURS = 10 * 24.0
REPORT_INTERVAL_S = 60.0


@dataclass
class RetryPolicy:
    """Asks again after refusals that may pass, with full jitter, until a deadline."""

    hours: float = 12.0
    tries: int = 8
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    stopped: Event = field(default_factory=Event)
    started: float = field(default_factory=time.monotonic)
    draw: random.Random = field(default_factory=random.Random)
    told: float = float("-inf")

    def __post_init__(self) -> None:
        if not 0 < self.hours <= LONGEST_HOURS:
            raise InputError(f"--deadline {self.hours:g} must lie between 0 and {LONGEST_HOURS:g} hours")

    def call_with_retries(self, ask: Callable[[], Answer]) -> Answer:
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
        self.report_wait(refusal)
        self.pause(refusal.wait_s + jitter, str(refusal))

    def report_wait(self, refusal: RefusalError) -> None:
        """Say what is waited for, at most once in a while: thousands of requests may be refused alike."""
        if time.monotonic() - self.told > REPORT_INTERVAL_S:
            self.told = time.monotonic()
            log.info(f"{refusal}; asking again")

    def pause(self, seconds: float, reason: str) -> None:
        """Sleep, unless the deadline would pass first or somebody stops the work meanwhile."""
        if time.monotonic() + seconds > self.started + self.hours * 3600:
            raise GeosegError(
                f"not done after {self.hours:g} hours ({reason}); what was fetched is kept: run the same "
                "command again, with a longer --deadline or fewer --workers"
            )
        if self.stopped.wait(seconds):
            raise GeosegError("stopped")


class RateLimiter:
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
    def hold_slot(self) -> Iterator[None]:
        """Wait to be let in, then hold a place; the limiter learns from how it ends."""
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
