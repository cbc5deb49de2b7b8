"""Several predictions in one evaluation: the table, the page, what is compared with what, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import shapely
from evaluating import run, summary
from heard import Heard
from layers import write_raster as write_on_grid
from made import HERE, UTM33, RasterWriter, card, photo
from numpy.typing import NDArray
from PIL import Image
from pyproj import CRS

from geoseg.datasets.schema import Dataset, Item, write_dataset
from geoseg.errors import InputError
from geoseg.evaluation.options import EvaluateOptions
from geoseg.evaluation.report.comparison import LARGEST_RATIO, ComparisonPage, draw_comparison
from geoseg.evaluation.report.panels import find_contested_tile
from geoseg.evaluation.report.tables import align_rows, cut_name, shorten_names
from geoseg.evaluation.results import EvaluationResult
from geoseg.evaluation.run import evaluate_predictions
from geoseg.raster.grid import Grid
from geoseg.raster.palette import ClassEntry
from geoseg.scores.confusion import Confusion
from geoseg.workflows.infer import infer_scene
from geoseg.workflows.options import InferOptions

SHAPE = (512, 640)
GRID = Grid(CRS.from_user_input(UTM33), HERE, *SHAPE)
LEFT, TOP = (corner.ravel() * 64 + 8 for corner in np.meshgrid(np.arange(10), np.arange(8)))
HOUSES = shapely.box(LEFT, TOP, LEFT + 40, TOP + 30)


def mask_of(boxes: NDArray[np.object_]) -> NDArray[np.uint8]:
    return np.asarray(rasterio.features.rasterize(boxes, SHAPE)).astype(np.uint8)


def moved(pixels: float) -> NDArray[np.object_]:
    """All houses moved to the right, half of them twice as far, so that tiles differ."""
    shifts = np.where(np.arange(len(HOUSES)) % 2, pixels, 2 * pixels)
    return shapely.box(LEFT + shifts, TOP, LEFT + shifts + 40, TOP + 30)


def layer(path: Path, boxes: NDArray[np.object_], **columns: Any) -> Path:
    on_map = shapely.transform(boxes, lambda x, y: HERE @ (x, y), interleaved=False)
    gpd.GeoDataFrame(columns, geometry=on_map, crs=UTM33).to_file(path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A truth, and three predictions of it that get worse: footprints, a mask, and footprints with confidence."""
    folder = tmp_path_factory.mktemp("files")
    sure = np.where(np.arange(len(HOUSES)) % 2, 0.9, 0.5)
    return [
        layer(folder / "truth.gpkg", HOUSES),
        layer(folder / "near.gpkg", moved(1)),
        write_on_grid(folder / "mask.tif", mask_of(moved(3)), GRID, nodata=255),
        layer(folder / "far.gpkg", moved(7), confidence=sure),
    ]


@pytest.fixture(scope="module")
def result(files: list[Path]) -> EvaluationResult:
    return evaluate(files)


def evaluate(files: list[Path], **options: Any) -> EvaluationResult:
    truth, *predictions = map(str, files)
    return evaluate_predictions(predictions, truth, EvaluateOptions(**options))


def test_each_prediction_is_compared_with_the_first(files: list[Path]) -> None:
    truth, *predictions = files
    found = summary(*predictions, truth)
    assert [each["predicted"] for each in found["predictions"]] == list(map(str, predictions))
    pairs = [(each["prediction"], each["against"]) for each in found["differences"]]
    assert pairs == [(str(predictions[1]), str(predictions[0])), (str(predictions[2]), str(predictions[0]))]
    for difference, prediction in zip(found["differences"], found["predictions"][1:], strict=True):
        first, own = (each["classes"][1]["pq"]["value"] for each in (found["predictions"][0], prediction))
        pq = difference["classes"]["building"]["pq"]
        assert pq["value"] == pytest.approx(own - first, abs=2e-6)
        assert pq["low"] <= pq["value"] <= pq["high"] < 0
    assert "one" not in found


def test_predictions_are_compared_with_those_that_are_named(files: list[Path]) -> None:
    truth, one, *others = files
    found = summary(one, truth, "--against", others[0], "--against", others[1])
    pairs = [(each["prediction"], each["against"]) for each in found["differences"]]
    assert pairs == [(str(one), str(other)) for other in others]
    iou = [each["classes"]["building"]["iou"]["value"] for each in found["differences"]]
    assert 0 < iou[0] < iou[1]


