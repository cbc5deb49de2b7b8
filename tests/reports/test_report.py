"""What a report says, against the footprints it is of; how a browser shows it is in test_browser.py."""

from __future__ import annotations

import base64
import io
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from made import RasterWriter
from PIL import Image
from reporting import LEFT, TOP, UTM33, make_town

from geoseg import stats
from geoseg.cli.main import geoseg
from geoseg.models.store import find_model
from geoseg.reports.options import ReportOptions
from geoseg.reports.report import describe_run, format_area, write_report
from geoseg.reports.webmap import STEPS_PER_DEGREE, encode_shapes
from geoseg.workflows.results import FootprintCounts, FootprintResult


def report(*arguments: object) -> Result:
    return CliRunner().invoke(geoseg, ["report", *map(str, arguments)])


def read_map(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="map-data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def decode(rings: list[list[int]], steps: float) -> list[np.ndarray]:
    return [np.cumsum(np.array(ring).reshape(-1, 2), axis=0) / steps for ring in rings]


def test_the_numbers_are_those_of_the_footprints(town: Path, town_photo: Path, tmp_path: Path) -> None:
    run = report(town, "--image", town_photo, "--out", tmp_path / "r.html", "--json")
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout) == {"out": str(tmp_path / "r.html")}
    page = (tmp_path / "r.html").read_text()
    frame = make_town(12)
    assert "<strong>12</strong><span>buildings</span>" in page
    assert f"<strong>{frame['area_m2'].sum():,.0f} m²</strong><span>built-up area</span>" in page
    data = read_map(page)
    assert data["buildings"]["area"] == frame["area_m2"].tolist()
    assert data["buildings"]["classes"] == ["house"]
    assert "City of &lt;Example&gt;" in data["attribution"]
    assert "<td>roofs</td>" in page
    assert "<td>0.4</td>" in page


def test_unsure_outlines_of_several_classes_stand_where_they_belong(tmp_path: Path) -> None:
    """Of four classes, the most likely one may be less likely than not; and a part of them is no building."""
    frame = make_town(12)
    frame["class"] = ["water", "wood"] * 6
    frame["confidence"] = [0.25, 0.31, 0.95] * 4
    frame.to_file(tmp_path / "town.gpkg", layer="buildings")
    ward = gpd.GeoDataFrame({"name": ["all"]}, geometry=[shapely.box(*frame.total_bounds)], crs=frame.crs)
    table = stats(frame, ward).regions
    table.to_file(tmp_path / "town.gpkg", layer="regions")
    write_report(tmp_path / "town.gpkg", tmp_path / "r.html", ReportOptions())
    page = (tmp_path / "r.html").read_text()
    chart = page[page.index("Outlines by confidence") :]
    numbers = re.findall(r'text-anchor="middle">([^<]*)</text>', chart)
    assert dict(zip(numbers[1::2], numbers[::2], strict=True)) == {
        f"{low / 10:.2f}": {2: "4", 3: "4", 9: "4"}.get(low, "0") for low in range(10)
    }
    assert "of the regions is covered" in page
    assert "built up" not in page


def test_outlines_come_back_within_a_centimetre(town: Path, tmp_path: Path) -> None:
    page = write_report(town, tmp_path / "r.html", ReportOptions()).read_text()
    told = read_map(page)["buildings"]["rings"]
    for rings, house in zip(told, make_town(12).to_crs(4326).geometry, strict=True):
        (points,) = decode(rings, STEPS_PER_DEGREE)
        np.testing.assert_allclose(points, shapely.get_coordinates(house)[:-1], atol=0.6 / STEPS_PER_DEGREE)


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-85, 85)), min_size=3, max_size=30))
def test_steps_add_up_to_the_points(points: list[tuple[float, float]]) -> None:
    polygon = shapely.Polygon(points, [points[::-1]])
    for ring, told in zip(
        (polygon.exterior, *polygon.interiors), encode_shapes(np.array([polygon]), 1e7)[0][0], strict=True
    ):
        (back,) = decode([told], 1e7)
        np.testing.assert_allclose(back, shapely.get_coordinates(ring)[:-1], atol=0.6e-7)


