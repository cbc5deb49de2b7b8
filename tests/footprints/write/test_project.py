from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from layers import GRID, footprints, scattered, write, write_raster

from geoseg.errors import InputError
from geoseg.footprints.write.project import QgisProject, write_project
from geoseg.footprints.write.styles import make_footprint_style, make_region_style


def opened(path: Path) -> ElementTree.Element:
    with zipfile.ZipFile(path) as archive:
        return ElementTree.fromstring(archive.read(f"{path.stem}.qgs"))


@pytest.fixture
def project(tmp_path: Path) -> QgisProject:
    image = write_raster(tmp_path / "image & more.tif", np.zeros((3, *GRID.shape), np.uint8))
    return QgisProject(write(tmp_path / "out.gpkg", footprints(scattered())), [str(image)])


def test_files_are_named_as_seen_from_the_project(project: QgisProject, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    write_project(project, tmp_path / "maps" / "all.qgz")
    sources = [element.text for element in opened(tmp_path / "maps" / "all.qgz").iter("datasource")]
    assert sources == ["../out.gpkg|layername=buildings", "../image & more.tif"]


def test_the_same_project_has_the_same_bytes(project: QgisProject, tmp_path: Path) -> None:
    out = tmp_path / "out.qgz"
    write_project(project, out)
    before = out.read_bytes()
    write_project(project, out)
    assert out.read_bytes() == before


def test_layers_come_with_their_styles(project: QgisProject, tmp_path: Path) -> None:
    write_project(project, tmp_path / "out.qgz")
    layers = list(opened(tmp_path / "out.qgz").iter("maplayer"))
    assert layers[0].find("renderer-v2").attrib["attr"] == "area_m2"  # type: ignore[union-attr]
    assert layers[1].find("pipe/rasterrenderer").attrib["type"] == "multibandcolor"  # type: ignore[union-attr]


def test_without_buildings_it_is_zoomed_to_the_image(project: QgisProject, tmp_path: Path) -> None:
    write(project.footprints, footprints(np.empty(0, dtype=object)), overwrite=True)
    write_project(project, tmp_path / "out.qgz")
    extent = opened(tmp_path / "out.qgz").find("mapcanvas/extent")
    assert extent is not None
    assert float(extent.findtext("xmin", "")) == pytest.approx(GRID.bounds[0], abs=50)


def test_a_project_of_nothing_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "out.gpkg", footprints(np.empty(0, dtype=object)))
    with pytest.raises(InputError, match="to zoom to"):
        write_project(QgisProject(path), tmp_path / "out.qgz")
    assert not (tmp_path / "out.qgz").exists()


def test_an_image_on_the_web_goes_by_its_address(project: QgisProject, tmp_path: Path, web: str) -> None:
    write_raster(tmp_path / "scene.tif", np.zeros((3, *GRID.shape), np.uint8))
    write_project(QgisProject(project.footprints, [f"{web}/scene.tif"]), tmp_path / "out.qgz")
    sources = [element.text for element in opened(tmp_path / "out.qgz").iter("datasource")]
    assert sources[1] == f"/vsicurl/{web}/scene.tif"


def test_an_image_that_is_not_there_is_refused(project: QgisProject, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.tif"):
        write_project(QgisProject(project.footprints, [str(tmp_path / "missing.tif")]), tmp_path / "out.qgz")
    assert not (tmp_path / "out.qgz").exists()


@pytest.mark.parametrize("suffix", ["fgb", "shp"])
def test_footprints_of_other_formats(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"out.{suffix}", footprints(scattered()))
    write_project(QgisProject(path), tmp_path / "out.qgz")
    layer = opened(tmp_path / "out.qgz").find("projectlayers/maplayer")
    assert layer is not None
    assert layer.findtext("datasource") == f"./out.{suffix}"
    assert layer.find("renderer-v2") is not None


@pytest.mark.parametrize("classes", [["building"], ["a", "b & <c>"], [f"class {i}" for i in range(20)]])
def test_styles_are_well_formed(classes: list[str]) -> None:
    for style in (make_footprint_style(classes), make_region_style(classes)):
        root = ElementTree.fromstring(style.split("\n", 1)[1])
        assert root.find("renderer-v2") is not None
        assert root.findtext("mapTip")


def test_a_signature_does_not_go_into_the_project(project: QgisProject, tmp_path: Path, web: str) -> None:
    write_raster(tmp_path / "scene.tif", np.zeros((3, *GRID.shape), np.uint8))
    address = f"{web}/scene.tif?X-Amz-Signature=abc123".replace("://", "://ann:geheim@")
    write_project(QgisProject(project.footprints, [address]), tmp_path / "out.qgz")
    with zipfile.ZipFile(tmp_path / "out.qgz") as archive:
        written = archive.read("out.qgs").decode()
    assert "/scene.tif<" in written
    assert "abc123" not in written
    assert "geheim" not in written
