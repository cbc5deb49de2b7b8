"""Exports that Earth Engine makes by itself: started once, watched to the end, fetched where they can be."""

from __future__ import annotations

import json

import pytest
import rasterio

SMALL = (
    "--bbox",
    "15.00,48.00,15.03,48.02",
    "--start",
    "2023-05-01",
    "--end",
    "2023-09-30",
    "--bands",
    "B4,B8",
)
GCS = (*SMALL, "--via", "gcs", "--to", "bucket/folder")


@pytest.fixture(autouse=True)
def bucket(earth, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", earth.url)


def exported(earth):
    """The bodies of all requests that start a task."""
    return [request.body for request in earth.seen("image:export")]


def test_a_bucket_s_files_become_the_same_file_as_tiles(export):
    export.tile = 128
    export.done(*SMALL, "--out", export.folder / "direct")
    export.done(*GCS)
    direct, via_bucket = ((export.folder / out / "sentinel2.tif").read_bytes() for out in ("direct", "out"))
    assert direct == via_bucket
    assert sorted(path.name for path in export.out.iterdir()) == ["sentinel2.json", "sentinel2.tif"]


def test_the_task_asks_for_the_very_grid(export, earth):
    grid = export.done(*GCS)["exports"][0]
    (body,) = exported(earth)
    options = body["fileExportOptions"]
    assert options["cloudStorageDestination"]["bucket"] == "bucket"
    assert options["cloudStorageDestination"]["filenamePrefix"].startswith("folder/sentinel2-")
    assert options["geoTiffOptions"]["cloudOptimized"]
    assert options["geoTiffOptions"]["noData"] == {"floatValue": 0}
    assert options["geoTiffOptions"]["tileDimensions"] == {"width": 8192, "height": 8192}
    assert body["maxPixels"] == {"value": str(grid["width"] * grid["height"])}
    name, arguments = earth.seen("image:export")[0].tree
    assert name == "Image.clipToBoundsAndScale"
    inner, reprojection = arguments["input"]
    assert inner == "Image.reproject"
    assert reprojection["crsTransform"] == grid["transform"]


def test_the_task_is_found_again_and_not_started_twice(export, earth):
    earth.page_size = 1
    export.done(*SMALL, "--via", "drive", "--to", "geoseg")
    export.done(*SMALL, "--via", "drive", "--to", "geoseg")
    export.done(*SMALL, "--via", "drive", "--to", "geoseg", "--mask", "scl")
    export.done(*SMALL, "--via", "drive", "--to", "geoseg")
    assert len(exported(earth)) == 2
    listings = earth.seen("/operations$")
    assert any("pageToken" in request.query for request in listings), "all pages are read"


def test_the_same_settings_have_the_same_request_id(export, earth):
    export.done(*GCS)
    first = exported(earth)[0]["requestId"]
    earth.operations.clear()
    earth.request_ids.clear()
    export.done(*GCS, "--overwrite")
    assert exported(earth)[1]["requestId"] == first
    assert len(first) <= 60


def test_a_lost_answer_does_not_start_a_second_task(export, earth):
    """The service started the task, but its answer never came."""
    earth.fault("image:export", how="drop_after", times=1)
    export.done(*GCS)
    assert len(earth.operations) == 1


def test_a_replay_that_the_list_does_not_show_is_reported(export, earth):
    export.done(*SMALL, "--via", "drive", "--to", "geoseg")
    earth.hidden_operations = 2
    line = export.refused(*SMALL, "--via", "drive", "--to", "geoseg", "--overwrite")
    assert "does not list it" in line


def test_a_failed_task_says_why_and_is_started_anew(export, earth):
    earth.export_error = "Export too large: specified 400000000 pixels (max: 100000000)."
    line = export.refused(*GCS)
    assert "Export too large" in line
    earth.export_error = ""
    export.done(*GCS)
    assert [body["requestId"][-2:] for body in exported(earth)] == ["-0", "-1"]


def test_polling_slows_down_and_survives_faults(export, earth, waits):
    earth.polls_until_done = 30
    earth.fault(r"operations/OP", status=503, times=2, skip=3)
    export.done(*GCS)
    polls = [wait for wait in waits if wait > 2]
    assert len(polls) >= 30
    assert all(5 <= wait <= 60 for wait in polls)
    assert max(polls) > 30


def test_a_missing_file_is_noticed(export, earth):
    export.tile = 128
    deliver = earth.deliver

    def losing(body):
        deliver(body)
        earth.objects.pop(sorted(earth.objects)[0])

    earth.deliver = losing
    assert "does not cover the grid" in export.refused(*GCS)


def test_a_bucket_that_stays_empty(export, earth):
    earth.deliver = lambda body: None
    assert "is empty, although the task is done" in export.refused(*GCS)


def test_files_that_come_broken_are_fetched_again(export, earth):
    earth.fault("/download/storage", how="truncate", times=1)
    export.done(*GCS)


def test_no_right_to_the_bucket(export, earth):
    earth.fault("/storage/v1", status=403, message="no storage.objects.list access", times=100)
    assert "no storage.objects.list access" in export.refused(*GCS)


def test_drive_ends_with_the_folder_and_the_next_step(export):
    result = export(*SMALL, "--via", "drive", "--to", "geoseg")
    assert result.exit_code == 0, result.stderr
    assert "the Drive folder geoseg, files sentinel2-" in result.stderr
    assert "geoseg infer" in result.stderr
    record = json.loads((export.out / "sentinel2.json").read_text())
    assert record["assets"]["data"]["href"].startswith("the Drive folder geoseg")


def test_an_asset_is_made_with_a_fitting_pyramid(export, earth):
    folder = "projects/geoseg-test/assets/export"
    summary = export.done(*SMALL, "--label", "ghsl", "--via", "asset", "--to", folder)
    image, label = (body["assetExportOptions"] for body in exported(earth))
    assert image["pyramidingPolicy"] == "MEAN"
    assert label["pyramidingPolicy"] == "MODE"
    assert image["earthEngineDestination"]["name"].startswith(f"{folder}/sentinel2-")
    assert summary["exports"][0]["layers"][0]["where"].startswith(f"the asset {folder}/sentinel2-")


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (("--via", "gcs"), "--to BUCKET"),
        (("--via", "asset", "--to", "folder"), "--to projects/"),
        (("--via", "drive", "--to", "a/b"), "without slashes"),
    ],
)
def test_destinations_that_cannot_be(export, options, remedy):
    assert remedy in export.refused(*SMALL, *options)


def test_what_gcs_left_is_a_sound_file(export):
    export.done(*GCS)
    with rasterio.open(export.out / "sentinel2.tif") as file:
        assert file.descriptions == ("B4", "B8")
        assert file.nodata == 0
