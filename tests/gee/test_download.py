"""Everything that may go wrong on the way: the result is the same, or there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from earth_server.service import TOO_MANY
from earth_server.world import ramp

SMALL = ("--bbox", "15.00,48.00,15.03,48.02", "--start", "2023-05-01", "--end", "2023-09-30", "--bands", "B4")
PIXELS = "computePixels"


@pytest.fixture(autouse=True)
def small_tiles(export):
    export.tile = 64


def assert_whole(export):
    """The file holds the ground at every pixel, and nothing is left beside it."""
    path = export.out / "sentinel2.tif"
    with rasterio.open(path) as file:
        left, up = round(file.transform.c / 10), round(-file.transform.f / 10)
        gx, gy = np.meshgrid(np.arange(left, left + file.width), np.arange(up, up + file.height))
        np.testing.assert_array_equal(file.read(1), ramp("B4", 9973)(gx, gy, 0))
    assert sorted(path.name for path in export.out.iterdir()) == ["sentinel2.json", "sentinel2.tif"]


def taken(export):
    """What the record says that it took."""
    return json.loads((export.out / "sentinel2.json").read_text())["properties"]["geoseg:requests"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "message": TOO_MANY, "times": 12},
        {"status": 429, "message": "Quota exceeded: Too many concurrent aggregations.", "times": 3},
        {"status": 503, "message": "The service is currently unavailable.", "times": 5},
        {"status": 500, "times": 4},
        {"how": "drop", "times": 4},
        {"how": "truncate", "times": 4},
        {"how": "garbage", "times": 4},
        {"how": "small", "times": 4},
    ],
    ids=lambda fault: str(fault.get("status") or fault.get("how")),
)
def test_what_passes_is_waited_out(export, earth, fault, waits):
    earth.fault(PIXELS, **fault)
    export.done(*SMALL)
    assert_whole(export)
    assert len(waits) == fault["times"]
    assert len(earth.pixel_requests) == len(earth.tile_grids()) + fault["times"] * (
        "status" in fault or fault["how"] == "drop"
    )


def test_everything_at_once(export, earth):
    export.tile = 128
    for how in ("drop", "truncate", "garbage"):
        earth.fault(PIXELS, how=how, times=2, skip=3)
    earth.fault(PIXELS, status=503, times=3, skip=2)
    earth.fault(PIXELS, status=429, message=TOO_MANY, times=6)
    earth.most_pixels = 64 * 64
    export.done(*SMALL)
    assert_whole(export)


def test_retry_after_is_honoured(export, earth, waits):
    earth.fault(PIXELS, status=429, message=TOO_MANY, headers={"Retry-After": "17"}, times=1)
    export.done(*SMALL)
    assert 17 <= max(waits) <= 18


def test_a_quota_by_the_minute_is_waited_out_longer(export, earth, waits):
    text = (
        "Quota exceeded for quota metric 'Number of read requests' and limit 'Read requests per minute per user' of "
        "service 'earthengine.googleapis.com' for consumer 'project_number:1'."
    )
    earth.fault(PIXELS, status=429, message=text)
    export.done(*SMALL)
    assert 30 <= max(waits) <= 31


def test_no_more_at_once_than_workers(export, earth):
    earth.latency_s = 0.02
    export.done(*SMALL, "--workers", "3")
    assert earth.peak == 3


def test_a_service_that_bears_three_gets_three(export, earth):
    earth.latency_s = 0.02
    earth.concurrency = 3
    export.done(*SMALL, "--workers", "16")
    assert_whole(export)
    refused = [request for request in earth.pixel_requests if request.status == 429]
    assert refused
    assert len(refused) < len(earth.tile_grids())


def test_too_much_memory_is_cut_smaller_and_remembered(export, earth):
    export.tile = 256
    earth.most_pixels = 100 * 100
    export.done(*SMALL, "--workers", "1")
    assert_whole(export)
    assert taken(export)["splits"] == 1, "one refusal is enough to know"
    assert all(width * height <= 100 * 100 for _, _, width, height in earth.tile_grids())


def test_a_service_that_can_do_nothing_says_so(export, earth):
    earth.most_pixels = 10
    line = export.refused(*SMALL)
    assert "User memory limit exceeded" in line
    assert "--via gcs" in line
    assert not list(export.out.glob("*.tif"))


def test_a_timed_out_computation_is_cut(export, earth):
    export.tile = 128
    earth.fault(PIXELS, status=400, message="Computation timed out.", times=1)
    export.done(*SMALL, "--workers", "1")
    assert_whole(export)


@pytest.mark.parametrize(
    ("status", "text", "remedy"),
    [
        (400, "Image.select: Band pattern 'B4' did not match any bands.", "choose other --bands"),
        (
            403,
            (
                "Earth Engine API has not been used in project 123 before or it is disabled. Enable it by visiting "
                "https://console.developers.google.com/apis/api/earthengine.googleapis.com then retry."
            ),
            "enable the Earth Engine API for project geoseg-local",
        ),
        (
            403,
            "Caller does not have required permission to use project geoseg-local.",
            "serviceUsageConsumer",
        ),
        (403, "Permission denied.", "lacks the right"),
        (401, "Request had invalid authentication credentials.", "earthengine authenticate --force"),
        (404, "Image.load: Image asset 'X' not found.", "may not read it"),
        (429, "Your project has exceeded its compute quota per day.", "quota is exhausted"),
    ],
)
def test_what_never_works_is_asked_once(export, earth, status, text, remedy, waits):
    earth.fault(PIXELS, status=status, message=text, times=1000)
    line = export.refused(*SMALL, "--workers", "1")
    assert text.rstrip(".") in line
    assert remedy in line
    assert len(earth.pixel_requests) == 1
    assert not waits
    assert not list(export.out.glob("*.tif"))


def test_a_service_that_stays_broken_is_given_up(export, earth):
    earth.fault(PIXELS, status=503, message="The service is currently unavailable.", times=10_000)
    line = export.refused(*SMALL, "--workers", "1")
    assert "currently unavailable" in line
    assert "asked 8 times" in line


def test_what_was_fetched_before_a_failure_is_not_fetched_again(export, earth):
    earth.fault(PIXELS, status=400, message="Something fatal.", skip=9, times=1000)
    export.refused(*SMALL, "--workers", "1")
    assert len(earth.tile_grids()) == 9
    earth.faults.clear()
    summary = export.done(*SMALL)
    assert summary["exports"][0]["layers"][0]["resumed"] == 9
    assert_whole(export)
    assert len(set(earth.tile_grids())) == len(earth.tile_grids())


def test_pieces_of_a_cut_tile_are_not_fetched_again(export, earth):
    export.tile = 256
    earth.most_pixels = 100 * 100
    earth.fault(PIXELS, status=400, message="Something fatal.", skip=4, times=1000)
    export.refused(*SMALL, "--workers", "1")
    earth.faults.clear()
    export.done(*SMALL)
    assert_whole(export)
    assert len(set(earth.tile_grids())) == len(earth.tile_grids())


def test_other_settings_use_no_old_tile(export, earth):
    earth.fault(PIXELS, status=400, message="Something fatal.", skip=5, times=1000)
    export.refused(*SMALL, "--workers", "1")
    earth.faults.clear()
    summary = export.done(*SMALL, "--mask", "scl")
    assert summary["exports"][0]["layers"][0]["resumed"] == 0


def test_a_second_run_at_the_same_time_is_kept_out(export, earth):
    from gee.geotiff import TileFolder

    earth.fault(PIXELS, status=400, message="Something fatal.", times=1)
    export.refused(*SMALL)
    (folder,) = export.out.glob("*.parts")
    with TileFolder(folder).locked():
        assert "another run of the same command is at work" in export.refused(*SMALL)
    export.done(*SMALL)


def test_restricted_mode_goes_slowly_and_says_so(export, earth):
    earth.restricted = True
    earth.latency_s = 0.01
    result = export(*SMALL)
    assert result.exit_code == 0
    assert "restricted mode" in result.stderr
    assert earth.peak <= 2


def test_a_deadline_ends_it_and_keeps_what_was_fetched(export, earth, monkeypatch):
    monkeypatch.undo()
    export.tile = None
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    earth.fault(PIXELS, status=429, message=TOO_MANY, headers={"Retry-After": "60"}, times=1000)
    line = export.refused(*SMALL, "--deadline", "0.01")
    assert "not done after 0.01 hours" in line
    assert "run the same command again" in line


def test_discovery_that_stumbles_is_asked_again(export, earth):
    earth.fault("discovery", status=503, times=2)
    earth.fault("algorithms", how="drop", times=1)
    earth.fault("value:compute", status=429, message=TOO_MANY, times=3)
    export.done(*SMALL)
    assert_whole(export)
