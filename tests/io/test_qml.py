"""A style beside a vector layer and a raster of the same stem."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from geoseg.io.atomic import Delivery, replace_files, replace_text
from geoseg.io.qml import find_raster_part

HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis version=\"3.22.16\">\n"
VECTOR = f'{HEAD}  <renderer-v2 type="singleSymbol"/>\n  <mapTip>a tip</mapTip>\n</qgis>\n'
RASTER = f"{HEAD}  <pipe>\n    <rasterrenderer/>\n  </pipe>\n  <blendMode>0</blendMode>\n</qgis>\n"


@pytest.mark.parametrize("styles", permutations([VECTOR, RASTER]))
@pytest.mark.parametrize("together", [True, False])
def test_a_vector_layer_and_a_raster_share_a_style(
    tmp_path: Path, styles: tuple[str, str], together: bool
) -> None:
    path = tmp_path / "town.qml"
    with Delivery([path], "a command") as delivery:
        for style in styles:
            replace_text(path, style, delivery if together else None)
    shared = path.read_text()
    assert shared == VECTOR.replace("</qgis>", find_raster_part(RASTER) + "</qgis>")
    replace_text(path, RASTER.replace("rasterrenderer", "another"))
    replace_text(path, VECTOR.replace("a tip", "another"))
    assert path.read_text() == shared.replace("a tip", "another").replace("rasterrenderer", "another")


@pytest.mark.parametrize("style", [VECTOR, RASTER])
def test_a_style_replaces_one_of_its_own_kind(tmp_path: Path, style: str) -> None:
    path = tmp_path / "town.qml"
    path.write_text(style.replace("3.22", "3.10"))
    with replace_files(tmp_path / "town.any") as folder:
        (folder / path.name).write_text(style)
    assert path.read_text() == style
