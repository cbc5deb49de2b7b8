"""What many tests need: a cache of their own, small rasters, small models."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import rasterio
from heard import Heard, listening
from hypothesis import settings
from made import HERE, UTM33, RasterWriter, write_tiny_model
from numpy.typing import NDArray

if "PYTEST_XDIST_WORKER" in os.environ:  # one process for each processor, so one thread in each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("geoseg", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("geoseg")

TORCH = "torch|onnx|segmentation_models_pytorch|geoseg[.]training(?![.](options|runs) )"
IMPORTS_TORCH = re.compile(rf"^(import|from) ({TORCH})\b", re.MULTILINE)


def pytest_report_header() -> str:
    return "" if find_spec("torch") else "PyTorch is not installed: tests that import it are left out"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what imports PyTorch, or what comes with it, where that is not installed."""
    is_test = collection_path.suffix == ".py" and not find_spec("torch")
    return True if is_test and IMPORTS_TORCH.search(collection_path.read_text(encoding="utf-8")) else None


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache out of the tests and the tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What geoseg says and reports while the test runs."""
    with listening() as listener:
        yield listener


@pytest.fixture
def write_raster(tmp_path: Path) -> RasterWriter:
    def write(name: str, values: NDArray[Any], **profile: Any) -> Path:
        bands = values if values.ndim == 3 else values[None]
        mask = profile.pop("mask", None)
        descriptions = profile.pop("descriptions", None)
        settings = {
            "driver": "GTiff", "dtype": bands.dtype.name, "count": len(bands), "height": bands.shape[1],
            "width": bands.shape[2], "crs": UTM33, "transform": HERE, **profile,
        }  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **settings) as dataset:
            dataset.write(bands)
            if mask is not None:
                dataset.write_mask(mask)
            if descriptions:
                dataset.descriptions = descriptions
        return path

    return write


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real U-Net with random weights, small enough for any test, in a model folder."""
    pytest.importorskip("torch")
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the temporary folder, served on this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    script = Path(__file__).parent / "support" / "range_server.py"
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks this small are slower on two threads than on one."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
