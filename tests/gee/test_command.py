from __future__ import annotations

import numpy as np
import rasterio

SMALL = ("--bbox", "15.00,48.00,15.03,48.02", "--start", "2023-05-01", "--end", "2023-09-30")


def test_a_composite_and_its_label_lie_on_one_grid(export, earth):
    summary = export.done(*SMALL, "--label", "ghsl")
    with rasterio.open(export.out / "sentinel2.tif") as image, rasterio.open(export.out / "ghsl.tif") as label:
        assert image.crs == label.crs
        assert image.transform == label.transform
        assert image.shape == label.shape
        assert image.descriptions == ("B2", "B3", "B4", "B8")
        assert image.scales == (0.0001,) * 4
        assert image.nodata == 0
        assert label.nodata == 255
    assert summary["exports"][0]["crs"] == "EPSG:32633"
