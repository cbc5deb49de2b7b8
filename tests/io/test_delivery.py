"""Files that get their names together, what a killed process leaves, and who may look into what is unfinished."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from geoseg.errors import GeosegError, InputError
from geoseg.io import staging
from geoseg.io.access import Output, check_outputs
from geoseg.io.atomic import (
    Delivery,
    clear_leftovers,
    explain_write_errors,
    find_own_files,
    lock_private_folder,
    remove_folder,
    replace_file,
    replace_text,
    share_private_folder,
)
from geoseg.io.staging import make_private_folder, make_staging_folder, sweep_staging_folders

KILLED_BETWEEN_NAMES = """
import os, sys
from pathlib import Path
from geoseg.io.atomic import Delivery, replace_file
folder = Path(sys.argv[1])
rename = os.replace
def rename_and_die(source, target):
    rename(source, target)
    if Path(target).name == "b":
        os._exit(9)
os.replace = rename_and_die
with Delivery([folder / name for name in "abc"], "this command") as delivery:
    for name in "abc":
        with replace_file(folder / name, delivery) as unfinished:
            unfinished.write_text(name)
"""
KILLED_AFTERWARDS = """
import os, sys
from pathlib import Path
from geoseg.io.atomic import Delivery, replace_file
out = Path(sys.argv[1], "out")
with Delivery([out], "this command") as delivery:
    with replace_file(out, delivery) as unfinished:
        unfinished.write_text("whole")
    delivery.do_afterwards(lambda: os._exit(9))
