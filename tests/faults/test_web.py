"""Scenes on a server that is slow, busy or breaks off: it is asked again, and the mask is that of the file on disk."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import RemoteDisconnected
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from bright import ENGINE, write_bright_model
from made import RasterWriter, photo

import geoseg
from geoseg.errors import InputError
from geoseg.io.addresses import call_patiently, is_remote, may_server_recover

SERVER = Path(__file__).parents[1] / "support" / "range_server.py"
QUICK = [("busy", 1, 1), ("dropped", 2, 2), ("cut", 4, 4)]
LONG = [
    (kind, first, last)
    for kind in ("slow", "busy", "dropped")
    for first, last in ((1, 2), (2, 4), (3, 5), (5, 7))
]


@contextmanager
def serving(folder: Path, fault: str, first: int, last: int) -> Iterator[str]:
    command = [sys.executable, str(SERVER), str(folder), "--fault", fault, str(first), str(last)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **pipes) as server:
        assert server.stdout
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


def infer_mask(scene: str, out: Path, model: str) -> np.ndarray:
    geoseg.infer(scene, mask=out, model=model, **ENGINE)
    with rasterio.open(out) as dataset:
        return dataset.read()


@pytest.mark.parametrize(
    ("fault", "first", "last"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.faults) for case in LONG)]
)
def test_a_server_at_fault_is_asked_again(
    fault: str,
    first: int,
    last: int,
    tmp_path: Path,
    write_raster: RasterWriter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    written, model = write_raster("plain.tif", photo(500, 400)), str(write_bright_model(tmp_path))
    rasterio.shutil.copy(written, tmp_path / "scene.tif", driver="COG", compress="deflate", blocksize=128)
    expected = infer_mask(str(tmp_path / "scene.tif"), tmp_path / "local.tif", model)
    with serving(tmp_path, fault, first, last) as address:
        found = infer_mask(f"{address}/scene.tif", tmp_path / "web.tif", model)
    assert np.array_equal(found, expected)


def test_calls_are_made_again_as_long_as_it_may_help() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) < 3:
            raise RemoteDisconnected("gone")
        return len(asked)

    assert call_patiently(ask, may_server_recover, (0, 0, 0)) == 3
    asked.clear()
    with pytest.raises(RemoteDisconnected):
        call_patiently(ask, may_server_recover, (0,))
    asked.clear()
    with pytest.raises(RemoteDisconnected):
        call_patiently(ask, lambda error: False, (0, 0, 0))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (urllib.error.HTTPError("http://host", 503, "busy", None, None), True),  # type: ignore[arg-type]
        (urllib.error.HTTPError("http://host", 404, "no", None, None), False),  # type: ignore[arg-type]
        (urllib.error.URLError(ConnectionRefusedError()), False),
        (urllib.error.URLError(TimeoutError()), True),
        (ConnectionResetError(), True),
        (InputError("no"), False),
    ],
    ids=repr,
)
def test_which_errors_may_pass(error: Exception, may: bool) -> None:
    assert may_server_recover(error) is may


@pytest.mark.parametrize(
    ("source", "remote"),
    [
        ("https://host/a.tif", True), ("/vsicurl/https://host/a.tif", True), ("/vsizip//vsis3/bucket/a.zip/a.tif", True),
        ("/vsicurl?header.a=b&url=x", True), ("s3://bucket/a.tif", True), ("/data/a.tif", False), ("/vsizip/a.zip/a.tif", False),
    ],
)  # fmt: skip
def test_what_lies_on_the_web(source: str, remote: bool) -> None:
    assert is_remote(source) is remote