def test_two_predictions_have_names_of_their_own(files: list[Path]) -> None:
    truth, one, other, _ = files
    by_place, named = summary(other, one, truth), summary(one, truth, "--against", other)
    assert by_place["one"] == named["one"]
    assert by_place["other"] == named["other"]
    assert by_place["difference"] == named["difference"]


def test_every_prediction_stands_in_the_table_with_its_difference(files: list[Path]) -> None:
    truth, *predictions = files
    table = run(*predictions, truth).stdout
    blocks = {block.splitlines()[0]: block.splitlines()[1:] for block in table.split("\n\n")[1:]}
    pixels = next(rows for title, rows in blocks.items() if title.startswith("building: pixels"))
    assert [row.split("  ")[0] or row.split("  ")[1] for row in pixels] == [
        "near.gpkg", "mask.tif", "minus near.gpkg", "far.gpkg", "minus near.gpkg",
    ]  # fmt: skip
    assert pixels[2].count("*") == 4
    for title in ("building: footprints", "building: outlines", "building: boundaries", "building: totals"):
        assert any(heading.startswith(title) for heading in blocks)
    assert "near.gpkg: no average precision: its footprints have no confidence" in table
    assert "far.gpkg: no average precision" not in table


def test_scores_get_worse_with_the_shift(result: EvaluationResult) -> None:
    """Boxes of 12 m x 9 m, half of them moved by 0.3 m and half by 0.6 m, and so on."""
    near, mask, far = (each.measures for each in result.evaluations)
    assert near.estimate("polis_m", 1).value == pytest.approx((0.3 + 0.6) / 2 / 2, rel=0.01)
    assert far.estimate("polis_m", 1).value == pytest.approx(2.1 / 2, rel=0.01)  # the others match none
    assert mask.estimate("polis_m", 1).value == pytest.approx((0.9 + 1.8) / 2 / 2, rel=0.1)
    assert near.estimate("n_ratio", 1).value == far.estimate("n_ratio", 1).value == 1
    assert mask.estimate("n_ratio", 1).value == pytest.approx(1, abs=0.05)
    assert near.estimate("c_iou", 1) == near.estimate("iou", 1)
    # Moved by 0.3 m, all 42 m of an outline are near; by 0.6 m, two walls but for 0.1 m, and two ends of a third.
    exact = (42 + 2 * (12 - 0.1) + 2 * 0.5) / 2 / 42
    assert near.estimate("boundary_f1_50cm", 1).value == pytest.approx(exact, abs=0.02)


def test_average_precision_is_left_out_without_confidence(result: EvaluationResult) -> None:
    """Of the other prediction, the confident half matches: precision 1 up to a recall of a half."""
    near, _, far = result.summary["predictions"]
    assert "ap50" not in near["classes"][1]
    assert far["classes"][1]["ap50"]["value"] == pytest.approx(51 / 101, abs=1e-6)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/model", "b/model"], ["a/model", "b/model"]),
        (["runs/a", "runs/b", "default"], ["a", "b", "default"]),
        (["x/1/m.tif", "x/2/m.tif", "y/2/m.tif"], ["x/1/m.tif", "x/2/m.tif", "y/2/m.tif"]),
        (["same", "same"], ["same", "same"]),
    ],
)
def test_names_are_as_short_as_they_can_be_told_apart(paths: list[str], names: list[str]) -> None:
    assert shorten_names(paths) == names


def test_long_names_keep_their_end() -> None:
    assert cut_name("a" * 40 + "-end", 12) == "...aaaaa-end"
    assert len({line.index("1") for line in align_rows([("x" * 50, "1"), ("y", "1")])}) == 1


