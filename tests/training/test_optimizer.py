"""How fast weights move: published curves, and the clock."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import InputError
from geoseg.training.optimizer import ValidationHistory, compute_learning_rate, count_done_steps
from geoseg.training.options import TrainOptions

SETTINGS = TrainOptions(steps=1000, warmup=0, learning_rate=1.0)


def rates(settings: TrainOptions) -> list[float]:
    return [
        compute_learning_rate(step, count_done_steps(step, 0.0, settings), settings, 0)
        for step in range(settings.steps)
    ]


def test_cosine_falls_from_all_to_nothing_after_the_warm_up() -> None:
    found = rates(replace(SETTINGS, warmup=9))
    assert found[0] == pytest.approx(0.1)
    assert found[500] == pytest.approx(0.5)
    assert found[-1] == pytest.approx((1 + math.cos(math.pi * 0.999)) / 2)


def test_step_drops_at_every_so_many_steps() -> None:
    found = rates(replace(SETTINGS, schedule="step", step_every=300, drop=0.5))
    assert [found[step] for step in (299, 300, 599, 600, 900)] == [1.0, 0.5, 0.5, 0.25, 0.125]


def test_one_cycle_is_highest_after_a_third() -> None:
    found = rates(replace(SETTINGS, schedule="one-cycle"))
    assert found[0] == pytest.approx(1 / 25)
    assert max(found) == found[300] == pytest.approx(1.0)
    assert found[-1] < 1e-3


def test_a_plateau_lowers_the_rate() -> None:
    progress = ValidationHistory()
    for score in (0.5, 0.4, 0.4, 0.6, 0.1, 0.1):
        progress.note(0, score, patience=2)
    assert (progress.best, progress.drops, progress.last) == (0.6, 2, 0.1)
    settings = replace(SETTINGS, schedule="plateau", drop=0.1)
    assert compute_learning_rate(5, 5, settings, progress.drops) == pytest.approx(0.01)


@given(st.integers(0, 1000), st.floats(0, 10_000))
def test_without_a_limit_the_clock_is_not_looked_at(step: int, seconds: float) -> None:
    assert count_done_steps(step, seconds, SETTINGS) == step


@given(st.integers(0, 1000), st.floats(0, 1000))
def test_steps_or_minutes_count_whichever_is_further(step: int, seconds: float) -> None:
    settings = replace(SETTINGS, minutes=10.0)
    share = count_done_steps(step, seconds, settings) / settings.steps
    assert share == pytest.approx(max(step / 1000, min(1, seconds / 600)))


def test_the_schedule_goes_by_the_clock_but_the_warm_up_by_steps() -> None:
    settings = replace(SETTINGS, minutes=1.0, warmup=4)
    assert compute_learning_rate(20, count_done_steps(20, 30.0, settings), settings, 0) == pytest.approx(0.5)
    assert compute_learning_rate(0, count_done_steps(0, 0.0, settings), settings, 0) == pytest.approx(0.2)
    stepped = replace(settings, schedule="step", step_every=250, drop=0.5)
    assert compute_learning_rate(20, count_done_steps(20, 30.0, stepped), stepped, 0) == pytest.approx(0.25)


def test_warm_up_ends_early_in_a_short_run() -> None:
    short = TrainOptions(steps=12, learning_rate=1.0, schedule="constant")
    assert max(rates(short)) == 1.0
    assert short.warmup_steps == 1
    assert TrainOptions(steps=5000).warmup_steps == 100
    with pytest.raises(InputError, match="`warmup` 12: must be shorter than the run, 12 steps"):
        TrainOptions(steps=12, warmup=12)
