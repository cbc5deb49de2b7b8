"""How often is asked again, and how many at a time."""

from __future__ import annotations

import random
import threading

import pytest

from gee.errors import BusyError, DeniedError, FlakyError, RateLimiter, RetryPolicy
from geoseg.errors import GeosegError, InputError


@pytest.fixture(autouse=True)
def waits():
    """Here waiting itself is tried, so nothing stands in for it."""


class Clockless(RetryPolicy):
    """Writes down how long it would wait."""

    def __post_init__(self):
        super().__post_init__()
        self.waits = []

    def pause(self, seconds, reason):
        self.waits.append(seconds)


def failing(*errors):
    """Something that fails in these ways, then answers."""
    waiting = list(errors)

    def ask():
        if waiting:
            raise waiting.pop(0)
        return "answer"

    return ask


def test_it_asks_until_the_answer_comes():
    retries = Clockless()
    assert retries.call_with_retries(failing(*[FlakyError("lost")] * 5)) == "answer"
    assert len(retries.waits) == 5


def test_a_flaky_service_is_given_up_after_some_tries():
    retries = Clockless(tries=3)
    with pytest.raises(GeosegError, match=r"lost \(asked 3 times\)"):
        retries.call_with_retries(failing(*[FlakyError("lost")] * 9))


def test_a_busy_service_is_asked_for_as_long_as_it_takes():
    assert Clockless(tries=3).call_with_retries(failing(*[BusyError("busy")] * 100)) == "answer"


def test_what_is_denied_is_asked_once():
    retries = Clockless()
    with pytest.raises(DeniedError):
        retries.call_with_retries(failing(DeniedError("no")))
    assert not retries.waits


def test_waits_are_drawn_from_the_whole_range_that_doubles():
    retries = Clockless(draw=random.Random(1), longest_wait_s=60)
    retries.call_with_retries(failing(*[BusyError("busy")] * 2000))
    for attempt in range(6):
        assert retries.waits[attempt] <= 2**attempt
    late = retries.waits[10:]
    assert max(late) <= 60
    assert 25 < sum(late) / len(late) < 35, "full jitter: half the range on average"
    assert min(late) < 2


def test_a_wait_that_is_asked_for_comes_on_top():
    retries = Clockless()
    retries.call_with_retries(failing(BusyError("busy", wait_s=20)))
    assert 20 <= retries.waits[0] <= 21


def test_a_stop_wakes_those_who_wait():
    retries = RetryPolicy()
    retries.stopped.set()
    with pytest.raises(GeosegError, match="stopped"):
        retries.pause(100, "anything")


def test_a_wait_beyond_the_deadline_is_not_begun():
    with pytest.raises(GeosegError, match=r"not done after 0.01 hours \(busy\); what was fetched is kept"):
        RetryPolicy(hours=0.01).pause(60, "busy")


@pytest.mark.parametrize("hours", [0, -1, 1000])
def test_deadlines_that_are_none(hours):
    with pytest.raises(InputError, match="--deadline"):
        RetryPolicy(hours)


@pytest.mark.parametrize("workers", [0, 41, -3])
def test_workers_that_are_none(workers):
    with pytest.raises(InputError, match="--workers"):
        RateLimiter(workers)


def busy(limiter, times=1):
    for _ in range(times):
        with pytest.raises(BusyError), limiter.hold_slot():
            raise BusyError("busy")


def test_a_refusal_halves_the_gate_and_answers_open_it_again():
    limiter = RateLimiter(16)
    busy(limiter)
    assert limiter.limit == 8
    for _ in range(9):
        with limiter.hold_slot():
            pass
    assert 8.9 < limiter.limit < 9.2, "one more after a round of answers"


def test_the_gate_never_closes_nor_opens_beyond_its_most():
    limiter = RateLimiter(4)
    busy(limiter, 20)
    assert limiter.limit == 1
    for _ in range(100):
        with limiter.hold_slot():
            pass
    assert limiter.limit == 4


def test_refusals_of_one_round_count_once():
    limiter = RateLimiter(16)
    rounds = [limiter.enter() for _ in range(10)]
    for entered in rounds:
        limiter.leave(busy_since=entered)
    assert limiter.limit == 8


def test_other_failures_leave_the_limit_as_it_is():
    limiter = RateLimiter(8)
    with pytest.raises(FlakyError), limiter.hold_slot():
        raise FlakyError("lost")
    assert (limiter.limit, limiter.inside) == (8, 0)


def test_no_more_than_the_limit_are_inside_at_once():
    limiter, most, lock = RateLimiter(3), [0], threading.Lock()
    together = threading.Barrier(3)

    def work():
        for _ in range(4):
            with limiter.hold_slot():
                with lock:
                    most[0] = max(most[0], limiter.inside)
                together.wait(timeout=5)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 3


def test_a_narrowed_limiter_stays_narrow():
    limiter = RateLimiter(16)
    limiter.narrow(2)
    for _ in range(50):
        with limiter.hold_slot():
            pass
    assert limiter.limit == 2


def test_what_is_waited_for_is_told_but_not_each_time(heard):
    Clockless().call_with_retries(failing(*[BusyError("busy")] * 50))
    assert heard.lines == ["busy; asking again"]
