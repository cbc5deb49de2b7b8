"""The house keeps its floors: imports go down, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = (
    {"errors"}, {"options", "progress", "records"}, {"io", "parallel"}, {"raster"}, {"models"}, {"inference"}, {"cluster"},
    {"footprints"}, {"scores"}, {"regions"}, {"comparison"}, {"publishing"}, {"reports"}, {"synthetic"}, {"workflows"}, {"datasets"},
    {"training"}, {"evaluation"}, {"app"}, {"api", "cli"},
)  # fmt: skip
"""From the ground up: a room imports from its own floor and from those below."""
KEPT_OUT = {
    "io": {"torch", "ee"},
    "raster": {"torch", "geopandas", "ee"},
    "models": {"rasterio", "geopandas", "ee"},
    "inference": {"torch", "geopandas", "ee"},
    "cluster": {"torch", "geopandas", "rasterio", "ee"},
    "footprints": {"torch", "ee"},
    "regions": {"torch", "ee"},
    "comparison": {"torch", "ee"},
    "publishing": {"torch", "ee"},
    "synthetic": {"torch", "ee"},
    "workflows": {"torch", "ee"},
    "datasets": {"ee"},
    "scores": {"torch", "rasterio", "ee"},
    "training": {"ee"},
    "evaluation": {"ee"},
    "reports": {"torch", "ee"},
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


HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "geoseg").parts[0].removesuffix(".py")


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(path) for path in sources("geoseg")} - {"__init__", "__main__"}
    assert rooms == set(HEIGHT)


@pytest.mark.parametrize("room", sorted(HEIGHT))
def test_a_room_imports_only_from_floors_below(room: str) -> None:
    for path in sources("geoseg"):
        if room_of(path) != room:
            continue
        for module in imports(path):
            if module.startswith("geoseg.") and module != "geoseg.__version__":
                assert HEIGHT[module.split(".")[1]] <= HEIGHT[room], f"{path}: {module}"
            is_export = room == "cli" and module.startswith("gee")
            assert is_export or module.split(".")[0] not in KEPT_OUT.get(room, set()) | {"gee"}, (
                f"{path}: {module}"
            )


def test_earth_engine_knows_little_of_geoseg() -> None:
    allowed = (
        "geoseg.errors",
        "geoseg.progress",
        "geoseg.io",
        "geoseg.raster.grid",
        "geoseg.raster.source",
        "geoseg.__version__",
    )
    for path in sources("gee"):
        for module in imports(path):
            assert not module.startswith("geoseg") or module.startswith(allowed), f"{path}: {module}"


def test_streamlit_stays_in_the_app() -> None:
    for path in [*sources("geoseg"), *sources("gee")]:
        if path.parts[-2] != "app":
            assert not any(module.split(".")[0] == "streamlit" for module in imports(path)), path


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


@pytest.mark.parametrize(
    "module",
    ["geoseg.raster.plan", "geoseg.inference.predictor", "geoseg.models.store", "geoseg.training.trainer"],
)
def test_training_machines_need_no_rasterio(module: str) -> None:
    if module.startswith("geoseg.training"):
        pytest.importorskip("torch")
    code = f"import sys; sys.modules['rasterio'] = None; import {module}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_mask_needs_nothing_that_makes_footprints() -> None:
    """They take half a second to load, and 190 MiB."""
    code = "import sys, geoseg.workflows.infer; print(sorted({'geopandas', 'pandas', 'scipy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", out.stderr


def test_no_class_name_stands_twice() -> None:
    """Where two rooms have a class of one name, a reader of one takes it for the other."""
    names = Counter(
        node.name
        for folder in ("geoseg", "gee")
        for path in sources(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
