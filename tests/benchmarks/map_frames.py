"""How smoothly the map pans: outlines up to the most that it draws one by one, and a picture of 100,000.

    python tests/benchmarks/map_frames.py

A real Chromium without a graphics card drags the map for two seconds; a frame is what comes between two calls of the browser for
the next picture. 16.7 ms are 60 frames a second. On a busy machine frames are late: run it on a quiet one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from machine import machine, table

from geoseg.app.maps import draw_footprints
from geoseg.reports.report import MOST_FOOTPRINTS
from geoseg.reports.webmap import make_map_data, read_asset, write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from app_server import open_browser

COUNTS = (5_000, 20_000, 100_000)
STEPS = 100
WATCH = """() => {
    window.frames_ms = [];
    let last = performance.now();
    const next = (now) => { window.frames_ms.push(now - last); last = now; requestAnimationFrame(next); };
    requestAnimationFrame(next);
}"""


def draw_town(count: int) -> gpd.GeoDataFrame:
    """Turned houses with a corner cut out, on plots of 20 m."""
    random = np.random.default_rng(0)
    row, col = np.divmod(np.arange(count), round(count**0.5))
    house = np.array([(0, 0), (9, 0), (9, 6), (5, 6), (5, 11), (0, 11), (0, 0)], float)
    turn = random.uniform(0, np.pi, count)
    x, y = house.T
    rings = np.stack(
        [
            500_000 + 20 * col[:, None] + np.outer(np.cos(turn), x) - np.outer(np.sin(turn), y),
            5_000_000 + 20 * row[:, None] + np.outer(np.sin(turn), x) + np.outer(np.cos(turn), y),
        ],
        axis=-1,
    )
    columns = {"class": "building", "area_m2": 79.0, "confidence": random.uniform(0.5, 1, count)}
    return gpd.GeoDataFrame(columns, geometry=shapely.polygons(rings), crs="EPSG:32633")


def write_page(frame: gpd.GeoDataFrame) -> str:
    """The map as the app shows it: outlines, or a picture of them."""
    pictured = len(frame) > MOST_FOOTPRINTS
    images = [draw_footprints(frame)] if pictured else []
    data = make_map_data(frame.iloc[:0] if pictured else frame, None, images, "")
    return Template(read_asset("frame.html")).substitute(
        leaflet_css=read_asset("leaflet.css"),
        leaflet_js=read_asset("leaflet.js"),
        map_css=read_asset("map.css"),
        map_js=read_asset("map.js"),
        data=write_json(data),
    )


def drag_map(page: Any) -> np.ndarray:
    """Milliseconds of each frame while the map is dragged to and fro."""
    page.mouse.move(600, 400)
    page.mouse.down()
    page.evaluate(WATCH)
    for step in range(STEPS):
        page.mouse.move(600 + 200 * np.sin(step / 8), 400 + 100 * np.cos(step / 8))
        page.wait_for_timeout(20)
    page.mouse.up()
    return np.array(page.evaluate("window.frames_ms")[1:])


def main() -> None:
    rows = []
    with TemporaryDirectory() as folder, open_browser() as browser:
        for count in COUNTS:
            path = Path(folder, f"{count}.html")
            path.write_text(write_page(draw_town(count)), encoding="utf-8")
            page = browser.new_page(viewport={"width": 1200, "height": 800})
            page.goto(path.as_uri())
            page.locator(".leaflet-container").wait_for()
            page.wait_for_timeout(1000)
            frames = drag_map(page)
            rows.append(
                (
                    f"{count:,}",
                    "picture" if count > MOST_FOOTPRINTS else "outlines",
                    *(f"{value:.0f}" for value in np.percentile(frames, [50, 95, 100])),
                    f"{path.stat().st_size / 1e6:.1f}",
                )
            )
            page.close()
    print(machine())
    print(table(("footprints", "shown as", "median ms", "95 % ms", "longest ms", "MB"), rows))


if __name__ == "__main__":
    main()
