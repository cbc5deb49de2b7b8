"""The house keeps its floors: imports go down, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {"geoseg.bandnames", "geoseg.errors", "geoseg.landclass", "geoseg.narrator", "geoseg.writable"}
ALLOWED_ROOMS = {
    "raster": {"raster"},
    "model": {"model"},
    "predict": {"predict", "model", "raster"},
    "footprints": {"footprints", "raster"},
    "demo": {"demo", "raster", "footprints"},
    "prepare": {"prepare", "demo", "footprints", "raster"},
    "learn": {"learn", "prepare", "footprints", "predict", "model", "raster"},
}
KEPT_OUT = {
    "raster": {"torch", "geopandas", "ee"},
    "model": {"rasterio", "geopandas", "ee"},
    "predict": {"geopandas", "ee"},
    "footprints": {"torch", "ee"},
    "demo": {"torch", "ee"},
    "prepare": {"torch", "ee"},
    "learn": {"ee"},
}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", sorted(ALLOWED_ROOMS))
def test_a_room_imports_only_from_floors_below(room: str) -> None:
    for path in sources(f"geoseg/{room}"):
        for module in imports(path):
            if module.startswith("geoseg.") and ".".join(module.split(".")[:2]) not in GROUND:
                neighbour = module.split(".")[1]
                assert neighbour in ALLOWED_ROOMS[room] or module == "geoseg.__version__", f"{path}: {module}"
            assert module.split(".")[0] not in KEPT_OUT[room] | {"gee"}, f"{path}: {module}"


def test_earth_engine_knows_little_of_geoseg() -> None:
    allowed = (*GROUND, "geoseg.raster.grid", "geoseg.__version__")
    for path in sources("gee"):
        for module in imports(path):
            assert not module.startswith("geoseg") or module.startswith(allowed), f"{path}: {module}"


def test_room_doors_are_empty() -> None:
    for path in (ROOT / "geoseg").rglob("__init__.py"):
        if path.parent != ROOT / "geoseg":
            assert path.read_text() == "", path


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_command_line_starts_without_heavy_libraries(arguments: list[str]) -> None:
    heavy = "{'torch', 'rasterio', 'geopandas', 'numpy', 'ee', 'shapely', 'pyproj'}"
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from geoseg.cli.main import geoseg\n"
        f"assert CliRunner().invoke(geoseg, {arguments}).exit_code == 0\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", out.stderr


@pytest.mark.parametrize("module", ["geoseg.raster.plan", "geoseg.predict.predictor", "geoseg.model.folder"])
def test_training_machines_need_no_rasterio(module: str) -> None:
    code = f"import sys; sys.modules['rasterio'] = None; import {module}"
    subprocess.run([sys.executable, "-c", code], check=True)