def test_the_image_lies_where_it_is(town: Path, town_photo: Path, tmp_path: Path) -> None:
    page = write_report(town, tmp_path / "r.html", ReportOptions(image=str(town_photo))).read_text()
    (image,) = read_map(page)["images"]
    (south, west), (north, east) = image["bounds"]
    frame = gpd.GeoSeries([shapely.box(LEFT, TOP - 60, LEFT + 250, TOP)], crs=UTM33).to_crs(4326)
    np.testing.assert_allclose([west, south, east, north], frame.total_bounds, atol=1e-6)
    picture = Image.open(io.BytesIO(base64.b64decode(image["url"].partition(",")[2])))
    assert picture.size[0] == 2000
    assert picture.size[0] / picture.size[1] == pytest.approx(250 / 60, rel=0.05)


def test_regions_are_a_table_that_adds_up(town: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(geoseg, ["stats", str(town), "--regions", "grid:50m", "--quiet"])
    assert done.exit_code == 0, done.output
    page = write_report(town, tmp_path / "r.html", ReportOptions()).read_text()
    table = page.partition('<table class="sortable">')[2].partition("</table>")[0]
    cells = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2])
    counts = [int(re.findall(r'data-value="([^"]*)"', row)[0]) for row in cells]
    assert sum(counts) == 12
    assert len(read_map(page)["regions"]["rings"]) == len(cells)


def test_the_page_asks_nobody_for_anything(town: Path, town_photo: Path, tmp_path: Path) -> None:
    page = write_report(town, tmp_path / "r.html", ReportOptions(image=str(town_photo))).read_text()
    assert "default-src 'none'" in page

    found: list[str] = []

    class Addresses(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value or "" for name, value in attrs if name in ("src", "href"))

    Addresses().feed(page)
    assert not found


def test_words_of_strangers_cannot_run(town: Path, tmp_path: Path) -> None:
    frame = make_town(2).assign(**{"class": ["</script><script>alert(1)</script>", "<b>"]})
    frame.to_file(tmp_path / "evil.gpkg", layer="buildings")
    options = ReportOptions(title="<script>alert(2)</script>", attribution='"><img src=x>')
    page = write_report(tmp_path / "evil.gpkg", tmp_path / "r.html", options).read_text()
    assert page.count("<script") == 4
    assert "<script>alert" not in page
    assert read_map(page)["buildings"]["classes"] == sorted(frame["class"])
    assert "<img" not in read_map(page)["attribution"]


def test_many_footprints_stay_a_small_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    town = make_town(21_000)
    town.to_parquet(tmp_path / "many.parquet")
    page = write_report(tmp_path / "many.parquet", tmp_path / "r.html", ReportOptions()).read_text()
    assert "The map shows the largest 20,000 of 21,000 buildings." in page
    assert "<strong>21,000</strong>" in page
    assert len(read_map(page)["buildings"]["area"]) == 20_000
    assert len(page) < 3_000_000


