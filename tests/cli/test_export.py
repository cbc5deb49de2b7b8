"""`geoseg export` as a user meets it: help that is complete, and one clear line for what cannot be."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from geoseg.cli.main import geoseg

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[15.0, 48.0], [15.1, 48.0], [15.1, 48.1], [15.0, 48.1], [15.0, 48.0]]],
}
BOX = ("--bbox", "15.00,48.00,15.03,48.02")
NOWHERE = ("--endpoint", "http://127.0.0.1:9", "--out", "/nonexistent/never")


def run(*arguments):
    return CliRunner().invoke(geoseg, ["export", *map(str, arguments)])


def test_help_shows_the_way_from_an_area_to_a_label():
    result = run("--help")
    assert result.exit_code == 0
    for words in (
        "--aoi",
        "--dry-run",
        "--pairs",
        "geoseg export --aoi region.geojson --label ghsl",
        "GEOSEG_EE_URL",
    ):
        assert words in result.output


def test_every_option_has_help():
    command = geoseg.get_command(None, "export")
    assert all(option.help for option in command.params)


def test_the_list_names_all_sources_and_labels():
    result = run("--list")
    assert result.exit_code == 0
    for name in ("sentinel2", "naip", "brandenburg", "ghsl", "wsf2015", "open-buildings-polygons", "esm"):
        assert f"  {name} " in result.output


def test_the_list_is_there_for_programs():
    listed = json.loads(run("--list", "--json").stdout)
    assert {"name": "naip", "scale_m": 0.6}.items() <= listed["sources"][2].items()
    assert "ghsl" in [label["name"] for label in listed["labels"]]


def test_a_dry_run_needs_no_account(tmp_path):
    (tmp_path / "region.geojson").write_text(json.dumps(SQUARE))
    result = run("--aoi", tmp_path / "region.geojson", "--label", "ghsl", "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    (export,) = json.loads(result.stdout)["exports"]
    assert export["crs"] == "EPSG:32633"
    assert [layer["layer"] for layer in export["layers"]] == ["sentinel2", "ghsl"]


def test_the_example_region_is_one(request):
    region = request.config.rootpath / "examples" / "region.geojson"
    result = run("--aoi", region, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "sentinel2" in result.stdout


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((), "give the area once"),
        ((*BOX, "--point", "1,2"), "give the area once"),
        (("--aoi", "none.geojson"), "none.geojson: there is no such file"),
        (("--bbox", "1,2,3"), "--bbox 1,2,3 must be 4 numbers"),
        (("--bbox", "a,b,c,d"), "--bbox a,b,c,d must be 4 numbers"),
        (("--bbox", "1,2,nan,4"), "must be 4 numbers"),
        (("--bbox", "1,5,2,4"), "the order is W,S,E,N"),
        (("--bbox", "500000,5300000,501000,5301000"), "is it in metres?"),
        (("--bbox", "0,85,1,86"), "give a --crs"),
        (("--bbox", "-170,-60,170,70"), "use --via gcs, a larger --scale"),
        (("--point", "1,2"), "--point needs --size"),
        (("--point", "1,2", "--size", "-5"), "--size -5 must be a finite number"),
        (("--point", "1,2", "--size", "nan"), "--size nan must be a finite number"),
        (("--point", "1,2", "--size", "inf"), "--size inf must be a finite number"),
        ((*BOX, "--size", "500"), "--size 500 is the side of a square around --point"),
        ((*BOX, "--max-cloud", "nan"), "--max-cloud nan must lie between"),
        ((*BOX, "--max-cloud", "101"), "--max-cloud 101 must lie between"),
        ((*BOX, "--source", "landsat"), "there is no source landsat; choose from sentinel2"),
        ((*BOX, "--label", "osm"), "there is no label osm; choose from ghsl"),
        ((*BOX, "--label", "esm"), "give its files, --label esm:FOLDER"),
        ((*BOX, "--label", "esm:a", "--label", "esm:b"), "give --label esm:PATH once"),
        ((*BOX, "--source", "none"), "nothing to export"),
        ((*BOX, "--bands", "B99"), "sentinel2 has no band B99; its bands are B1"),
        ((*BOX, "--mask", "fmask"), "--mask fmask is unknown"),
        ((*BOX, "--composite", "best"), "--composite best is unknown"),
        ((*BOX, "--start", "2023-09-01", "--end", "2023-05-01"), "lies after --end"),
        ((*BOX, "--scale", "0"), "--scale 0 must lie between"),
        ((*BOX, "--crs", "EPSG:0"), "not a coordinate reference system"),
        ((*BOX, "--built-from", "0"), "--built-from 0 must lie between"),
        ((*BOX, "--workers", "100"), "--workers 100 must lie between 1 and 40"),
        ((*BOX, "--deadline", "0"), "--deadline 0 must lie between"),
        ((*BOX, "--via", "gcs"), "--via gcs needs a bucket"),
        ((*BOX, "--asset", "COPERNICUS/S2_SR"), "COPERNICUS/S2_SR is retired; use --source sentinel2"),
        ((*BOX, "--endpoint", "fast"), "neither a URL nor one of"),
        ((*BOX, "--endpoint", "http://example.org"), "use https"),
        ((*BOX, "--label", "esm:x", "--esm-codes", "y"), "is not like 'nodata=0"),
    ],
)
def test_wishes_that_cannot_be_give_one_line(options, line):
    given = options if "--endpoint" in options else (*options, *NOWHERE)
    result = run(*given)
    errors = [text for text in result.stderr.splitlines() if text.startswith("Error: ")]
    assert result.exit_code == 2, result.output
    assert len(errors) == 1
    assert line in errors[0]


def test_unreadable_dates_are_click_s_own_business():
    result = run(*BOX, "--start", "yesterday")
    assert result.exit_code == 2
    assert "does not match the format" in result.stderr
