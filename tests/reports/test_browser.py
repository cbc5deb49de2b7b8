"""A report in a real browser: nothing is asked of anybody, nothing goes wrong, and what can be clicked does what it says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from geoseg.cli.main import geoseg
from geoseg.reports.options import ReportOptions
from geoseg.reports.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light-1280", "dark-390"])
def page(
    request: pytest.FixtureRequest, browser: Any, town: Path, town_photo: Path, tmp_path: Path
) -> Iterator[Any]:
    """A report that is open, in two looks and widths; in the end nothing may have been asked for or gone wrong."""
    scheme, width = request.param.split("-")
    assert CliRunner().invoke(geoseg, ["stats", str(town), "--regions", "grid:50m", "--quiet"]).exit_code == 0
    out = write_report(
        town, tmp_path / "report.html", ReportOptions(image=str(town_photo), title="Example <Town>")
    )
    opened = browser.new_page(color_scheme=scheme, viewport={"width": int(width), "height": 900})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request",
        lambda asked: (
            complaints.append(asked.url)
            if asked.url != out.as_uri() and not asked.url.startswith("data:")
            else None
        ),
    )
    opened.goto(out.as_uri())
    opened.wait_for_function("window.geosegView !== undefined")
    yield opened
    opened.close()
    assert complaints == []


def is_foreign(url: str, page: Path) -> bool:
    return url != page.as_uri() and not url.startswith("data:")


def count_colors(page: Any) -> int:
    """How many colours the outlines on the map have."""
    return int(page.evaluate(
        "new Set(Object.values(geosegView.map._layers).filter(l => l.feature === undefined && l.options.fillOpacity === 0.3 && l._latlngs)"
        ".map(l => l.options.color)).size"
    ))  # fmt: skip


def test_the_page_shows_itself(page: Any) -> None:
    assert page.title() == "Example <Town>"
    assert page.locator("h1").inner_text() == "Example <Town>"
    assert page.locator("#map canvas").count() >= 1
    assert page.locator("#map img.pixels").count() == 1
    wide = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert wide, "the page must not scroll sideways"


def test_a_building_tells_what_it_is(page: Any) -> None:
    page.evaluate("geosegView.open(3)")
    words = page.locator(".leaflet-popup-content").inner_text()
    assert "110 m²" in words
    assert "Corners" in words


def test_colours_layers_and_opacity_can_be_chosen(page: Any) -> None:
    assert count_colors(page) == 1
    page.select_option("#color-by", "area")
    assert count_colors(page) > 3
    page.uncheck('[data-layer="image"]')
    assert page.locator("#map img.pixels").count() == 0
    page.check('[data-layer="image"]')
    page.locator('[data-fade="image"]').fill("0.5")
    assert page.locator("#map img.pixels").evaluate("image => image.style.opacity") == "0.5"


def test_the_table_sorts_by_what_is_clicked(page: Any) -> None:
    heading = page.locator("th button", has_text="Buildings")
    heading.click()
    counts = [int(text) for text in page.locator("table.sortable tbody tr td:nth-child(3)").all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    heading.press("Enter")
    again = [int(text) for text in page.locator("table.sortable tbody tr td:nth-child(3)").all_inner_texts()]
    assert again == sorted(counts)


def test_the_table_says_how_it_is_sorted(page: Any) -> None:
    """Names from the first on, numbers from the largest on; a second click turns both around."""
    for head, column, orders in (("Region", 1, (False, True)), ("Buildings", 3, (True, False))):
        heading = page.locator("th", has_text=head).first
        for is_falling in orders:
            heading.locator("button").click()
            texts = page.locator(f"table.sortable tbody tr td:nth-child({column})").all_inner_texts()
            values = [int(text) for text in texts] if column == 3 else texts
            assert values == sorted(values, reverse=is_falling)
            assert heading.get_attribute("aria-sort") == ("descending" if is_falling else "ascending")
