"""What tests of several processes share: a scene, a model, and the files that one process makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from subprocess import Popen

import pytest
from blocks import SMALL_STRIPS, Bench, run_cluster


@pytest.fixture(scope="module", autouse=True)
def _small_strips() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.raster.plan.STRIP_PIXELS", SMALL_STRIPS)
        yield


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("bench"))
    bench.infer("one")
    return bench


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[Popen[bytes]]]]:
    """Two worker processes and a scheduler over TCP."""
    pytest.importorskip("distributed")
    with run_cluster(tmp_path_factory.mktemp("cluster"), 2) as running:
        yield running


@pytest.fixture
def address(cluster: tuple[str, list[Popen[bytes]]]) -> str:
    return cluster[0]
