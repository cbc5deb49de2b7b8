"""Processes that are killed or run out of disk: the same command goes on, and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import rasterio
from limits import limited_files

SMALL = ("--bbox", "15.00,48.00,15.03,48.02", "--start", "2023-05-01", "--end", "2023-09-30", "--bands", "B4")


def start(server, out):
    """The command in a process of its own."""
    arguments = [
        "export",
        *SMALL,
        "--out",
        str(out),
        "--endpoint",
        server.url,
        "--workers",
        "2",
        "--tile",
        "64",
    ]
    command = [sys.executable, "-m", "geoseg", *arguments]
    environment = {**os.environ, "GDAL_PAM_ENABLED": "NO"}
    # Where these tests were started in the background, SIGINT is ignored, and what they start would ignore it, too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
    finally:
        signal.signal(signal.SIGINT, before)


def go_on(export):
    """The same command to its end, in this process."""
    export.done(*SMALL, "--tile", 64)


@pytest.fixture
def undisturbed(export):
    """The bytes of an export that nobody disturbed."""
    export.done(*SMALL, "--out", export.folder / "undisturbed", "--tile", 64)
    return (export.folder / "undisturbed" / "sentinel2.tif").read_bytes()


def stop_after(earth, process, tiles, how):
    """Send a signal once so many tiles were given out."""
    before = len(earth.tile_grids())
    while len(earth.tile_grids()) - before < tiles and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(how)
    process.wait(timeout=60)
    process.communicate()


def test_killed_at_any_point_it_goes_on_without_asking_again(export, earth, undisturbed):
    earth.requests.clear()
    earth.latency_s = 0.03
    for tiles in (1, 6, 5):
        process = start(earth, export.out)
        stop_after(earth, process, tiles, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not (export.out / "sentinel2.tif").exists()
    go_on(export)
    assert (export.out / "sentinel2.tif").read_bytes() == undisturbed
    grids = earth.tile_grids()
    assert len(grids) - len(set(grids)) <= 3 * 2, "only tiles under way at a kill are asked for again"
    assert sorted(path.name for path in export.out.iterdir()) == ["sentinel2.json", "sentinel2.tif"]


def test_interrupted_it_says_how_to_go_on(export, earth, undisturbed):
    earth.requests.clear()
    earth.latency_s = 0.03
    process = start(earth, export.out)
    stop_after(earth, process, 4, signal.SIGINT)
    assert process.returncode == 130
    asked = set(earth.tile_grids())
    go_on(export)
    assert len(earth.tile_grids()) == len(set(earth.tile_grids())), "tiles under way at Ctrl-C were kept"
    assert asked < set(earth.tile_grids())
    assert (export.out / "sentinel2.tif").read_bytes() == undisturbed


def test_without_room_for_a_tile_it_says_so_and_goes_on_later(export, earth, undisturbed):
    with limited_files(1000):
        assert "could not be written: no space left on the disk" in export.refused(*SMALL, "--tile", 64)
    go_on(export)
    assert (export.out / "sentinel2.tif").read_bytes() == undisturbed


def test_without_room_for_the_mosaic_every_tile_is_kept(export, earth):
    def noise(gx, gy, number):
        return (gx * 2_654_435_761 ^ gy * 2_246_822_519) % 65_521 // 2 + 1

    kind, _ = earth.assets["COPERNICUS/S2_SR_HARMONIZED"].bands["B4"]
    earth.assets["COPERNICUS/S2_SR_HARMONIZED"].bands["B4"] = (kind, noise)
    with limited_files(50_000):
        assert "sentinel2.tif could not be written" in export.refused(*SMALL, "--tile", 64)
    assert not list(export.out.glob("*.tif"))
    asked = len(earth.tile_grids())
    go_on(export)
    assert len(earth.tile_grids()) == asked
    with rasterio.open(export.out / "sentinel2.tif") as file:
        assert file.read(1).min() > 0
