from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from crops import run_to_the_end, write_crop

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


@pytest.fixture(scope="session")
def finished(crop: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """What a run of the default model over the crop has found."""
    scene = look_at_scene(crop, "crop.tif", "upload", AppOptions())
    run = run_to_the_end(scene, tmp_path_factory.mktemp("runs") / "run")
    assert run.finished, run.error
    return run.finished
