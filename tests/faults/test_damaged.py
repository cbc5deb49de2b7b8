"""Damaged files by the thousand, through every command that reads them: one line, exit code 1 or 2, nothing half-written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from damaged import KINDS, run_cases

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of processes")

CASES = int(os.environ.get("GEOSEG_DAMAGED", "3000"))
"""How many files are damaged; GEOSEG_DAMAGED=100000 asks for more."""
AT_ONCE = 250


def check(given: Path, folder: Path, first: int, last: int) -> None:
    outcomes = run_cases(given, folder, first, last)
    assert [str(each) for each in outcomes if not each.is_well] == []
    assert [each.case for each in outcomes] == list(range(first, last))


def test_a_damaged_file_of_each_kind(given: Path, tmp_path: Path) -> None:
    check(given, tmp_path, 0, len(KINDS))


@pytest.mark.faults
@pytest.mark.parametrize("first", range(len(KINDS), len(KINDS) + CASES, AT_ONCE))
def test_damaged_files(given: Path, tmp_path: Path, first: int) -> None:
    check(given, tmp_path, first, first + AT_ONCE)
