"""Footprints in many files are counted as if they were in one, here or by workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner
from layers import LONLAT, footprints, scattered, write

import geoseg
from geoseg.cli.main import geoseg as command_line
from geoseg.cluster.options import WorkerOptions
from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs
from geoseg.regions.files import FootprintLayer
from geoseg.workflows.layers import Counting, count_layer


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write(tmp_path / "whole.gpkg", footprints(scattered()))


@pytest.fixture
def pieces(tmp_path: Path, whole: Path) -> Path:
    """The same footprints in three files, one of them in degrees, one empty."""
    frame = gpd.read_file(whole, layer="buildings")
    folder = tmp_path / "pieces"
    folder.mkdir()
    for name, part in (("a", frame[:90]), ("b", frame[90:])):
        part.to_file(folder / f"{name}.gpkg", layer="buildings")
    frame[:0].to_file(folder / "c.gpkg", layer="buildings")
    return folder


def test_files_are_counted_as_one(whole: Path, pieces: Path, tmp_path: Path) -> None:
    one = geoseg.stats(whole, "grid:200m").regions
    many = geoseg.stats(pieces, "grid:200m", csv=tmp_path / "t.csv").regions
    pd.testing.assert_frame_equal(pd.DataFrame(many), pd.DataFrame(one), rtol=1e-12)
    assert len(pd.read_csv(tmp_path / "t.csv")) == len(one)


def test_files_in_several_systems_of_coordinates(whole: Path, pieces: Path) -> None:
    degrees = gpd.read_file(pieces / "b.gpkg").to_crs(LONLAT)
    degrees.to_file(pieces / "b.gpkg", layer="buildings")
    many, one = geoseg.stats(pieces, "grid:200m"), geoseg.stats(whole, "grid:200m")
    assert many.count == one.count
    assert many.area_m2 == pytest.approx(one.area_m2, rel=1e-6)


def test_footprints_on_both_sides_of_the_antimeridian_lie_in_one_place(tmp_path: Path) -> None:
    """Buildings of one village, east of 180 degrees written as from -180 on: the squares are those of the village."""
    (tmp_path / "both").mkdir()
    west, east = (
        gpd.GeoDataFrame(geometry=shapely.box(at, -17, at + 2e-4, -16.9998), crs=LONLAT)
        for at in (np.array([179.99, 179.9999]), np.array([-180.0, -179.99]))
    )
    one = write(tmp_path / "one.gpkg", pd.concat([west, east], ignore_index=True))
    for name, part in (("west", west), ("east", east)):
        write(tmp_path / "both" / f"{name}.gpkg", part)
    found = geoseg.stats(one, "grid:1km").regions
    assert len(found) == 8
    assert found["buildings"].sum() == 4
    pd.testing.assert_frame_equal(geoseg.stats(tmp_path / "both", "grid:1km").regions, found)


class Hands:
    """Workers that are this process."""

    threads = 1

    def describe(self, options: object) -> None:
        assert options is None

    def split(self, files: list[Any]) -> Iterator[list[Any]]:
        yield from (files[:1], files[1:])

    run = staticmethod(lambda place, call, tasks: [(task, call(task)) for task in tasks][::-1])

    def report_losses(self) -> None:
        pass


def test_workers_count_the_same(pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    dated = gpd.read_file(pieces / "a.gpkg").assign(image_date="2026-05-04")
    dated.to_file(pieces / "a.gpkg", layer="buildings")
    options = {"csv": tmp_path / "one.csv"}
    geoseg.stats(pieces, "grid:200m", tmp_path / "one.gpkg", **options)
    monkeypatch.setattr("geoseg.workflows.stats.open_workers", lambda options: nullcontext(Hands()))
    result = geoseg.stats(pieces, "grid:200m", tmp_path / "two.gpkg", csv=tmp_path / "two.csv", workers=2)
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert "2026-05-04" in (tmp_path / "two.csv").read_text()
    assert result.count == 200
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.parametrize("name", ["table.gpkg", "../pieces/table.gpkg"])
def test_a_table_in_the_folder_is_not_counted_when_it_is_written_again(pieces: Path, name: str) -> None:
    out = pieces / name
    first = geoseg.stats(pieces, "grid:200m", out).regions
    second = geoseg.stats(pieces, "grid:200m", out, overwrite=True).regions
    pd.testing.assert_frame_equal(pd.DataFrame(first), pd.DataFrame(second))


def test_a_file_that_cannot_be_read_to_its_end_leaves_nothing_to_the_next(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker keeps its statistics from task to task, also where one of them has failed."""
    layer = FootprintLayer.open(whole)
    counting = Counting("grid:1km", None, AreaCrs.choose(layer.extent), layer.extent, tuple(layer.classes))
    statistics, frames = counting.begin(), FootprintLayer.measured_frames

    def break_off(layer: FootprintLayer, area: AreaCrs) -> Iterator[gpd.GeoDataFrame]:
        yield from frames(layer, area)
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(FootprintLayer, "measured_frames", break_off)
        with pytest.raises(OSError, match=r"^$"):
            count_layer(statistics, layer)
    assert count_layer(statistics, layer).parts.counted.sum() == layer.rows


def test_one_file_is_not_shared_by_workers(whole: Path) -> None:
    with pytest.raises(
        InputError, match=r"`workers` 2: workers share the files of a folder, and .* is one file"
    ):
        geoseg.stats(whole, "grid:200m", workers=2)


def test_a_sample_of_one_map_is_not_one_of_a_folder(pieces: Path) -> None:
    with pytest.raises(InputError, match=r"`samples` .* are of one map, and .*pieces holds several"):
        geoseg.stats(pieces, "grid:200m", samples=pieces / "points.gpkg")


def test_a_folder_without_footprints_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(command_line, ["stats", str(tmp_path / "empty"), "--regions", "grid:200m"])
    assert done.exit_code == 2
    assert "empty: the folder holds no footprints (.gpkg" in done.stderr


def test_the_way_of_the_work_is_no_part_of_what_is_asked() -> None:
    assert WorkerOptions(workers=3).without_places() == WorkerOptions(dask="x").without_places()
