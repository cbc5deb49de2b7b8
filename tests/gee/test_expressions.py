"""What Earth Engine is asked to compute, by the structure of what is sent."""

from __future__ import annotations

import pytest
from earth_server.evaluate import chain

SMALL = ("--bbox", "15.00,48.00,15.01,48.01", "--start", "2023-05-01", "--end", "2023-09-30")


def found(tree, name):
    """Every call of an algorithm in an expression."""
    if isinstance(tree, tuple):
        calls = [tree[1]] if tree[0] == name else []
        parts = tree[1].values() if isinstance(tree[1], dict) else [tree[1]]
        return calls + [call for part in parts for call in found(part, name)]
    if isinstance(tree, dict):
        return [call for part in tree.values() for call in found(part, name)]
    if isinstance(tree, list):
        return [call for part in tree for call in found(part, name)]
    return []


@pytest.fixture
def asked(export, earth):
    """The expression of the first tile that an export asks for."""

    def asked(*options):
        export.done(*SMALL, *options)
        return earth.pixel_requests[0].tree

    return asked


def test_a_composite_is_rounded_clamped_filled_and_cast_last(asked):
    tree = asked()
    assert chain(tree)[:5] == [
        "Image.toUint16",
        "Image.unmask",
        "Image.clamp",
        "Image.round",
        "reduce.median",
    ]
    assert found(tree, "Image.clamp")[0]["low"] == 1
    assert found(tree, "Image.clamp")[0]["high"] == 65535
    assert found(tree, "Image.unmask")[0]["value"] == ("Image.constant", {"value": 0})
    assert found(tree, "Image.unmask")[0]["sameFootprint"] is False


def test_scenes_are_filtered_by_the_grid_s_rectangle_and_days(asked, earth):
    tree = asked()
    (days,) = {(call["start"], call["end"]) for call in found(tree, "DateRange")}
    assert days == ("2023-05-01", "2023-10-01"), "the last day is included"
    rectangles = found(tree, "GeometryConstructors.Rectangle")
    west, south, east, north = rectangles[0]["coordinates"]
    left, top, width, height = earth.pixel_requests[0].grid
    assert (west, north) == (left * 10, top * -10)
    assert (east, south) == ((left + width) * 10, (top + height) * -10)
    assert rectangles[0]["crs"] == ("Projection", {"crs": "EPSG:32633"})
    assert rectangles[0]["geodesic"] is False


def test_cloud_score_masks_each_scene_before_bands_are_chosen(asked):
    tree = asked("--mask", "csplus:0.65", "--bands", "B4")
    (link,) = found(tree, "Image.linkCollection")
    assert link["imageCollection"] == (
        "ImageCollection.load",
        {"id": "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"},
    )
    assert link["linkedBands"] == ["cs_cdf"]
    (score,) = found(tree, "Image.gte")
    assert score["image2"] == ("Image.constant", {"value": 0.65})
    assert found(tree, "Image.updateMask")


def test_s2cloudless_keeps_what_is_below_its_threshold(asked):
    tree = asked("--mask", "s2cloudless:30")
    assert found(tree, "Image.lt")[0]["image2"] == ("Image.constant", {"value": 30})
    assert found(tree, "Image.linkCollection")[0]["linkedBands"] == ["probability"]


def test_scl_masks_clouds_shadows_and_snow(asked):
    (remap,) = found(asked("--mask", "scl"), "Image.remap")
    assert remap["from"] == [0, 1, 3, 8, 9, 10, 11]
    assert remap["to"] == [0] * 7
    assert remap["defaultValue"] == 1


def test_no_mask_looks_at_no_cloud(asked):
    tree = asked("--mask", "none")
    assert not found(tree, "Image.updateMask")
    assert not found(tree, "Image.linkCollection")


def test_qa60_is_never_used(asked):
    assert "QA60" not in str(asked())


def test_bilinear_is_per_scene_and_before_the_composite(asked):
    tree = asked("--bilinear")
    _, collection = found(tree, "reduce.median")[0]["collection"]
    assert collection["baseAlgorithm"][0] == "function"
    assert collection["baseAlgorithm"][1][0] == "Image.resample"