def dataset(folder: Path, places: dict[str, NDArray[np.object_]]) -> Path:
    """An image and a mask for each place."""
    items = []
    for place, boxes in places.items():
        Image.new("RGB", SHAPE[::-1], "grey").save(folder / f"{place}.png")
        Image.fromarray(mask_of(boxes)).save(folder / f"{place}-label.png")
        items.append(Item(f"{place}.png", f"{place}-label.png", place, "validation"))
    classes = (ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e"))
    made = Dataset(
        "set", "CC0", "us", "here", 0.3, ("red", "green", "blue"), classes, tuple(items), folder=folder
    )
    return write_dataset(made, folder)


def write_results(folder: Path, places: dict[str, NDArray[np.object_]]) -> Path:
    folder.mkdir()
    for place, boxes in places.items():
        Image.fromarray(mask_of(boxes)).save(folder / f"{place}.png")
    return folder


def test_runs_are_compared_place_by_place(tmp_path: Path, tiny_model: Path) -> None:
    path = dataset(tmp_path, {"north": HOUSES, "south": HOUSES[:40]})
    good = write_results(tmp_path / "good", {"north": moved(1), "south": moved(2)[:40]})
    result = evaluate([path, good, tiny_model])
    found = result.summary
    by_place = found["predictions"][0]["by_place"]
    assert list(by_place) == ["north", "south"]
    assert by_place["north"]["building"]["iou"] > by_place["south"]["building"]["iou"] > 0.8
    assert by_place["north"]["building"]["footprint_f1"] == 1
    table = str(result)
    rows = table[table.index("building: IoU by place") :].splitlines()
    assert rows[1].split()[:2] == ["north", f"{by_place['north']['building']['iou']:.3f}"]
    assert "building: places" in run(good, path).stdout


def test_long_names_stand_whole_in_figures_and_tables(tmp_path: Path) -> None:
    """Of the beginnings of these two, 18 letters are alike."""
    names = ["secondary structure, destroyed", "secondary structure, standing"]
    path = dataset(tmp_path, {names[0]: HOUSES, names[1]: HOUSES[:40]})
    results = [
        write_results(tmp_path / name, {names[0]: moved(shift), names[1]: moved(shift)[:40]})
        for name, shift in (("good", 1), ("poor", 4))
    ]
    result = evaluate([path, *results])
    figure = draw_comparison(result)
    figure.canvas.draw()
    table = next(axes for axes in figure.get_axes() if axes.get_title() == "IoU by place")
    labels = table.get_yticklabels()
    assert [" ".join(label.get_text().split()) for label in labels] == names
    assert all(label.get_window_extent().x0 >= 0 for label in labels)
    assert all(any(line.startswith(name) for line in str(result).splitlines()) for name in names)


def test_a_model_is_evaluated_by_the_footprints_that_infer_writes(
    tmp_path: Path, tiny_model: Path, write_raster: RasterWriter, files: list[Path]
) -> None:
    image = write_raster("image.tif", photo(256, 320))  # between houses, which stand 64 pixels apart
    written, mask = tmp_path / "written.gpkg", tmp_path / "written.tif"
    infer_scene([str(image)], written, InferOptions(model=str(tiny_model), mask=mask))
    by_model = summary(tiny_model, files[0], "--image", image)
    by_file = summary(
        f"{written}:buildings",
        files[0],
        "--gsd",
        0.3,
        "--area",
        layer(tmp_path / "all.gpkg", shapely.box([0], [0], [320], [256])),
    )
    for name in ("n_ratio", "polis_m", "max_tangent_deg"):
        value = by_model["classes"][1][name]["value"]
        assert value is None or value == pytest.approx(by_file["classes"][1][name]["value"], rel=0.01)
    assert by_model["confusion"] == summary(mask, files[0])["confusion"]


def test_the_page_draws_all_predictions(
    files: list[Path], tmp_path: Path, write_raster: RasterWriter
) -> None:
    image = write_raster("image.tif", photo(*SHAPE))
    truth, *predictions = files
    page = tmp_path / "page.png"
    done = run(*predictions, truth, "--image", image, "--page", page)
    assert done.exit_code == 0, done.output
    picture = np.asarray(Image.open(page).convert("RGB"))
    for color in ((0x44, 0x77, 0xAA), (0xEE, 0x66, 0x77), (0x22, 0x88, 0x33)):
        assert (picture == color).all(axis=2).sum() > 1000
    again = run(*predictions, truth, "--page", page)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def texts_of(figure: Any) -> str:
    """All that is written on a figure."""
    return "\n".join(
        text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))
    )


def test_the_page_tells_names_scores_and_places(tmp_path: Path) -> None:
    path = dataset(tmp_path, {"north": HOUSES, "south": HOUSES[:40]})
    good = write_results(tmp_path / "good", {"north": moved(1), "south": moved(2)[:40]})
    poor = write_results(tmp_path / "poor", {"north": moved(4), "south": moved(9)[:40]})
    result = evaluate_predictions([str(good), str(poor)], str(path), EvaluateOptions())
    figure = draw_comparison(result)
    words = texts_of(figure)
    for word in (
        "2 predictions against",
        "poor minus good",
        "IoU by place",
        "north",
        "south",
        "PQ",
        "lower is better",
    ):
        assert word in words
    value = result.evaluations[0].measures.estimate("iou", 1).value
    assert f"{value:.3f}" in words


