"""The test server, and the command driven against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from earth_server.service import EarthServer

NO_CREDENTIALS = (
    "EARTHENGINE_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "EE_PROJECT_ID",
    "GEOSEG_EE_URL",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need an account run only when they are asked for: -m earthengine."""
    if "earthengine" not in config.getoption("markexpr"):
        for item in items:
            if item.get_closest_marker("earthengine"):
                item.add_marker(pytest.mark.skip(reason="needs an Earth Engine account: -m earthengine"))


@pytest.fixture(autouse=True)
def nobody(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A computer on which nobody is signed in, and where nothing is asked of the network."""
    if request.node.get_closest_marker("earthengine"):
        return
    for variable in NO_CREDENTIALS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "home" / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def earth() -> Iterator[EarthServer]:
    server = EarthServer()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No test waits: how long would have been waited is written down."""
    from gee.errors import RetryPolicy

    waited: list[float] = []

    def pause(self: RetryPolicy, seconds: float, reason: str) -> None:
        if self.stopped.wait(0.001):
            raise InterruptedError
        waited.append(seconds)

    monkeypatch.setattr("gee.errors.RetryPolicy.pause", pause)
    return waited


@dataclass
class Command:
    """`geoseg export`, run in this process against the test server."""

    server: EarthServer
    folder: Path
    tile: int | None = None

    def __call__(self, *arguments: object) -> Result:
        from geoseg.cli.main import geoseg

        given = [str(argument) for argument in arguments]
        if "--out" not in given:
            given += ["--out", str(self.out)]
        if "--endpoint" not in given:
            given += ["--endpoint", self.server.url]
        if self.tile is not None and "--tile" not in given:
            given += ["--tile", str(self.tile)]
        return CliRunner().invoke(geoseg, ["export", *given])

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def done(self, *arguments: object) -> dict:
        """Run the command, see that it succeeds, and give its summary."""
        result = self(*arguments, "--json", "--quiet")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def refused(self, *arguments: object) -> str:
        """Run the command, see that it fails with one line, and give that line."""
        result = self(*arguments)
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert result.exit_code in {1, 2}, result.output
        assert len(lines) == 1, result.stderr
        return lines[0]


@pytest.fixture
def export(earth: EarthServer, tmp_path: Path) -> Command:
    return Command(earth, tmp_path)
