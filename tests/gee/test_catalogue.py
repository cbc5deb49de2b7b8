"""The catalogue: every entry complete, and refusals that help."""

from __future__ import annotations

import numpy as np
import pytest

from gee.catalogue import IMAGERY, LABELS, PixelFormat
from gee.export import find_imagery, find_label
from gee.expressions import CloudMask, CompositeOptions, Marking, Period
from gee.geotiff import choose_pixel_format
from gee.layers import RETIRED_ASSETS, Asset, make_imagery_layer, make_label_layer
from geoseg.errors import InputError

SOURCES = [*IMAGERY.values(), *(label for label in LABELS.values() if label.asset)]
BYTE = {"precision": "int", "min": 0, "max": 255}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_source_is_complete(source):
    assert source.title
    assert source.licence.attribution
    assert source.licence.code in {"other", "CC-BY-4.0", "CC0-1.0"}
    assert source.last is None or source.first <= source.last
    assert source.scale_m > 0
    assert len({band.name for band in source.bands}) == len(source.bands) > 0
    assert source.page.startswith("https://")


@pytest.mark.parametrize("source", IMAGERY.values(), ids=lambda source: source.name)
def test_default_bands_exist_and_fit_the_file(source):
    assert source.chosen(source.default_bands)
    lowest, highest = np.iinfo(source.pixels.dtype).min, np.iinfo(source.pixels.dtype).max
    assert lowest <= source.pixels.lowest < source.pixels.highest <= highest


@pytest.mark.parametrize("label", LABELS.values(), ids=lambda label: label.name)
def test_codes_of_labels_mean_one_thing(label):
    assert not set(label.built) & set(label.others)
    assert label.is_share or label.others


def test_the_orthophotos_that_go_with_two_metre_maps_are_there():
    names = [
        "brandenburg",
        "estonia",
        "latvia",
        "finland",
        "finland-cir",
        "slovakia",
        "spain",
        "switzerland",
        "netherlands",
        "naip",
    ]
    assert set(names) <= set(IMAGERY)


def test_surface_reflectance_has_no_cirrus_band():
    with pytest.raises(InputError, match="sentinel2 has no band B10; its bands are B1, B2"):
        IMAGERY["sentinel2"].chosen(("B10",))
    assert IMAGERY["sentinel2-l1c"].chosen(("B10",))


def test_a_band_twice():
    with pytest.raises(InputError, match="names a band twice"):
        IMAGERY["sentinel2"].chosen(("B4", "B4"))


@pytest.mark.parametrize("lookup", [find_imagery, find_label])
def test_unknown_names_are_answered_with_the_known(lookup):
    with pytest.raises(InputError, match="choose from"):
        lookup("landsat")


@pytest.mark.parametrize(("path", "instead"), RETIRED_ASSETS.items())
def test_retired_assets_are_refused_with_their_successor(path, instead):
    with pytest.raises(InputError, match=f"--source {instead}"):
        Asset(path)


def test_nodata_must_not_hide_valid_pixels():
    with pytest.raises(InputError, match="would hide valid pixels"):
        PixelFormat("uint8", 5, 0, 255)


@pytest.mark.parametrize(
    ("types", "dtype"),
    [
        ([{"precision": "int", "min": 0, "max": 100}], "uint8"),
        ([BYTE], "int16"),
        ([BYTE, {"precision": "int", "min": 0, "max": 65535}], "int32"),
        ([{"precision": "int", "min": -5, "max": 5}], "int16"),
        ([{"precision": "int", "min": 0, "max": 2**40}], "float64"),
        ([BYTE, {"precision": "float"}], "float32"),
    ],
)
def test_the_smallest_type_that_leaves_room_for_nodata(types, dtype):
    pixels = choose_pixel_format(types)
    assert pixels.dtype == dtype
    assert not pixels.lowest <= pixels.nodata <= pixels.highest
    assert np.array(pixels.nodata).astype(dtype) == np.array(pixels.nodata, dtype)


def period():
    return Period(IMAGERY["sentinel2"].first, IMAGERY["sentinel2"].first)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("qa60", "choose from csplus, scl, s2cloudless, none"),
        ("csplus:2", "between 0 and 1"),
        ("s2cloudless:0", "between 0 and 100"),
        ("scl:3", "takes no threshold"),
        ("csplus:x", "x is no number"),
    ],
)
def test_masks_that_are_none(text, reason):
    with pytest.raises(InputError, match=reason):
        CloudMask.parse(text)


@pytest.mark.parametrize("composite", ["mean", "p0", "p100", "p", ""])
def test_composites_that_are_none(composite):
    with pytest.raises(InputError, match="--composite"):
        CompositeOptions((), period(), CloudMask(), composite)


def test_a_mask_that_the_source_does_not_have():
    source = IMAGERY["sentinel2-l1c"]
    look = CompositeOptions(source.chosen(("B4",)), period(), CloudMask("scl"), "median")
    with pytest.raises(InputError, match="cannot be masked by scl"):
        make_imagery_layer(source, look)


def test_photographs_do_not_know_how_cloudy_they_are():
    source = IMAGERY["naip"]
    with pytest.raises(InputError, match="does not say how cloudy"):
        make_imagery_layer(
            source, CompositeOptions(source.chosen(("R",)), period(), CloudMask("none"), "least-cloudy")
        )


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_shares_that_are_none(share):
    with pytest.raises(InputError, match="--built-from"):
        Marking(least_share=share)


def test_own_codes_up_to_255_move_nodata_to_zero():
    assert make_label_layer(LABELS["wsf2015"], Marking(as_mask=False), period()).pixels.nodata == 0
    assert make_label_layer(LABELS["worldcover"], Marking(as_mask=False), period()).pixels.nodata == 255


def test_an_end_before_the_start():
    with pytest.raises(InputError, match="lies after --end"):
        Period(IMAGERY["naip"].first, IMAGERY["sentinel2-l1c"].first.replace(year=1999))
