"""A scene that changes, while it is read or before a stopped run goes on, is not mixed with what it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import rasterio
import rasterio.shutil
import rasterio.vrt
from made import RasterWriter, photo

import geoseg
from geoseg.errors import GeosegError
from geoseg.inference import resume
from geoseg.inference.job import Job, plan_job
from geoseg.io.addresses import read_source_state
from geoseg.progress import Advance, use_reporter
from geoseg.workflows.infer import infer_scene
from geoseg.workflows.options import InferOptions


@pytest.fixture
def options(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InferOptions:
    monkeypatch.setattr("geoseg.raster.plan.STRIP_PIXELS", 20_000)
    return InferOptions(
        model=str(tiny_model), engine="openvino", precision="fp32", device="cpu", mask=tmp_path / "m.tif"
    )


def test_a_scene_overwritten_during_the_run_is_refused_and_read_anew(
    options: InferOptions, write_raster: RasterWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_raster("scene.tif", photo(400, 200))

    write, written = resume.write_strip, []

    def write_and_change(path: Path, *given: object) -> None:
        write(path, *given)
        written.append(path)
        if len(written) == 3:
            write_raster("scene.tif", photo(400, 200, seed=5))

    with monkeypatch.context() as patch:
        patch.setattr(resume, "write_strip", write_and_change)
        with pytest.raises(GeosegError, match=r"scene\.tif: changed while it was read"):
            infer_scene([str(scene)], None, options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene.tif"]
    infer_scene([str(scene)], None, options)


@dataclass
class Meanwhile:
    """Does something else once the work has advanced."""

    act: Callable[[], object]
    is_done: bool = False

    @contextmanager
    def task(self, what: str, total: float, unit: str, done: float) -> Iterator[Advance]:
        yield self.advance

    def advance(self, amount: float, note: str = "", total: float | None = None) -> None:
        if not self.is_done:
            self.is_done = True
            self.act()


def test_a_mask_overwritten_while_it_is_read_makes_no_footprints(
    write_raster: RasterWriter, tmp_path: Path
) -> None:
    before, after = (photo(100, 80, 1, seed=seed) > 200 for seed in (0, 1))
    mask, out = write_raster("mask.tif", before.astype("uint8")), tmp_path / "b.gpkg"
    overwriting = Meanwhile(lambda: write_raster("mask.tif", after.astype("uint8")))
    with use_reporter(overwriting), pytest.raises(GeosegError, match=r"mask\.tif: changed while it was read"):
        geoseg.vectorize(mask, out, strip_rows=20, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mask.tif"]
    geoseg.vectorize(mask, out, strip_rows=20, workers=0)


def plan(scene: str, options: InferOptions) -> Job:
    return plan_job([scene], options)


def test_a_web_scene_that_changed_is_not_resumed_from_old_strips(
    options: InferOptions, write_raster: RasterWriter, web: str
) -> None:
    file = write_raster("scene.tif", photo(200, 200))
    before = plan(f"{web}/scene.tif", options)
    assert plan(f"{web}/scene.tif", options).key == before.key
    assert before.find_changed_source() is None
    os.utime(file, (0, 0))
    assert plan(f"{web}/scene.tif", options).key != before.key
    assert before.find_changed_source() == f"{web}/scene.tif"


def test_pixels_tell_scenes_apart_whose_storage_says_nothing(
    options: InferOptions, write_raster: RasterWriter, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.io.addresses.ask_server", lambda address: [])
    write_raster("scene.tif", photo(200, 200))
    before = plan(f"{web}/scene.tif", options)
    write_raster("other/scene.tif", photo(200, 200, seed=3))
    assert plan(f"{web}/other/scene.tif", options).sample_sha256 != before.sample_sha256
    assert plan(f"{web}/scene.tif", options).key == before.key


def test_a_virtual_raster_changes_with_its_tiles(
    options: InferOptions, write_raster: RasterWriter, tmp_path: Path
) -> None:
    tile = write_raster("tile.tif", photo(200, 200))
    scene = tmp_path / "scene.vrt"
    with rasterio.open(tile) as dataset, rasterio.vrt.WarpedVRT(dataset) as warped:
        rasterio.shutil.copy(warped, scene, driver="VRT")
    before = plan(str(scene), options)
    assert plan(str(scene), options).key == before.key
    os.utime(tile, (0, 0))
    assert plan(str(scene), options).key != before.key
    assert before.find_changed_source() == str(tile)


def test_states_of_what_cannot_be_asked(tmp_path: Path) -> None:
    assert read_source_state("http://127.0.0.1:9/scene.tif?key=secret") == ["http://127.0.0.1:9/scene.tif"]
    assert read_source_state("/vsis3/bucket/scene.tif") == ["/vsis3/bucket/scene.tif"]
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"four")
    for source in (f"/vsizip/{archive}/a.tif", f"zip://{archive}!a.tif", f"zip+file://{archive}!/a.tif"):
        assert read_source_state(source)[:2] == [str(archive.resolve()), 4]
