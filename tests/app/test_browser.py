"""The app in a real browser, from the upload to a file that opens; nothing goes wrong, and no request leaves the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import geopandas as gpd
import pytest
from app_server import (
    CHROMIUM,
    ask_map,
    click_map,
    find_buildings,
    open_browser,
    open_page,
    serve_app,
    upload,
    wait_until_still,
)

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def address(place: Path, color_model: Path) -> Iterator[str]:
    with serve_app(place, ["--model", str(color_model)]) as served:
        yield served
    assert [path.name for path in place.iterdir()] == ["server.log"]  # all that people brought is gone


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("look", ["light-1280", "dark-390"])
def test_from_the_upload_to_a_file(browser: Any, address: str, crop: Path, tmp_path: Path, look: str) -> None:
    scheme, width = look.split("-")
    with open_page(browser, address, (int(width), 1400), scheme) as page:
        upload(page, crop)
        page.get_by_text("crop: 320 x 320 pixels").wait_for()
        find_buildings(page)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        count = ask_map(page, "view.count()")
        assert count > 0

        # A building tells what it is.
        ask_map(page, "view.open(0)")
        words = page.locator(".leaflet-popup-content").inner_text()
        assert "m²" in words
        assert "Confidence" in words
        assert "Corners" in words

        # The slider changes polygons and totals.
        totals = page.locator("ul.numbers").inner_text()
        page.get_by_role("slider", name="Threshold").focus()
        for _ in range(35):
            page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "before => document.querySelector('ul.numbers').innerText !== before", arg=totals
        )
        wait_until_still(page)
        assert ask_map(page, "view.count()") != count or page.locator("ul.numbers").inner_text() != totals
        assert "shown_threshold=" in page.url

        # Only polygons came: the image is the one that was there.
        assert ask_map(page, "root.geoseg.component.data.partial")
        assert page.locator(".geoseg-map img.pixels").count() == 1

        # A region that is drawn is counted.
        ask_map(
            page, "view.map.closePopup().fitBounds(root.geoseg.component.data.map.bounds, {animate: false})"
        )
        page.locator(".geoseg-map .map").scroll_into_view_if_needed()
        page.get_by_role("button", name="Draw a region").click()
        click_map(page, (0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7))
        page.keyboard.press("Enter")
        page.get_by_text("Per region").wait_for()
        wait_until_still(page)
        assert "map=" in page.url

        # The file holds what the map shows.
        shown = ask_map(page, "view.count()")
        with page.expect_download() as waiting:
            page.get_by_role("button", name="GeoPackage").click()
        waiting.value.save_as(tmp_path / "taken.gpkg")
        assert waiting.value.suggested_filename == "crop-buildings.gpkg"
        assert len(gpd.read_file(tmp_path / "taken.gpkg", layer="buildings")) == shown
        assert gpd.read_file(tmp_path / "taken.gpkg", layer="regions")["region"].tolist() == ["Region 1"]


def test_layers_and_colours_are_switched_and_kept_in_the_address(
    browser: Any, address: str, crop: Path
) -> None:
    with open_page(browser, f"{address}/?colors=area&off=image.base-map.probability", (1280, 1200)) as page:
        upload(page, crop)
        find_buildings(page)
        assert page.locator('.geoseg-map [data-layer="image"]').is_checked() is False
        assert page.locator(".geoseg-map img.pixels").count() == 0
        assert page.locator(".geoseg-map .legend").inner_text().count("m²") == 3
        page.locator('.geoseg-map [data-layer="image"]').check()
        page.locator(".geoseg-map [data-colors]").select_option("confidence")
        assert page.locator(".geoseg-map img.pixels").count() == 1
        assert "colors=confidence" in page.url
        assert "off=probability.base-map" in page.url
        page.locator('.geoseg-map [data-fade="image"]').fill("0.5")
        assert page.locator(".geoseg-map img.pixels").evaluate("image => image.style.opacity") == "0.5"


def test_several_classes_have_a_legend_and_no_threshold(
    browser: Any, address: str, roofs: Path, color_model: Path
) -> None:
    with open_page(browser, f"{address}/?model={quote(str(color_model))}", (1280, 1200)) as page:
        upload(page, roofs)
        page.get_by_text("roofs: 240 x 200 pixels").wait_for()
        find_buildings(page)
        assert page.get_by_role("slider", name="Threshold").count() == 0
        assert page.locator(".geoseg-map .legend").inner_text().split("\n") == [
            "red roof",
            "green roof",
            "blue roof",
        ]
        assert page.locator(".geoseg-map [data-colors]").input_value() == "class"
        assert "colors=" not in page.url
        ask_map(page, "view.open(0)")
        assert "Class" in page.locator(".leaflet-popup-content").inner_text()
        assert "red roof" in page.locator("ul.numbers").inner_text()
        page.locator(".geoseg-map [data-colors]").select_option("area")
        assert "colors=area" in page.url
        page.locator(".geoseg-map [data-colors]").select_option("one")
        assert "colors=one" in page.url
        assert page.locator(".geoseg-map .legend").is_hidden()


@pytest.mark.parametrize("look", ["light-1280", "dark-390"])
def test_sample_points_are_answered_by_keys(
    browser: Any, address: str, crop: Path, tmp_path: Path, look: str
) -> None:
    scheme, width = look.split("-")
    with open_page(browser, address, (int(width), 1100), scheme) as page:
        upload(page, crop)
        page.get_by_text("crop: 320 x 320 pixels").wait_for()
        find_buildings(page)
        page.get_by_role("button", name="Take the visible part").click()
        page.get_by_text("Per region").wait_for()
        open_section(page, "Sample points")
        page.get_by_role("button", name="Draw points over the map").click()
        page.locator(".geoseg-chips .now").get_by_text("Point 1").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for number, key in enumerate("nub", start=1):
            page.keyboard.press(key)
            page.locator(".geoseg-chips .now").get_by_text(f"Point {number + 1}").wait_for()
        page.keyboard.press("ArrowLeft")
        page.locator(".geoseg-chips .now").get_by_text("answered “Building”").wait_for()
        page.get_by_role("button", name="Not a building").click()
        page.get_by_text("3 of 100 points answered").wait_for()
        wait_until_still(page)
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Points (GeoPackage)").click()
        waiting.value.save_as(tmp_path / "taken.gpkg")
        points = gpd.read_file(tmp_path / "taken.gpkg", layer="points").sort_values("id")
        assert points["answer"].tolist()[:4] == ["not", "unsure", "not", ""]

        # The map is still there, and says what the points make of its area.
        open_section(page, "Find buildings")
        page.locator(".geoseg-map canvas").first.wait_for()
        assert page.get_by_text("crop: 320 x 320 pixels").count() == 1
        page.get_by_text("Per region").wait_for()  # what was drawn on it, too


def open_section(page: Any, name: str) -> None:
    """Go to another page of the app, whose list is folded away where there is little room."""
    link = page.get_by_role("link", name=name)
    if not link.first.is_visible() or page.viewport_size["width"] < 700:
        page.get_by_test_id("stExpandSidebarButton").click()
    link.first.click()
    if page.viewport_size["width"] < 700:
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()


def test_what_is_no_image_gets_a_clear_word_and_leaves_nothing(
    browser: Any, address: str, place: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "holiday.png"
    bad.write_bytes(b"not a picture at all")
    with open_page(browser, address, (1280, 900)) as page:
        upload(page, bad)
        page.get_by_text("its content is no PNG image").wait_for()
        assert page.get_by_role("button", name="Find buildings").is_disabled()
    assert list(place.rglob("holiday*")) == []


def test_two_people_at_once_see_only_their_own(
    browser: Any, address: str, crop: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.tif"
    other.write_bytes(crop.read_bytes())
    with (
        open_page(browser, address, (1280, 1200)) as first,
        open_page(browser, address, (1280, 1200)) as second,
    ):
        upload(first, crop)
        upload(second, other)
        first.get_by_text("crop: 320 x 320").wait_for()
        second.get_by_text("other: 320 x 320").wait_for()
        find_buildings(first)
        assert second.locator(".geoseg-map").count() == 0
        assert first.get_by_text("other: 320").count() == 0
        assert second.get_by_text("crop: 320").count() == 0
