"""The script of the app's map in a real browser, with data as the page gives it and without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from app_server import CHROMIUM, open_browser

from geoseg.app.components import read_own_asset
from geoseg.app.maps import (
    MapRequest,
    draw_footprints,
    leave_out_images,
    make_map,
    parse_part,
)
from geoseg.app.views import FootprintView, ViewRequest
from geoseg.reports.report import MOST_FOOTPRINTS
from geoseg.reports.webmap import read_asset

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")

SIDE = 150
"""So many houses in a row, and so many rows: more than the map draws one by one."""
RENDER = """data => {
    const component = { data, parentElement: document.body, setStateValue: (name, told) => window.told.push([name, told]) };
    window.render(component);
}"""


@pytest.fixture(scope="module")
def town() -> FootprintView:
    row, col = np.divmod(np.arange(SIDE * SIDE), SIDE)
    west, south = 500_000 + 20 * col, 5_000_000 + 20 * row
    columns = {"class": "building", "area_m2": np.full(SIDE * SIDE, 80.0), "confidence": 0.9}
    frame = gpd.GeoDataFrame(
        columns, geometry=shapely.box(west, south, west + 10, south + 8), crs="EPSG:32633"
    )
    assert len(frame) > MOST_FOOTPRINTS
    view = FootprintView(ViewRequest(0.5, 0.0), Path("nowhere"))
    view.__dict__["buildings"] = frame
    return view


@pytest.fixture
def page() -> Iterator[Any]:
    """A page with the script that keeps what the map tells."""
    script = "\n".join([read_asset("leaflet.js"), read_asset("map.js"), read_own_asset("app_map.js")])
    styles = "\n".join([read_asset("leaflet.css"), read_asset("map.css"), read_own_asset("app_map.css")])
    html = f"<style>{styles}</style><body>{read_own_asset('app_map.html')}</body>"
    with open_browser() as browser:
        opened = browser.new_page(viewport={"width": 900, "height": 800})
        wrong: list[str] = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.route("**/*", lambda asked: asked.fulfill(body=html, content_type="text/html"))
        opened.goto("http://localhost/")
        opened.evaluate("window.told = []")
        opened.add_script_tag(
            type="module", content=script.replace("export default function", "window.render = function")
        )
        opened.wait_for_function("() => window.render")
        yield opened
        assert wrong == []


def ask(page: Any, expression: str) -> Any:
    return page.evaluate(
        f"() => {{ const root = document.querySelector('.geoseg-map'), view = root.geoseg.view; return {expression}; }}"
    )


def take_told(page: Any, name: str) -> Any:
    """What the map has told under a name, last."""
    page.wait_for_function("name => window.told.some(each => each[0] === name)", arg=name)
    told = page.evaluate("name => window.told.filter(each => each[0] === name).pop()[1]", name)
    page.evaluate("name => { window.told = window.told.filter(each => each[0] !== name); }", name)
    return told


def test_too_many_footprints_are_a_picture_until_one_is_near(page: Any, town: FootprintView) -> None:
    picture = draw_footprints(town.buildings)
    first = make_map(MapRequest("run", 1, town, [], picture=picture))
    page.evaluate(RENDER, first)
    assert take_told(page, "known") == {"run": "run", "value": first["pictures"]}
    assert ask(page, "view.count()") == 0
    assert page.evaluate("window.told") == []

    ask(page, "view.map.setZoom(view.map.getZoom() + 2, { animate: false })")
    told = take_told(page, "seen")
    part = parse_part(told["value"])
    second = leave_out_images(
        make_map(MapRequest("run", 2, town, [], picture=picture, part=part)), first["pictures"]
    )
    assert second["map"]["images"] == []
    page.evaluate(RENDER, second)
    assert 100 < ask(page, "view.count()") == len(second["map"]["buildings"]["rings"]) < SIDE * SIDE
    image = page.locator('img[alt="footprints"]')
    assert image.evaluate("image => getComputedStyle(image).visibility") == "hidden"

    # A little further on all is there; far away it is not.
    ask(page, "view.map.panBy([20, 20], { animate: false })")
    page.wait_for_timeout(600)
    assert page.evaluate("window.told") == []
    ask(page, "view.open(0)")
    assert "Confidence" in page.locator(".leaflet-popup-content").inner_text()
    ask(
        page,
        "view.map.closePopup().setZoom(view.map.getZoom() - 5, { animate: false }).panBy([400, 0], { animate: false })",
    )
    whole = parse_part(take_told(page, "seen")["value"])
    page.evaluate(RENDER, make_map(MapRequest("run", 3, town, [], picture=picture, part=whole)))
    assert ask(page, "view.count()") == 0
    assert image.evaluate("image => getComputedStyle(image).visibility") == "visible"


def test_regions_that_were_drawn_before_the_page_was_left_stay(page: Any, town: FootprintView) -> None:
    ring = [[15.0, 45.1], [15.01, 45.1], [15.01, 45.11]]
    page.evaluate(
        RENDER,
        make_map(MapRequest("run", 1, town, [], drawn=[ring], picture=draw_footprints(town.buildings))),
    )
    page.get_by_role("button", name="Take the visible part").click()
    told = take_told(page, "drawn")
    assert told["run"] == "run"
    assert told["value"][0] == ring
    assert len(told["value"]) == 2
    page.get_by_role("button", name="Remove drawn regions").click()
    assert take_told(page, "drawn")["value"] == []
