"""`infer --against`: what became of other footprints, in the same run and the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from bright import ENGINE, draw_picture, write_bright_model
from made import HERE, UTM33, RasterWriter

import geoseg
from geoseg.errors import InputError


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_bright_model(tmp_path))


@pytest.fixture
def scene(write_raster: RasterWriter) -> Path:
    return Path(write_raster("scene.tif", np.moveaxis(draw_picture(), -1, 0)))


def infer(scene: Path, out: Path, model: str, **options: Any) -> Any:
    return geoseg.infer(scene, out, model=model, **ENGINE, **options)


def write_before(path: Path, scene: Path, model: str) -> gpd.GeoDataFrame:
    """What was there before: all that the model sees, and one building more on the scene and one far beyond it."""
    seen = infer(scene, path.with_name("seen.gpkg"), model).buildings
    x, y = HERE @ (8, 90)
    more = [shapely.box(x, y, x + 4, y + 3), shapely.box(x - 500, y, x - 496, y + 3)]
    frame = gpd.GeoDataFrame(geometry=[*seen.geometry, *more], crs=seen.crs)
    frame.to_crs(4326).to_file(path)
    return seen


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_changes_are_a_layer_of_the_output(suffix: str, scene: Path, model: str, tmp_path: Path) -> None:
    seen = write_before(tmp_path / "before.gpkg", scene, model)
    out = tmp_path / f"buildings{suffix}"
    result = infer(scene, out, model, against=str(tmp_path / "before.gpkg"), qgis_project=tmp_path / "p.qgz")
    assert result.comparison.counts == {
        "same": len(seen), "changed": 0, "only_a": 1, "only_b": 0, "split": 0, "merged": 0,
    }  # fmt: skip
    assert result.comparison.ground == "what was seen of the scene"
    assert len(result.buildings) == len(seen)
    assert len(result.comparison.changes) == len(seen) + 1
    if suffix == ".gpkg":
        assert set(gpd.list_layers(out)["name"]) >= {"buildings", "changes"}
        assert result.comparison.changes.crs == UTM33
    else:
        assert (tmp_path / "buildings_changes.geojson").exists()
    assert result.summary["comparison"]["only_a"] == 1


def test_a_run_without_takes_away_what_no_longer_belongs_to_the_footprints(
    scene: Path, model: str, tmp_path: Path
) -> None:
    write_before(tmp_path / "before.gpkg", scene, model)
    out = tmp_path / "buildings.gpkg"
    infer(scene, out, model, against=str(tmp_path / "before.gpkg"), regions="grid:10m")
    assert "changes_by_region" in set(gpd.list_layers(out)["name"])
    infer(scene, out, model, overwrite=True)
    assert not {"changes", "changes_by_region"} & set(gpd.list_layers(out)["name"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"against": "none.gpkg"}, "none.gpkg: no such file"),
        ({"against": "buildings.gpkg", "overwrite": True}, "is what `out` replaces"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_work(
    options: dict[str, Any],
    words: str,
    scene: Path,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    infer(scene, Path("buildings.gpkg"), model)
    with pytest.raises(InputError, match=words):
        infer(scene, Path("buildings.gpkg"), model, **options)


def test_masks_alone_are_not_compared(scene: Path, model: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`against` osm\.gpkg: compares footprints"):
        geoseg.infer(scene, mask=tmp_path / "mask.tif", against="osm.gpkg", model=model, **ENGINE)
