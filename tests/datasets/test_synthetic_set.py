"""Synthetic places as a data set: drawn once, and drawn anew where other ones are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoseg.datasets.benchmarks import SyntheticOptions, prepare_synthetic
from geoseg.datasets.builder import DatasetBuilder, Origin, SplitRule
from geoseg.datasets.images import read_image_info
from geoseg.datasets.schema import Dataset


def prepared(folder: Path, size: int, gsd_m: float = 0.3) -> Dataset:
    options = SyntheticOptions(Origin("demo"), SplitRule(), 2, size, gsd_m=gsd_m)
    dataset = prepare_synthetic(options, DatasetBuilder(folder, 0, overwrite=True))
    DatasetBuilder(folder).end()
    return dataset


def test_places_of_another_size_are_drawn_anew(tmp_path: Path) -> None:
    for size, gsd_m in ((64, 0.3), (48, 0.3), (48, 0.5)):
        for item in prepared(tmp_path, size, gsd_m).items:
            image = read_image_info(Path(tmp_path, item.image))
            assert image.shape == (size, size)
            assert image.gsd_m == pytest.approx(gsd_m, rel=0.01)


def test_places_that_are_there_are_not_drawn_again(tmp_path: Path) -> None:
    first, second = (
        [Path(tmp_path, item.image).stat().st_mtime_ns for item in prepared(tmp_path, 64).items]
        for _ in range(2)
    )
    assert first == second
