"""Commands that are killed, or whose disk fails: nothing half-written, one line, and the rerun gives what an undisturbed run gives."""

from __future__ import annotations

import os
import sys

import pytest
from disturbance import FAULTS, Bench, can_happen, disturb
from undertakings import UNDERTAKINGS, Undertaking

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are forked and their calls counted"
)

SEEDS = range(int(os.environ.get("GEOSEG_FAULTS", "5")))
"""How often each fault happens to each undertaking; GEOSEG_FAULTS=100 asks for more."""
QUICK = [
    each for each in UNDERTAKINGS if each.name in ("demo-scene", "vectorize, shapefile", "publish, partition")
]
USUAL = ("killed at a change of a file", "disk full", "a write fails", "a read fails")


def check(bench: Bench, undertaking: Undertaking, fault: str, seed: int) -> None:
    reason = can_happen(bench, undertaking, fault)
    if reason:
        pytest.skip(reason)
    attempt = disturb(bench, undertaking, fault, seed)
    assert not attempt.complaints, f"seed {seed}{attempt.detail}: {attempt.complaints}"


@pytest.mark.parametrize("fault", USUAL)
@pytest.mark.parametrize("undertaking", QUICK, ids=lambda each: each.name)
def test_some_faults(bench: Bench, undertaking: Undertaking, fault: str) -> None:
    check(bench, undertaking, fault, 0)


@pytest.mark.faults
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("undertaking", UNDERTAKINGS, ids=lambda each: each.name)
def test_faults(bench: Bench, undertaking: Undertaking, fault: str) -> None:
    for seed in SEEDS:
        check(bench, undertaking, fault, seed)
