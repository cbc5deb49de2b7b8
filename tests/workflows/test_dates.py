"""The date of the image, from the scene to footprints, masks, regions and comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from bright import ENGINE, draw_picture, write_bright_model
from made import RasterWriter

import geoseg
from geoseg.errors import InputError


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_bright_model(tmp_path))


@pytest.fixture
def scene(write_raster: RasterWriter) -> Path:
    path = Path(write_raster("scene.tif", np.moveaxis(draw_picture(), -1, 0)))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2026:05:04 10:31:00")
    return path


def infer(scene: Path, out: Path, model: str, **options: Any) -> Any:
    return geoseg.infer(scene, out, model=model, overwrite=True, **ENGINE, **options)


def test_the_date_goes_from_the_scene_to_everything(scene: Path, model: str, tmp_path: Path) -> None:
    mask = tmp_path / "mask.tif"
    first = infer(scene, tmp_path / "a.gpkg", model, mask=mask, regions="grid:1km")
    assert set(first.buildings["image_date"]) == {"2026-05-04"}
    assert "2026-05-04" in set(first.regions["image_date"])
    again = geoseg.vectorize(mask, tmp_path / "b.gpkg")
    assert set(again.buildings["image_date"]) == {"2026-05-04"}
    later = geoseg.vectorize(mask, tmp_path / "c.gpkg", date="2027-01-01/2027-01-03")
    assert set(later.buildings["image_date"]) == {"2027-01-01/2027-01-03"}
    counted = geoseg.stats(tmp_path / "c.gpkg", "grid:1km").regions
    assert set(counted.query("buildings > 0")["image_date"]) == {"2027-01-01/2027-01-03"}
    changes = geoseg.compare(tmp_path / "a.gpkg", tmp_path / "c.gpkg").changes
    assert set(changes["date_a"]) == {"2026-05-04"}
    assert set(changes["date_b"]) == {"2027-01-01/2027-01-03"}


def test_a_date_that_is_given_goes_before_tags(scene: Path, model: str, tmp_path: Path) -> None:
    assert set(infer(scene, tmp_path / "a.gpkg", model, date="2025-01-01").buildings["image_date"]) == {
        "2025-01-01"
    }
    with pytest.raises(InputError, match="`date` May: write a day"):
        infer(scene, tmp_path / "a.gpkg", model, date="May")


def test_where_nothing_tells_the_column_is_empty(
    write_raster: RasterWriter, model: str, tmp_path: Path
) -> None:
    scene = Path(write_raster("plain.tif", np.moveaxis(draw_picture(), -1, 0)))
    buildings = infer(scene, tmp_path / "a.gpkg", model).buildings
    assert len(buildings)
    assert buildings["image_date"].isna().all()


def test_each_scene_of_a_folder_has_its_own(scene: Path, model: str, tmp_path: Path) -> None:
    import json

    features = [
        {"type": "Feature", "properties": {"datetime": f"2026-06-0{day}T00:00:00Z"},
         "assets": {"image": {"href": f"./{name}.tif", "type": "image/tiff"}}}
        for name, day in (("one", 1), ("two", 2))
    ]  # fmt: skip
    for name in ("one", "two"):
        (tmp_path / f"{name}.tif").write_bytes(scene.read_bytes())
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    results = infer(tmp_path / "items.json", f"{tmp_path}/results/", model)  # type: ignore[arg-type]
    assert [set(read(each.out)) for each in results.scenes] == [{"2026-06-01"}, {"2026-06-02"}]


def read(path: str) -> Any:
    import geopandas

    return geopandas.read_file(path, layer="buildings")["image_date"]
