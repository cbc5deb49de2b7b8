"""What a run says of its scene before it begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from heard import Heard
from made import RasterWriter, photo

from geoseg.inference.job import plan_job
from geoseg.inference.options import PredictOptions


@pytest.mark.parametrize(
    ("black_rows", "nodata", "warns"),
    [(0, None, False), (20, None, False), (256, None, True), (256, 0, False)],
)
def test_ground_beside_an_image_that_counts_as_seen_is_told_of(
    black_rows: int,
    nodata: int | None,
    warns: bool,
    write_raster: RasterWriter,
    tiny_model: Path,
    heard: Heard,
) -> None:
    pixels = photo(512, 512)
    pixels[:, :black_rows] = 0
    scene = write_raster("scene.tif", pixels, nodata=nodata)
    plan_job([str(scene)], PredictOptions(model=str(tiny_model)))
    told = [line for line in heard.warnings if "are black, and count as seen ground" in line]
    assert len(told) == warns
    if warns:
        assert told[0].startswith(f"{scene}: of a sample of its pixels 50% are black")
        assert told[0].endswith(f"rio edit-info --nodata 0 {scene}")


def test_one_band_may_be_zero(write_raster: RasterWriter, tiny_model: Path, heard: Heard) -> None:
    pixels = photo(200, 160)
    pixels[0] = np.uint8(0)
    plan_job([str(write_raster("scene.tif", pixels))], PredictOptions(model=str(tiny_model)))
    assert not any("black" in line for line in heard.warnings)
