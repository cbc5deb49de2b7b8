"""What workers are told of a scene means the same wherever they were started."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from geoseg.io.addresses import find_local_file, read_layer_state
from geoseg.workflows.strips import make_absolute


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to start in, with some scenes."""
    (tmp_path / "d").mkdir()
    for name in ("a.tif", "d/a.tif", "d/new! a.tif"):
        (tmp_path / name).touch()
    with zipfile.ZipFile(tmp_path / "d" / "a.zip", "w") as archive:
        archive.writestr("in/a.tif", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "source", ["a.tif", "./a.tif", "d/a.tif", "d//a.tif", "./d/../d/a.tif", "d/new! a.tif", "d"]
)
def test_a_path_is_that_of_the_same_file(folder: Path, source: str) -> None:
    whole = make_absolute(source)
    assert Path(whole).is_absolute()
    assert Path(whole).samefile(folder / source)


@pytest.mark.parametrize(
    ("before", "path", "inside"),
    [("/vsizip/", "d/a.zip", "/in/a.tif"), ("zip://", "./d/a.zip", "!in/a.tif"), ("file://", "./a.tif", "")],
)
def test_an_address_leads_to_the_same_file(folder: Path, before: str, path: str, inside: str) -> None:
    whole = make_absolute(f"{before}{path}{inside}")
    assert whole.startswith(f"{before}{folder}")
    assert whole.endswith(inside)
    assert (find_local_file(whole) or Path()).samefile(folder / path)


@pytest.mark.parametrize(
    "source", ["default", "owner/model", "https://host/a.tif", "/vsicurl/https://host/a.tif"]
)
def test_names_and_addresses_on_the_web_stay_as_they_are(source: str) -> None:
    assert make_absolute(source) == source


def test_the_state_of_a_layer_is_that_of_its_file(folder: Path) -> None:
    (folder / "r.gpkg").write_bytes(b"1")
    before = read_layer_state("r.gpkg:wards")
    (folder / "r.gpkg").write_bytes(b"22")
    assert read_layer_state("r.gpkg:wards") != before
