from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rasterio
from bright import draw_picture, write_color_model
from crops import run_to_the_end, write_crop
from made import HERE, UTM33

from geoseg.app.options import AppOptions
from geoseg.app.runs import FinishedRun
from geoseg.app.scenes import look_at_scene


@pytest.fixture(autouse=True)
def same_main_module() -> Iterator[None]:
    """Streamlit puts a page in the place of the main module, and worker processes of other tests would begin with it."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def crop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crop(tmp_path_factory.mktemp("scene") / "crop.tif")


ROOF_PLACES = [(slice(20 + 60 * i, 50 + 60 * i), slice(20, 70), i) for i in range(3)]
SHED_PLACES = [(slice(20 + 60 * i, 28 + 60 * i), slice(120, 128), i) for i in range(3)]


@pytest.fixture(scope="session")
def color_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def roofs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house and a shed each with a red, a green and a blue roof."""
    values = draw_picture(200, 240, ())
    for rows, cols, band in ROOF_PLACES + SHED_PLACES:
        values[rows, cols, band] = 240
    path = tmp_path_factory.mktemp("roofs") / "roofs.tif"
    profile = {"driver": "GTiff", "width": 240, "height": 200, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, crs=UTM33, transform=HERE) as out:
        out.write(values.transpose(2, 0, 1))
    return path


@pytest.fixture(scope="session")
def finished(crop: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """What a run of the default model over the crop has found."""
    scene = look_at_scene(crop, "crop.tif", "upload", AppOptions())
    run = run_to_the_end(scene, tmp_path_factory.mktemp("runs") / "run")
    assert run.finished, run.error
    return run.finished