@pytest.mark.parametrize(
    ("area", "words"), [(12.4, "12 m²"), (9999, "9,999 m²"), (12_345, "1.23 ha"), (2_500_000, "2.50 km²")]
)
def test_areas_are_written_in_a_fitting_unit(area: float, words: str) -> None:
    assert format_area(area) == words


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere.gpkg",), "nowhere.gpkg: there is no such file"),
        (("empty.gpkg",), "empty.gpkg: holds no footprint"),
        (("bare.gpkg",), "bare.gpkg: has no column area_m2"),
        (("town.gpkg", "--image", "nowhere.tif"), "nowhere.tif: not a raster"),
        (("town.gpkg", "--out", "r.pdf"), "r.pdf"),
        (("town.gpkg", "--out", "there.html"), "there.html: exists already"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_one_line(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_town(1)[["geometry"]].to_file("bare.gpkg", layer="buildings")
    make_town(1).iloc[:0].to_file("empty.gpkg", layer="buildings")
    Path("there.html").touch()
    run = report(*arguments, *([] if "--out" in arguments else ["--out", "r.html"]))
    assert run.exit_code == 2
    assert complaint in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    assert not Path("r.html").exists()


def test_a_result_shows_its_map_in_a_notebook(town: Path) -> None:
    result = FootprintResult(town, FootprintCounts(12, 0, 1620.0, "true"))
    shown = result._repr_html_()
    (frame,) = re.findall(r'<iframe srcdoc="([^"]*)"', shown)
    assert read_map(unescape(frame))["buildings"]["area"] == make_town(12)["area_m2"].tolist()
    assert "1,620.0 m²" in shown.partition("<iframe")[0]


def test_a_result_of_many_footprints_shows_figures_alone(town: Path, tmp_path: Path) -> None:
    for result in (
        FootprintResult(town, FootprintCounts(5001, 0, 1.0, "true")),
        FootprintResult(town, FootprintCounts(0, 0, 0.0, "true")),
        FootprintResult(tmp_path / "gone.gpkg", FootprintCounts(12, 0, 1.0, "true")),
        FootprintResult(None, None),
    ):
        assert "<iframe" not in result._repr_html_()


def test_each_known_failure_of_a_model_has_a_line_of_its_own() -> None:
    card = find_model("default").card
    facts = describe_run({}, card, seconds=1, megapixels=1)
    assert facts["Known to fail"].splitlines() == list(card.known_failures)


def test_a_run_writes_its_report_with_the_other_files(tiny_model: Path, write_raster: RasterWriter) -> None:
    scene = write_raster("blobs.tif", make_blobs())
    folder = scene.parent
    settings = ["--model", str(tiny_model), "--min-area", "1", "--regions", "grid:50m", "--quiet"]
    outputs = [
        "--out",
        str(folder / "b.gpkg"),
        "--mask",
        str(folder / "m.tif"),
        "--report",
        str(folder / "r.html"),
    ]
    run = CliRunner().invoke(geoseg, ["infer", str(scene), *settings, *outputs, "--json"])
    assert run.exit_code == 0, run.output
    page = (folder / "r.html").read_text()
    assert f"<strong>{json.loads(run.stdout)['footprints']:,}</strong><span>buildings</span>" in page
    assert "<td>tiny</td>" in page
    assert "megapixels</td>" in page
    assert [image["name"] for image in read_map(page)["images"]] == ["image", "mask"]
    assert 'class="sortable"' in page
    run = CliRunner().invoke(
        geoseg, ["infer", str(scene), *settings, "--mask", "x.tif", "--report", "r.html"]
    )
    assert (run.exit_code, "--report: a report shows footprints" in run.stderr) == (2, True)
    run = CliRunner().invoke(
        geoseg, ["infer", str(scene), *settings, "--out", f"{folder}/out/", "--report", "r.html"]
    )
    assert (run.exit_code, "--report r.html: shows one scene" in run.stderr) == (2, True)


@pytest.mark.parametrize(("gsd", "unit"), [("auto", "pixels"), ("0.3", "m²")])
def test_a_photograph_without_a_place_has_its_report_in_its_own_pixels(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gsd: str, unit: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(make_blobs().transpose(1, 2, 0)).save("photo.png")
    settings = ["--model", str(tiny_model), "--min-area", "1", "--gsd", gsd, "--quiet"]
    outputs = ["--out", "b.geojson", "--mask", "m.png", "--report", "r.html"]
    run = CliRunner().invoke(geoseg, ["infer", "photo.png", *settings, *outputs])
    assert run.exit_code == 0, run.output
    data = read_map(Path("r.html").read_text())
    assert (data["plane"], data["words"]["unit"]) == (True, unit)
    assert data["bounds"] == [[-120, 0], [0, 180]]
    corners = np.concatenate([ring for rings in data["buildings"]["rings"] for ring in decode(rings, 100)])
    assert corners[:, 0].min() >= 0
    assert corners[:, 0].max() <= 180
    assert corners[:, 1].min() >= -120
    assert corners[:, 1].max() <= 0
    given = ["--image", "photo.png"] if unit == "m²" else []  # GeoJSON cannot say that it lies nowhere
    assert report("b.geojson", *given, "--out", "again.html").exit_code == 0
    assert read_map(Path("again.html").read_text())["buildings"] == data["buildings"]


def test_a_run_that_finds_nothing_reports_that(tiny_model: Path, write_raster: RasterWriter) -> None:
    scene = write_raster("blobs.tif", make_blobs())
    settings = ["--model", str(tiny_model), "--min-area", "1e9", "--quiet"]
    outputs = ["--out", str(scene.parent / "b.gpkg"), "--report", str(scene.parent / "r.html")]
    run = CliRunner().invoke(geoseg, ["infer", str(scene), *settings, *outputs])
    assert run.exit_code == 0, run.output
    page = (scene.parent / "r.html").read_text()
    assert "<strong>0</strong><span>buildings</span>" in page
    assert "nan" not in page.partition("<main>")[2].partition("<section")[0]


def make_blobs() -> np.ndarray:
    """Smooth light and dark patches, on which even random weights draw outlines."""
    return (np.kron(np.random.default_rng(1).random((3, 20, 30)), np.ones((6, 6))) * 255).astype("uint8")