def test_one_wild_prediction_does_not_hide_the_others(files: list[Path], write_raster: RasterWriter) -> None:
    """A mask of noise has a hundred times as many footprints."""
    values = (photo(*SHAPE)[0] > 200).astype(np.uint8)
    values[32:] = 0
    noise = write_raster("noise.tif", values, nodata=255)
    result = evaluate([*files[:2], noise], min_area_m2=0.0)
    page = draw_comparison(result)
    charts = {axes.get_title(): axes for axes in page.get_axes()}
    assert result.evaluations[1].measures.estimate("n_ratio", 1).value > LARGEST_RATIO
    assert charts["N ratio"].get_xlim()[1] == LARGEST_RATIO
    assert charts["count error"].get_xlim()[1] == 1


def test_many_predictions_have_a_colour_each(result: EvaluationResult) -> None:
    colors = ComparisonPage(EvaluationResult(result.evaluations * 3)).colors
    assert len({tuple(color) for color in colors}) == 9


def test_the_tile_on_which_predictions_differ_most_is_shown() -> None:
    right = np.array([[[50, 0], [0, 50]]] * 3)
    wrong = right.copy()
    wrong[1] = [[50, 0], [40, 10]]
    found = find_contested_tile([Confusion(right), Confusion(wrong)])
    assert found is not None
    assert found[0] == 1
    assert found[1].tolist() == pytest.approx([1, 0.2])
    nothing = np.array([[[100, 0], [0, 0]]])
    assert find_contested_tile([Confusion(nothing), Confusion(nothing)]) is None


def refused(message: str, *arguments: object) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_predictions_of_different_classes_are_refused_before_any_is_made(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "water"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    sought = (ClassEntry("background", "#000000"), ClassEntry("water", "#0000ff"))
    (folder / "card.json").write_text(card(classes=sought).to_json())
    classes = (*sought, ClassEntry("building", "#e4572e"))
    made = Dataset("set", "CC0", "us", "here", 0.3, ("red",), classes, (Item("a", "b", "c", "validation"),))
    path = write_dataset(made, tmp_path)
    monkeypatch.setattr("geoseg.workflows.infer.infer_scene", None)
    refused(
        f"{folder}: is compared in the classes water, but {tiny_model} in building", tiny_model, folder, path
    )


def test_a_training_that_is_not_finished_holds_no_model(tmp_path: Path, files: list[Path]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "train.toml").write_text("steps = 3000\n")
    refused("its training is not finished, so it holds no model yet", folder, files[0], "--image", files[2])
    (folder / "last.pt").write_bytes(b"")
    refused(
        "give the same geoseg train command again",
        files[1],
        files[0],
        "--against",
        folder,
        "--image",
        files[2],
    )


def test_a_truth_without_a_building_brings_a_warning(
    files: list[Path], write_raster: RasterWriter, heard: Heard
) -> None:
    empty = write_raster("empty.tif", np.zeros(SHAPE, np.uint8), nodata=255)
    found = evaluate([empty, files[2], files[1]]).summary
    assert any("there is nothing to find" in line for line in heard.warnings)
    building = found["predictions"][0]["classes"][1]
    assert building["footprint_precision"]["value"] == building["pq"]["value"] == 0
    assert building["footprint_recall"]["value"] is building["n_ratio"]["value"] is None


def test_a_page_cannot_be_one_of_the_inputs(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a page ends in \.png"):
        evaluate(files, page=tmp_path / "page.pdf")
    Image.fromarray(mask_of(HOUSES)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match="is itself read"):
        evaluate([files[0], tmp_path / "mask.png"], page=tmp_path / "mask.png", gsd_m=0.3)


def test_a_truth_needs_a_prediction(files: list[Path]) -> None:
    assert run(files[0]).exit_code == 2


def test_options_can_stand_in_a_file(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "evaluate.toml").write_text(f"against = [{json.dumps(str(files[2]))}]\nmin_area_m2 = 1\n")
    found = summary(files[1], files[0], "--config", tmp_path / "evaluate.toml")
    assert found["other"]["predicted"] == str(files[2])
