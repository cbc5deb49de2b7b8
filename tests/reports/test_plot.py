"""What pictures show, against the pixels and shapes that went in."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner, Result
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from pyproj import CRS
from rasterio.warp import transform_bounds

import geoseg
from geoseg.cli.main import geoseg as command
from geoseg.comparison.write import COLORS
from geoseg.errors import InputError
from geoseg.reports.layers import find_raster_kind, open_layer, read_colors
from geoseg.reports.options import PlotOptions
from geoseg.reports.plot import draw_plot, write_plot
from geoseg.reports.view import View

UTM33 = "EPSG:32633"
LEFT, TOP, GSD = 500_000.0, 5_000_000.0, 0.5
YELLOW = (255, 212, 0)


def write_raster(path: Path, values: np.ndarray, crs: str | None = UTM33, **changes: object) -> Path:
    bands = values if values.ndim == 3 else values[None]
    profile = {
        "driver": "GTiff", "dtype": bands.dtype, "count": len(bands), "height": bands.shape[1], "width": bands.shape[2],
        "crs": crs, "transform": rasterio.Affine(GSD, 0, LEFT, 0, -GSD, TOP), **changes,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(bands)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (3, 120, 200), np.uint8)
    return write_raster(tmp_path / "photo.tif", values)


@pytest.fixture
def houses() -> gpd.GeoDataFrame:
    """Two buildings, one of them with a court: 40 x 30 m and 10 x 10 m."""
    court = shapely.box(LEFT + 20, TOP - 30, LEFT + 30, TOP - 20)
    large = shapely.box(LEFT + 10, TOP - 40, LEFT + 50, TOP - 10).difference(court)
    small = shapely.box(LEFT + 70, TOP - 40, LEFT + 80, TOP - 30)
    columns = {"area_m2": [1100.0, 100.0], "confidence": [0.9, 0.6], "class": ["hall", "house"]}
    return gpd.GeoDataFrame(columns, geometry=[large, small], crs=UTM33)


def plot(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["plot", *map(str, arguments)])


def shown(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def bare(width: float = 10.0, height: float = 6.0) -> Figure:
    figure = Figure(figsize=(width, height), dpi=20)
    figure.add_axes((0, 0, 1, 1))
    return figure


def test_the_pixels_of_an_image_are_its_own(photo: Path) -> None:
    layer = open_layer(photo)
    colors = read_colors(layer, View.of(layer.crs, layer.bounds, 200))
    with rasterio.open(photo) as raster:
        np.testing.assert_array_equal(colors[..., :3], raster.read().transpose(1, 2, 0))
    assert (colors[..., 3] == 255).all()


def test_a_window_shows_its_part_and_is_clear_beyond_the_image(photo: Path) -> None:
    layer = open_layer(photo)
    window = (LEFT - 10, TOP - 30, LEFT + 20, TOP)
    colors = read_colors(layer, View.of(layer.crs, window, 60))
    with rasterio.open(photo) as raster:
        np.testing.assert_array_equal(colors[:, 20:, :3], raster.read().transpose(1, 2, 0)[:60, :40])
    assert not colors[:, :20].any()
    assert not read_colors(layer, View.of(layer.crs, (0, 0, 1, 1), 9)).any()


@pytest.mark.parametrize(
    "turn",
    [rasterio.Affine.rotation(30) @ rasterio.Affine.scale(GSD, -GSD), rasterio.Affine.scale(GSD, GSD)],
    ids=["turned", "rows to the north"],
)
def test_an_image_that_does_not_lie_upright_is_where_it_is(tmp_path: Path, turn: rasterio.Affine) -> None:
    values = np.zeros((3, 120, 200), np.uint8)
    values[:, 20:40, 150:180] = 200
    transform = rasterio.Affine.translation(LEFT, TOP) @ turn
    layer = open_layer(write_raster(tmp_path / "turned.tif", values, transform=transform))
    view = View.of(layer.crs, layer.bounds, 400)
    colors = read_colors(layer, view)
    for (col, row), value in {(165, 30): 200, (165, 60): 0, (100, 30): 0}.items():
        across, down = ~view.transform @ (transform @ (col, row))
        assert colors[int(down), int(across)].tolist() == [value] * 3 + [255]
    assert (colors[..., 0] > 100).sum() * view.transform.a**2 == pytest.approx(20 * 30 * GSD**2, rel=0.05)


def test_a_layer_in_another_crs_lies_where_it_is(photo: Path, tmp_path: Path) -> None:
    values = np.zeros((120, 200), np.uint8)
    values[30:60, 50:100] = 1
    mask = open_layer(write_raster(tmp_path / "mask.tif", values))
    wgs84 = CRS.from_epsg(4326)
    view = View.of(wgs84, transform_bounds(UTM33, wgs84, *open_layer(photo).bounds), 400)
    seen = read_colors(mask, view)[..., 3] > 0
    rows, cols = np.nonzero(seen)
    assert cols.min() / 400 == pytest.approx(0.25, abs=0.02)
    assert cols.max() / 400 == pytest.approx(0.5, abs=0.02)
    assert rows.min() / view.height == pytest.approx(0.25, abs=0.03)
    assert seen.mean() == pytest.approx(30 * 50 / values.size, rel=0.05)


@pytest.mark.parametrize(
    ("values", "changes", "kind"),
    [
        (np.full((3, 9, 9), 7, np.uint8), {}, "image"),
        (np.arange(81, dtype=np.uint8).reshape(9, 9), {}, "image"),
        (np.ones((9, 9), np.float32), {}, "image"),
        (np.eye(9, dtype=np.uint8), {}, "mask"),
        (np.eye(9, dtype=np.uint8) * 255, {}, "mask"),
    ],
)
def test_rasters_are_known_for_what_they_are(
    tmp_path: Path, values: np.ndarray, changes: dict[str, object], kind: str
) -> None:
    with rasterio.open(write_raster(tmp_path / "a.tif", values, **changes)) as raster:
        assert find_raster_kind(raster) == kind


def test_probabilities_and_palettes_are_known_by_their_files(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "p.tif", np.array([[0, 125, 250, 255]], np.uint8))
    with rasterio.open(path, "r+") as raster:
        raster.scales = (0.004,)
    probability = open_layer(path)
    colors = read_colors(probability, View.of(probability.crs, probability.bounds, 4))
    assert colors[0, :, 3].tolist() == [0, 128, 255, 0]
    path = write_raster(
        tmp_path / "m.tif", np.array([[0, 1, 2, 255]], np.uint8), photometric="palette", nodata=255
    )
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {1: (9, 8, 7, 255), 2: (1, 2, 3, 255)})
    mask = open_layer(path)
    colors = read_colors(mask, View.of(mask.crs, mask.bounds, 4))
    assert colors[0].tolist() == [[0, 0, 0, 0], [9, 8, 7, 255], [1, 2, 3, 255], [0, 0, 0, 0]]


def test_outlines_lie_on_their_buildings_and_courts_stay_open(houses: gpd.GeoDataFrame) -> None:
    figure = bare()
    draw_plot([houses], figure.axes[0], PlotOptions(window=f"{LEFT},{TOP - 60},{LEFT + 100},{TOP}", fill=1.0))
    picture = shown(figure)  # 200 x 120 pixels of half a metre
    for row, col, inside in (
        (30, 30, True),
        (50, 50, False),
        (70, 150, True),
        (30, 120, False),
        (50, 90, True),
    ):
        assert (np.abs(picture[row, col].astype(int) - YELLOW) < 20).all() == inside, (row, col)


@pytest.mark.parametrize("by", ["area", "confidence", "class"])
def test_colours_tell_footprints_apart(houses: gpd.GeoDataFrame, by: str) -> None:
    figure = bare()
    draw_plot([houses], figure.axes[0], PlotOptions(color_by=by, fill=1.0))
    faces = figure.axes[0].collections[0].get_facecolors()
    assert len(faces) == 2
    assert tuple(faces[0]) != tuple(faces[1])
    names = (
        [text.get_text() for text in legend.get_texts()] if (legend := figure.axes[0].get_legend()) else []
    )
    assert names == (["hall", "house"] if by == "class" else [])


def test_only_what_lies_in_the_window_is_drawn(houses: gpd.GeoDataFrame) -> None:
    figure = bare()
    draw_plot([houses], figure.axes[0], PlotOptions(window=f"{LEFT + 60},{TOP - 60},{LEFT + 100},{TOP}"))
    assert len(figure.axes[0].collections[0].get_paths()) == 1


def test_the_command_writes_a_picture_of_the_images_shape(
    photo: Path, houses: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    houses.to_crs("EPSG:4326").to_file(tmp_path / "b.gpkg", layer="buildings")
    houses[["geometry"]].to_file(tmp_path / "b.gpkg", layer="regions")
    out = tmp_path / "picture.png"
    run = plot(
        photo, tmp_path / "b.gpkg", f"{tmp_path}/b.gpkg:regions", "--out", out, "--width", 400, "--json"
    )
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout) == {"out": str(out)}
    with Image.open(out) as picture:
        assert picture.size == (400, 240)
    assert plot(photo, "--out", out).exit_code == 2
    assert plot(photo, "--out", out, "--overwrite", "--title", "A town", "--width", 300).exit_code == 0


@pytest.mark.parametrize("suffix", ["jpg", "webp", "pdf", "svg"])
def test_other_kinds_of_pictures_can_be_asked_for(photo: Path, tmp_path: Path, suffix: str) -> None:
    assert plot(photo, "--out", tmp_path / f"p.{suffix}", "--width", 200).exit_code == 0
    assert (tmp_path / f"p.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_picture_has_the_same_bytes_on_another_day(
    photo: Path, houses: gpd.GeoDataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    pictures = []
    for day in ("0", "86400"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", day)  # what matplotlib takes for now
        out = tmp_path / f"{day}.{suffix}"
        pictures.append(write_plot([photo, houses], out, PlotOptions(width=200)).read_bytes())
    assert pictures[0] == pictures[1]


def test_python_gets_the_axes(photo: Path, houses: gpd.GeoDataFrame) -> None:
    from matplotlib import pyplot

    axes = geoseg.plot(photo, houses, title="Houses")
    assert "Houses" in [text.get_text() for text in axes.texts]
    assert axes.get_xlim() == (LEFT, LEFT + 100)
    pyplot.close(axes.figure)
    own = bare()
    assert geoseg.plot(houses, axes=own.axes[0]) is own.axes[0]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere.tif",), "nowhere.tif: not a raster that can be read"),
        (("nowhere.gpkg",), "nowhere.gpkg: there is no such file"),
        (("photo.tif", "--window", "1,2,3"), "--window 1,2,3: give four numbers"),
        (("photo.tif", "--window", "0,0,1,1"), "which lies in 500000,4999940,500100,5000000"),
        (("photo.tif", "--fill", "2"), "--fill 2"),
        (("photo.tif", "--width", "20000"), "--width 20000: makes a picture of 20,000 x 12,000 pixels"),
        (("photo.tif", "lines.geojson"), "lines.geojson: holds no polygon to show"),
        (
            ("photo.tif", "plain.geojson", "--color-by", "class"),
            "--color-by class: the footprints have no column class",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    gpd.GeoSeries([shapely.LineString([(0, 0), (1, 1)])], crs=4326).to_file("lines.geojson")
    gpd.GeoDataFrame({"area_m2": [1.0]}, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM33).to_file(
        "plain.geojson"
    )
    run = plot(*arguments, "--out", "p.png")
    assert run.exit_code == 2
    assert complaint in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    assert not Path("p.png").exists()


def test_a_picture_of_another_kind_is_refused(photo: Path, tmp_path: Path) -> None:
    run = plot(photo, "--out", tmp_path / "p.bmp")
    assert run.exit_code == 2
    assert ".png" in run.stderr


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to show"):
        draw_plot([], bare().axes[0])


def test_colours_that_no_layer_could_have_are_refused(houses: gpd.GeoDataFrame) -> None:
    with pytest.raises(
        InputError, match="`color_by` class: no layer holds footprints, which have a column area_m2"
    ):
        draw_plot([houses.drop(columns="area_m2")], bare().axes[0], PlotOptions(color_by="class"))


def test_footprints_in_pixels_are_coloured_by_their_area(houses: gpd.GeoDataFrame, tmp_path: Path) -> None:
    houses.rename(columns={"area_m2": "area_px"}).to_file(tmp_path / "b.geojson")
    figure = bare()
    draw_plot([tmp_path / "b.geojson"], figure.axes[0], PlotOptions(color_by="area"))
    first, second = figure.axes[0].collections[0].get_facecolors()
    assert tuple(first) != tuple(second)
    assert open_layer(tmp_path / "b.geojson").crs is None


@pytest.mark.parametrize("source", [["scene.tif", "buildings.gpkg"], None, 7])
def test_what_is_no_layer_is_refused_in_one_line(source: object) -> None:
    with pytest.raises(InputError, match="give several one after the other"):
        geoseg.plot(source)  # type: ignore[arg-type]


def test_changes_are_coloured_by_what_became_of_each_building() -> None:
    boxes = shapely.box(LEFT + np.array([0, 20, 40]), TOP - 20, LEFT + np.array([10, 30, 50]), TOP - 10)
    frame = gpd.GeoDataFrame({"change": ["same", "only_b", "no such word"]}, geometry=boxes, crs=UTM33)
    axes = geoseg.plot(frame)
    (drawn,) = axes.collections
    found = [tuple(np.rint(color[:3] * 255).astype(int)) for color in drawn.get_edgecolors()]
    assert found == [COLORS["same"].color, COLORS["only_b"].color, YELLOW]
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["same in both", "only in B: new, or missed in A"]


def test_a_comparison_with_regions_is_shown_without_naming_its_layer(
    houses: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    houses.to_file(tmp_path / "a.gpkg")
    geoseg.compare(tmp_path / "a.gpkg", tmp_path / "a.gpkg", tmp_path / "c.gpkg", regions="grid:50m")
    legend = draw_plot([tmp_path / "c.gpkg"], bare().axes[0]).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["same in both"]


def test_an_image_in_which_nothing_was_found_is_shown_alone(photo: Path, houses: gpd.GeoDataFrame) -> None:
    axes = draw_plot([photo, houses[:0]], bare().axes[0], PlotOptions(color_by="area"))
    assert (len(axes.images), len(axes.collections[0].get_paths())) == (1, 0)
    with pytest.raises(InputError, match="holds no polygon to show"):
        draw_plot([houses[:0]], bare().axes[0])


def test_the_arrow_to_north_is_seen_on_dark_ground(tmp_path: Path) -> None:
    dark = write_raster(tmp_path / "dark.tif", np.zeros((3, 300, 300), np.uint8))
    assert plot(dark, "--out", tmp_path / "dark.png").exit_code == 0
    seen = np.asarray(Image.open(tmp_path / "dark.png").convert("L")).astype(int)
    side = len(seen)
    tip = seen[: side // 30, -side // 10 :]  # above the letter, only the arrow
    assert (tip > 250).any()
