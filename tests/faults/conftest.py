"""What faults happen to, made once; most of the faults only when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from damaged import furnish_sound
from disturbance import Bench
from launcher import Launcher
from undertakings import furnish_given


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hours of faults happen only when they are asked for: -m faults."""
    if "faults" not in config.getoption("markexpr"):
        for item in items:
            if item.get_closest_marker("faults"):
                item.add_marker(pytest.mark.skip(reason="takes long: -m faults"))


@pytest.fixture(scope="session")
def given(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = furnish_given(tmp_path_factory.mktemp("faults") / "given", tiny_model)
    furnish_sound(folder)
    return folder


@pytest.fixture(scope="session")
def bench(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Launcher(tmp_path_factory.mktemp("launcher")) as launcher:
        yield Bench(launcher, given, tmp_path_factory.mktemp("bench"))
