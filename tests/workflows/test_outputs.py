"""No command writes over a file that it reads, whatever it reads it for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

from geoseg.errors import InputError
from geoseg.workflows.compare import check_compare_outputs
from geoseg.workflows.infer import check_infer_outputs
from geoseg.workflows.options import (
    CompareOptions,
    InferOptions,
    SampleOptions,
    StatsOptions,
    VectorizeOptions,
)
from geoseg.workflows.sample import check_sample_outputs
from geoseg.workflows.stats import check_stats_outputs
from geoseg.workflows.vectorize import check_vectorize_outputs


@pytest.mark.parametrize("command", ["infer", "vectorize", "stats", "stats --csv", "sample", "compare"])
def test_what_is_read_beside_the_main_input_is_not_replaced(tmp_path: Path, command: str) -> None:
    wards, points = tmp_path / "a_regions.geojson", tmp_path / "points.csv"
    for path in (wards, points, tmp_path / "wards.gpkg"):
        path.touch()
    calls = {
        "infer": lambda: check_infer_outputs(["s.tif"], wards, InferOptions(regions=str(wards), overwrite=True), ""),
        "vectorize": lambda: check_vectorize_outputs(
            "m.tif", wards, VectorizeOptions(regions=str(wards), overwrite=True), ""
        ),
        "stats": lambda: check_stats_outputs(
            Path("f.gpkg"), str(wards), tmp_path / "a.geojson", StatsOptions(overwrite=True), ""
        ),
        "stats --csv": lambda: check_stats_outputs(
            Path("f.gpkg"), "grid:1km", None, StatsOptions(csv=points, samples=points, overwrite=True), ""
        ),
        "sample": lambda: check_sample_outputs(
            Path("f.gpkg"),
            tmp_path / "wards.gpkg",
            SampleOptions(regions=f"{tmp_path / 'wards.gpkg'}:wards", overwrite=True),
            "",
        ),
        "compare": lambda: check_compare_outputs(
            ["a.gpkg", "b.gpkg"],
            tmp_path / "c.gpkg",
            CompareOptions(csv=points, samples_a=points, samples_b=points, regions="grid:1km", overwrite=True),
            "",
        ),
    }  # fmt: skip
    with pytest.raises(InputError, match=f"({wards.name}|points.csv|wards.gpkg): is itself read"):
        calls[command]()


BESIDE = {
    "infer": "a_regions.fgb",
    "infer --against": "a_changes_by_region.fgb",
    "vectorize": "a_regions.fgb",
    "compare": "a_by_region.fgb",
}


@pytest.mark.parametrize("command", BESIDE)
@pytest.mark.parametrize("are_read", [False, True])
def test_regions_beside_a_file_of_one_layer_replace_nothing_unasked(
    tmp_path: Path, command: str, are_read: bool
) -> None:
    out, beside = tmp_path / "a.fgb", tmp_path / BESIDE[command]
    asked = {"regions": str(beside) if are_read else "grid:1km"}

    def check(**options: Any) -> tuple[Path, ...]:
        if command.startswith("infer"):
            against = str(tmp_path / "b.gpkg") if "against" in command else None
            return check_infer_outputs(["s.tif"], out, InferOptions(against=against, **asked, **options), "")
        if command == "vectorize":
            return check_vectorize_outputs("m.tif", out, VectorizeOptions(**asked, **options), "")
        return check_compare_outputs(["a.gpkg", "b.gpkg"], out, CompareOptions(**asked, **options), "")

    beside.touch()
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=32633).to_file(tmp_path / "b.gpkg")
    if are_read:
        with pytest.raises(InputError, match=f"{beside.name}: is itself read"):
            check(overwrite=True)
    else:
        with pytest.raises(InputError, match=f"{beside.name}: exists already; use `overwrite`"):
            check()
        assert {out, beside} <= set(check(overwrite=True))


def test_a_geopackage_may_get_footprints_beside_its_regions(tmp_path: Path) -> None:
    city = tmp_path / "city.gpkg"
    asked = VectorizeOptions(regions=f"{city}:wards")
    assert check_vectorize_outputs("m.tif", city, asked, "") == (city,)
