"""What a folder of finished strips says is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS

from geoseg.inference.predictor import StripAnswer
from geoseg.inference.resume import Journal
from geoseg.raster.grid import Grid
from geoseg.raster.plan import Strip

GRID = Grid(CRS.from_epsg(32633), Affine(0.3, 0, 0, 0, -0.3, 0), 20, 30)
STRIPS = Strip(0, 0, 12), Strip(1, 12, 20)


def answer(strip: Strip) -> StripAnswer:
    pixels = np.random.default_rng(strip.index).integers(0, 250, (2, strip.height, 30), dtype="uint8")
    return StripAnswer(strip, pixels[0], pixels, known=strip.height * 30, unanswered=0)


@pytest.mark.parametrize("alone", [True, False])
def test_a_strip_is_there_once_its_files_are(tmp_path: Path, alone: bool) -> None:
    journal = Journal(tmp_path, classes_alone=alone)
    assert journal.find_missing_runs(STRIPS) == [list(STRIPS)]
    files = journal.keep(answer(STRIPS[1]), GRID)
    assert journal.find_missing_runs(STRIPS) == [[STRIPS[0]]]
    assert len(list(tmp_path.iterdir())) == len(files.wanted) == (1 if alone else 2)


def test_who_wants_probabilities_as_well_predicts_strips_again_that_have_none(tmp_path: Path) -> None:
    Journal(tmp_path, classes_alone=True).keep(answer(STRIPS[0]), GRID)
    asks_more = Journal(tmp_path)
    assert asks_more.find_missing_runs(STRIPS) == [list(STRIPS)]
    asks_more.keep(answer(STRIPS[0]), GRID)
    assert asks_more.find_missing_runs(STRIPS) == [[STRIPS[1]]]


@pytest.mark.parametrize("alone", [True, False])
def test_a_damaged_file_is_taken_away(tmp_path: Path, alone: bool) -> None:
    journal = Journal(tmp_path, classes_alone=alone)
    files = journal.keep(answer(STRIPS[0]), GRID)
    for path in files.wanted:
        path.write_bytes(path.read_bytes()[:-40])
    assert not files.are_whole()
    assert not list(tmp_path.iterdir())
