from __future__ import annotations

from pathlib import Path

import pytest
from reporting import make_town, write_photo


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """Twelve houses in a GeoPackage."""
    path = tmp_path / "town.gpkg"
    make_town(12).to_file(path, layer="buildings")
    return path


@pytest.fixture
def town_photo(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "photo.tif")
