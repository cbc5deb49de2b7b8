"""Each session has a folder of its own, and it goes when the session goes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from geoseg.app.workspace import PREFIX, Workspace


def test_sessions_are_apart_and_private(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    one, other = workspace.open_session("one"), workspace.open_session("other")
    assert one.folder != other.folder
    assert workspace.open_session("one") is one
    if sys.platform != "win32":
        assert one.folder.stat().st_mode & 0o077 == 0
    assert one.make_folder("run") != one.make_folder("run")
    workspace.close()
    assert list(tmp_path.iterdir()) == []


def test_a_session_goes_when_its_browser_has_been_gone_for_a_while(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    one, other = workspace.open_session("one"), workspace.open_session("other")
    workspace.sweep({"one"}.__contains__, keep_s=100)
    assert other.folder.exists()
    workspace.sweep({"one"}.__contains__, keep_s=-1)
    assert one.folder.exists()
    assert not other.folder.exists()
    assert other.token.is_cancelled
    assert not one.token.is_cancelled
    assert workspace.open_session("other") is not other
    workspace.close()


def test_a_new_server_removes_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from geoseg.app.workspace import Workspace\n"
        "w = Workspace(Path(sys.argv[1])); (w.open_session('a').folder / 'x').touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = tmp_path.glob("geoseg-app-*")
    (tmp_path / "geoseg-else").mkdir()
    living = Workspace(tmp_path)
    assert not left.exists()
    second = Workspace(tmp_path)
    assert living.folder.exists()
    assert (tmp_path / "geoseg-else").exists()
    living.close()
    second.close()


def test_a_server_that_is_only_just_starting_keeps_its_folder(tmp_path: Path) -> None:
    """It has made its folder, and not yet its lock."""
    starting = tmp_path / f"{PREFIX}abc"
    starting.mkdir()
    Workspace(tmp_path).close()
    assert starting.exists()