"""


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kill_between_names(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_BETWEEN_NAMES, str(folder)], check=False)
    assert done.returncode == 9


def check(folder: Path, command: str) -> None:
    outputs = [Output("a text", folder / name) for name in "abc"]
    check_outputs(outputs, [], find_own_files(folder / "a", command))


def deliver(folder: Path, command: str = "this command") -> None:
    with Delivery([folder / name for name in "abc"], command) as delivery:
        for name in "abc":
            with replace_file(folder / name, delivery) as unfinished:
                unfinished.write_text(name)


def test_files_get_their_names_when_all_are_finished(tmp_path: Path) -> None:
    with Delivery([tmp_path / "a", tmp_path / "b"], "") as delivery:
        with replace_file(tmp_path / "a", delivery) as unfinished:
            unfinished.write_text("1")
        assert not (tmp_path / "a").exists()
        assert delivery.find(tmp_path / "a").read_text() == "1"
        with replace_file(tmp_path / "b", delivery) as unfinished:
            unfinished.write_text("2")
    assert list_names(tmp_path) == ["a", "b"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    with suppress(ZeroDivisionError), Delivery([tmp_path / "a"], "") as delivery:
        with replace_file(tmp_path / "a", delivery) as unfinished:
            unfinished.write_text("after")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "before"
    assert list_names(tmp_path) == ["a"]


def test_killed_between_two_names_the_same_command_goes_on(tmp_path: Path) -> None:
    kill_between_names(tmp_path)
    assert {"a", "b"} <= set(list_names(tmp_path))
    assert "c" not in list_names(tmp_path)
    check(tmp_path, "this command")
    deliver(tmp_path)
    assert list_names(tmp_path) == ["a", "b", "c"]


def test_another_command_finds_no_files_of_its_own(tmp_path: Path) -> None:
    kill_between_names(tmp_path)
    with pytest.raises(InputError, match="a: exists already"):
        check(tmp_path, "another command")


def test_a_file_that_was_changed_since_is_no_longer_its_own(tmp_path: Path) -> None:
    kill_between_names(tmp_path)
    (tmp_path / "b").write_text("by hand")
    with pytest.raises(InputError, match="b: exists already"):
        check(tmp_path, "this command")


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"command": 1, "files": []}', "\\xff"])
def test_a_damaged_note_says_nothing(tmp_path: Path, note: str) -> None:
    (tmp_path / ".a.delivery").write_text(note)
    assert find_own_files(tmp_path / "a", "this command") == set()


def test_only_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    kill_between_names(tmp_path)
    (tmp_path / ".other.abcdefgh").mkdir()
    with make_staging_folder(tmp_path / "c") as at_work:
        left = [path for path in tmp_path.glob(".c.*") if path != at_work]
        assert len(left) == 1
        sweep_staging_folders(tmp_path, "c")
        assert at_work.exists()
        assert not left[0].exists()
    sweep_staging_folders(tmp_path)
    assert list_names(tmp_path) == [".a.delivery", ".other.abcdefgh", "a", "b"]


def test_a_folder_that_is_swept_before_it_is_locked_gives_way_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LateLock(FileLock):
        """One that another process has, which takes the folder away."""

        def acquire(self, *_: Any, **__: Any) -> Any:
            monkeypatch.undo()
            shutil.rmtree(Path(self.lock_file).parent)
            raise Timeout(self.lock_file)

    monkeypatch.setattr(staging, "FileLock", LateLock)
    with make_staging_folder(tmp_path / "a") as folder:
        sweep_staging_folders(tmp_path)
        (folder / "a").write_text("it is there")
    assert list_names(tmp_path) == []


def test_what_a_run_that_was_killed_had_begun_to_take_away_goes(tmp_path: Path) -> None:
    left = tmp_path / ".a[1].0123456789ab.parts.gone"
    for folder in (left, tmp_path / "a[1].0123456789ab.parts"):
        folder.mkdir()
        (folder / "classes-000000.tif").touch()
    remove_folder(tmp_path / "a[1].0123456789ab.parts")
    assert list_names(tmp_path) == []
    left.mkdir()
    clear_leftovers(tmp_path / "a[1]", "any command")
    assert list_names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_nobody_else_may_look_into_unfinished_work(tmp_path: Path) -> None:
    with make_staging_folder(tmp_path / "a") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("kept")
    (tmp_path / "a").symlink_to(tmp_path / "secret")
    replace_text(tmp_path / "a", "new")
    assert (tmp_path / "secret").read_text() == "kept"
    assert not (tmp_path / "a").is_symlink()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="nobody owns files there")
def test_a_folder_that_others_can_fill_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_private_folder(tmp_path / "own")
    make_private_folder(tmp_path / "own")
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "own")
    with pytest.raises(InputError, match="is a link"):
        make_private_folder(tmp_path / "link")
    (tmp_path / "own").chmod(0o777)
    with pytest.raises(InputError, match="others may write into it"):
        make_private_folder(tmp_path / "own")
    (tmp_path / "own").chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: (tmp_path / "own").stat().st_uid + 1)
    with pytest.raises(InputError, match="belongs to somebody else"):
        make_private_folder(tmp_path / "own")


@pytest.mark.parametrize("finished", [[], ["strip.tif"]])
def test_a_folder_with_nothing_in_it_does_not_outlive_an_error(tmp_path: Path, finished: list[str]) -> None:
    folder = tmp_path / "m.tif.key.parts"

    def fail() -> None:
        with lock_private_folder(folder):
            for name in finished:
                (folder / name).touch()
            raise InputError("the scene is damaged")

    with pytest.raises(InputError, match="the scene is damaged"):
        fail()
    assert folder.exists() == bool(finished)
    assert {path.name for path in tmp_path.iterdir()} <= {folder.name}


def test_a_share_that_fails_takes_its_bare_folder_away_unless_another_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "m.tif.key.parts"

    def fail(name: str) -> None:
        with share_private_folder(folder, name, "this command"):
            raise InputError("the scene is damaged")

    with pytest.raises(InputError, match="the scene is damaged"):
        fail("shard-1-of-2")
    assert list_names(tmp_path) == []
    with (
        share_private_folder(folder, "shard-2-of-2", "this command"),
        pytest.raises(InputError, match="the scene is damaged"),
    ):
        fail("shard-1-of-2")
    assert folder.exists()


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(
            GeosegError, match=r"m\.tif could not be written: the folder .*away is gone; make it again"
        ),
        explain_write_errors(tmp_path / "away" / "m.tif"),
    ):
        raise FileNotFoundError(2, "Failed to open local file")


def test_a_file_counts_as_the_commands_own_until_all_is_cleared_away(tmp_path: Path) -> None:
    out, done = tmp_path / "out", []
    assert (
        subprocess.run([sys.executable, "-c", KILLED_AFTERWARDS, str(tmp_path)], check=False).returncode == 9
    )
    assert out.read_text() == "whole"
    assert find_own_files(out, "this command") == {out}
    with Delivery([out], "this command") as delivery:
        delivery.do_afterwards(lambda: done.append(find_own_files(out, "this command")))
        with replace_file(out, delivery) as unfinished:
            unfinished.write_text("anew")
    assert done == [{out}]
    assert list_names(tmp_path) == ["out"]