def test_a_percentile_keeps_the_band_names(asked):
    tree = asked("--composite", "p20", "--bands", "B4,B8")
    assert found(tree, "Reducer.percentile")[0]["percentiles"] == [20]
    assert found(tree, "Image.rename")[0]["names"] == ["B4", "B8"]


@pytest.mark.parametrize(
    ("composite", "key", "ascending"),
    [("least-cloudy", "CLOUDY_PIXEL_PERCENTAGE", False), ("latest", "system:time_start", None)],
)
def test_mosaics_put_the_best_on_top(asked, composite, key, ascending):
    tree = asked("--composite", composite)
    (order,) = found(tree, "Collection.limit")
    assert order["key"] == key
    assert order.get("ascending") is ascending
    assert found(tree, "ImageCollection.mosaic")


def test_the_cloud_filter_is_off_unless_asked_for(asked):
    assert not found(asked(), "Filter.lessThanOrEquals") + found(asked("--overwrite"), "Filter.not")


def test_a_class_label_is_a_table_of_codes(asked):
    tree = asked("--source", "none", "--label", "worldcover")
    assert chain(tree)[0] == "Image.toUint8"
    (remap,) = found(tree, "Image.remap")
    built = dict(zip(remap["from"], remap["to"], strict=True))
    assert built[50] == 1
    assert sum(built.values()) == 1
    assert not found(tree, "Image.resample"), "classes are never interpolated"
    assert found(tree, "Image.unmask")[0]["value"] == ("Image.constant", {"value": 255})


def test_a_share_label_is_bilinear_and_thresholded(asked):
    tree = asked("--source", "none", "--label", "ghsl", "--built-from", "30")
    assert found(tree, "Image.resample")[0]["mode"] == "bilinear"
    assert found(tree, "Image.divide")[0]["image2"] == ("Image.constant", {"value": 100})
    assert found(tree, "Image.gte")[0]["image2"] == ("Image.constant", {"value": 0.3})


def test_a_settlement_footprint_is_filled_before_it_is_read(asked):
    tree = asked("--source", "none", "--label", "wsf2015")
    fills = [call["value"][1]["value"] for call in found(tree, "Image.unmask")]
    assert fills == [255, 0], "nodata outside, and ground where nothing is drawn"


def test_a_finer_label_is_averaged_before_the_threshold(asked):
    tree = asked("--source", "none", "--label", "open-buildings", "--scale", "10")
    (reduction,) = found(tree, "Image.reduceResolution")
    assert reduction["reducer"] == ("Reducer.mean", {})
    assert reduction["maxPixels"] >= 9
    assert chain(tree).index("Image.gte") < chain(tree).index("Image.reduceResolution"), "the mean is inside"


def test_open_buildings_are_asked_for_whole_years(asked):
    days = found(asked("--source", "none", "--label", "open-buildings"), "DateRange")
    assert {(call["start"], call["end"]) for call in days} == {("2023-01-01", "2024-01-01")}


def test_polygons_are_drawn_finer_than_the_grid(asked):
    tree = asked("--source", "none", "--label", "open-buildings-polygons", "--scale", "10")
    assert found(tree, "Image.paint")[0]["color"] == 1
    assert found(tree, "Projection.atScale")[0]["meters"] == 0.5
    assert found(tree, "Image.reduceResolution")[0]["maxPixels"] >= 400


def test_the_request_names_bands_format_and_grid(export, earth):
    export.done(*SMALL, "--bands", "B8,B4")
    body = earth.pixel_requests[0].body
    assert body["bandIds"] == ["B8", "B4"]
    assert body["fileFormat"] == "GEO_TIFF"
    assert body["grid"]["crsCode"] == "EPSG:32633"
    transform = body["grid"]["affineTransform"]
    assert (transform["scaleX"], transform["scaleY"]) == (10, -10)
    assert (transform["shearX"], transform["shearY"]) == (0, 0)


def test_every_request_stays_small(export, earth):
    export.done(*SMALL)
    assert max(len(str(request.body)) for request in earth.requests) < 20_000
