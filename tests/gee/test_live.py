"""What only the live service can prove. Run by whoever has an account: pytest -m earthengine.

Signs in as the command does (EE_PROJECT_ID or the credentials' own project), and fetches a few megabytes.
"""

from __future__ import annotations

import json

import ee
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.io import MemoryFile

from gee.errors import DeniedError, RetryPolicy, TooLargeError
from gee.expressions import encode_grid
from gee.grid import make_lattice
from gee.session import Access, open_session
from geoseg.cli.main import geoseg
from geoseg.raster.grid import Grid, find_utm_crs

pytestmark = pytest.mark.earthengine
BRANDENBURG_GATE = (13.3777, 52.5163)


@pytest.fixture
def live():
    with open_session(Access(), 4, RetryPolicy(0.2)) as opened:
        yield opened


def grid(side, height=None):
    crs = find_utm_crs(*BRANDENBURG_GATE)
    whole = make_lattice(crs, 10, 60)
    return Grid(
        crs, rasterio.Affine(whole.pixel, 0, 380_040, 0, -whole.pixel, 5_830_020), height or side, side
    )


def request(image, at, bands):
    return {"expression": image, "fileFormat": "GEO_TIFF", "bandIds": bands, "grid": encode_grid(at)}


def scene():
    point = ee.Geometry.Point(BRANDENBURG_GATE)
    days = (
        ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
        .filterBounds(point)
        .filterDate("2023-06-01", "2023-07-01")
    )
    return days.first()


def test_the_limit_counts_one_byte_more_for_each_band(live):
    bands = ["B2", "B3", "B4", "B8"]
    assert live.pixels(request(scene().select(bands).toUint16(), grid(2048), bands))
    with pytest.raises(TooLargeError, match="50331648"):
        live.pixels(request(scene().select(bands).toUint16(), grid(2048, 2049), bands))


def test_masked_pixels_come_as_they_are_filled(live):
    image = ee.Image.constant(7).updateMask(0).unmask(3, False).toUint8().rename(["b"])
    with MemoryFile(live.pixels(request(image, grid(64), ["b"]))) as file, file.open() as tile:
        assert (tile.read() == 3).all()
        assert tile.dtypes == ("uint8",)


def test_masked_pixels_that_are_not_filled_are_zero(live):
    image = ee.Image.constant(7).updateMask(0).toUint8().rename(["b"])
    with MemoryFile(live.pixels(request(image, grid(64), ["b"]))) as file, file.open() as tile:
        assert (tile.read() == 0).all()


def test_a_band_that_is_not_there_is_denied(live):
    with pytest.raises(DeniedError):
        live.pixels(request(scene().select(["B99"]), grid(64), ["B99"]))


def test_every_default_source_answers(live):
    for asset in (
        "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
        "ESA/WorldCover/v200",
        "GOOGLE/DYNAMICWORLD/V1",
    ):
        assert live.value(ee.ImageCollection(asset).limit(1).size()) == 1


def test_one_kilometre_of_berlin(tmp_path):
    place = ",".join(map(str, BRANDENBURG_GATE))
    common = ["--point", place, "--size", "1000", "--label", "ghsl", "--label", "worldcover"]
    days = ["--start", "2023-05-01", "--end", "2023-09-30", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(geoseg, ["export", *common, *days])
    assert result.exit_code == 0, result.stderr
    with rasterio.open(tmp_path / "sentinel2.tif") as image, rasterio.open(tmp_path / "ghsl.tif") as label:
        assert image.transform == label.transform
        assert (image.read() > 0).mean() > 0.99
        assert set(np.unique(label.read())) <= {0, 1, 255}
        assert (label.read() == 1).mean() > 0.2
    record = json.loads((tmp_path / "sentinel2.json").read_text())
    assert record["properties"]["geoseg:scenes"]


def test_berlin_at_twenty_centimetres(tmp_path):
    place = ",".join(map(str, BRANDENBURG_GATE))
    options = ["--point", place, "--size", "200", "--source", "brandenburg", "--out", str(tmp_path)]
    result = CliRunner().invoke(geoseg, ["export", *options])
    assert result.exit_code == 0, result.stderr
    with rasterio.open(tmp_path / "brandenburg.tif") as image:
        assert image.shape == (1000, 1000)
        assert image.read().std() > 10
