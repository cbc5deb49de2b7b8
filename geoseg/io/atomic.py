"""Files that are whole or not there: written beside, put on disk, renamed at the end, with one clear line when that fails."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from glob import escape
from pathlib import Path
from types import TracebackType

from geoseg.errors import GeosegError, InputError, WriteError
from geoseg.io.access import (
    check_writable,
    explain_write_error,
    list_causes,
    list_members,
    lock_folder,
    share_folder,
)
from geoseg.io.qml import STYLE_SUFFIX, join_styles, read_style
from geoseg.io.staging import LOCK_FILE, make_private_folder, make_staging_folder, sweep_staging_folders

log = logging.getLogger(__name__)

COMMAND_NOTE = ".command"
"""Where a folder of parts says what they are made for."""
GONE = ".gone"
"""What the name of a folder of parts ends in while it is taken away."""
WRITING_LIBRARIES = {"pyarrow", "pyogrio", "rasterio", "safetensors", "safetensors_rust"}
"""Their errors share no base class, and importing them for their errors would take longer than writing."""


class Delivery:
    """Files that are finished one after the other, and get their names together when the block ends well.

    A note beside the first of them then says which they are: should the process be killed between two names, the same
    command finds its own files instead of refusing to replace them.
    """

    def __init__(self, outputs: Sequence[Path], command: str) -> None:
        self.outputs = outputs
        self.command = command
        self._staged: dict[Path, Path] = {}
        self._afterwards: list[Callable[[], object]] = []
        self._cleanup = ExitStack()

    def __enter__(self) -> Delivery:
        for path in self.outputs:
            sweep_staging_folders(path.parent, path.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cleanup:
            if error is None:
                self._deliver()

    def take(self, files: Mapping[Path, Path], cleanup: ExitStack) -> None:
        """Take finished files, by the paths they are to have; `cleanup` is done after they have them."""
        self._staged |= files
        self._cleanup.push(cleanup)

    def do_afterwards(self, act: Callable[[], object]) -> None:
        """Do something once the files have their names; should the process be killed before that, the same command does it."""
        self._afterwards.append(act)

    def find(self, path: Path) -> Path:
        """Where a file lies at the moment."""
        return self._staged.get(path, path)

    def _deliver(self) -> None:
        states = {str(path.absolute()): read_state(file) for path, file in self._staged.items()}
        if self.outputs and (len(states) > 1 or self._afterwards):
            note = {"command": self.command, "files": states}
            replace_text(find_note(self.outputs[0]), json.dumps(note))
        rename_files(self._staged)
        for act in self._afterwards:
            act()
        if self.outputs:
            find_note(self.outputs[0]).unlink(missing_ok=True)


def describe_command(name: str, paths: Sequence[str], options: object) -> str:
    """A command and all it was given, in a short text that another one never has."""
    return hashlib.sha256(repr((name, list(paths), options)).encode()).hexdigest()


def find_note(first: Path) -> Path:
    """Where a delivery says which files it is about to name."""
    return first.with_name(f".{first.name}.delivery")


def find_own_files(first: Path, command: str) -> set[Path]:
    """Files that a killed run of the same command had named, as long as nobody changed them since."""
    try:
        note = json.loads(find_note(first).read_text(encoding="utf-8"))
        states = {Path(path): state for path, state in note["files"].items() if note["command"] == command}
        return {path for path, state in states.items() if path.exists() and read_state(path) == state}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return set()


def refuse_delivered(outputs: Sequence[Path], command: str) -> None:
    """Refuse to begin parts of files that all have their names: whoever named them is about to take the parts away."""
    if {path.absolute() for path in outputs} <= find_own_files(outputs[0], command):
        raise InputError(
            f"{outputs[0]}: exists already, and is whole; the command without `shard` ends the work"
        )


def read_state(path: Path) -> list[int]:
    """The size and time of a file, which stay when it is renamed."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def rename_files(staged: Mapping[Path, Path]) -> None:
    for path, file in staged.items():
        with explain_write_errors(path):
            os.replace(file, path)


@contextmanager
def replace_files(path: Path, delivery: Delivery | None = None) -> Iterator[Path]:
    """A folder beside a file: what lies in it when the block ends well is moved next to, or over, that file.

    A delivery moves it later, together with other files. After an error the folder vanishes with all that was left in
    it, and what was there before is untouched.
    """
    check_writable(path)
    sweep_once(path.parent)
    with ExitStack() as stack:
        with explain_write_errors(path):
            folder = stack.enter_context(make_staging_folder(path))
        yield folder
        check_writable(path)
        with explain_write_errors(path):
            finished = sorted(file for file in folder.iterdir() if file.is_file() and file.name != LOCK_FILE)
            staged = {path.parent / file.name: file for file in finished}
            for target, file in staged.items():
                if file.suffix == STYLE_SUFFIX:
                    keep_shared_style(file, delivery.find(target) if delivery else target)
                put_on_disk(file)
        if delivery:
            delivery.take(staged, stack.pop_all())
        else:
            rename_files(staged)


def keep_shared_style(file: Path, there: Path) -> None:
    """Keep in a new style what the one in its place says of a raster or a vector layer that has the same stem."""
    style = read_style(file)
    joined = join_styles(style, read_style(there))
    if joined != style:
        file.write_text(joined, encoding="utf-8", newline="\n")


@cache
def sweep_once(folder: Path) -> None:
    """Remove what killed processes left in a folder, the first time that this process writes there."""
    sweep_staging_folders(folder)


@contextmanager
def replace_file(path: Path, delivery: Delivery | None = None) -> Iterator[Path]:
    """A path beside a file: what is written there moves over the file when the block ends well."""
    with replace_files(path, delivery) as folder, explain_write_errors(path):
        yield folder / path.name


def replace_text(path: Path, text: str, delivery: Delivery | None = None) -> None:
    """Write a text file, whole or not at all."""
    with replace_file(path, delivery) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


def create_text(path: Path, text: str) -> str:
    """Write a text file unless it is there, whole or not at all; what the file holds then is whoever's who came first."""
    if not path.exists():
        with explain_write_errors(path), make_staging_folder(path) as folder:
            unfinished = folder / path.name
            unfinished.write_text(text, encoding="utf-8", newline="\n")
            put_on_disk(unfinished)
            name_first(unfinished, path)
    return path.read_text(encoding="utf-8")


def name_first(unfinished: Path, path: Path) -> None:
    """Give a file its name unless another has it; a file system without hard links lets the last one win."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        pass
    except OSError:
        os.replace(unfinished, path)


def put_on_disk(path: Path) -> None:
    """Wait until a file's bytes lie on the disk, so that a rename never names what a power cut takes away."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Say in one line what kept a file from being written."""
    try:
        yield
    except GeosegError:
        raise
    except Exception as error:
        if not is_write_error(error):
            raise
        raise WriteError(f"{path} could not be written: {explain_write_error(error, path)}") from error


def is_write_error(error: Exception) -> bool:
    """Whether an error is one of files, rather than of our own code; torch raises its own for a full disk, because of one."""
    return any(
        isinstance(cause, (OSError, sqlite3.Error, SystemError))
        or type(cause).__module__.partition(".")[0] in WRITING_LIBRARIES
        for cause in list_causes(error)
    )


def remove_folder(folder: Path) -> None:
    """Take a folder away. Under another name first: what a worker still writes then finds no folder."""
    gone = folder.with_name(f".{folder.name}{GONE}")
    shutil.rmtree(gone, ignore_errors=True)  # of a run that was killed here
    try:
        folder.rename(gone)
    except OSError:  # Windows, while somebody has a file of it open
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def share_private_folder(folder: Path, name: str, command: str) -> Iterator[None]:
    """Work for a command in a folder beside others of the same user; what killed ones left is swept by whoever has it alone."""
    with explain_write_errors(folder):
        make_private_folder(folder)
    with share_folder(folder, name):
        try:
            note_command(folder, command)
            yield
        except BaseException:
            if list_members(folder) == [name]:
                remove_if_bare(folder)
            raise


@contextmanager
def lock_private_folder(folder: Path, command: str = "") -> Iterator[None]:
    """Have a folder alone: nobody else may write into it, and a second run is kept out; what killed runs left vanishes.

    The system itself lifts the lock of a run that was killed.
    """
    with explain_write_errors(folder):
        make_private_folder(folder)
    with lock_folder(folder):
        sweep_staging_folders(folder)
        try:
            note_command(folder, command)
            yield
        except BaseException:
            remove_if_bare(folder)
            raise


def note_command(folder: Path, command: str) -> None:
    """Say in a folder for which command its parts are made."""
    if command and read_command(folder) != command:
        replace_text(folder / COMMAND_NOTE, command)


def read_command(folder: Path) -> str | None:
    """The command for which the parts in a folder are made, if it can be told."""
    with suppress(OSError, ValueError):
        return (folder / COMMAND_NOTE).read_text(encoding="utf-8")
    return None


def remove_if_bare(folder: Path) -> None:
    """Take a folder away in which there are no parts."""
    if is_bare(folder):
        remove_folder(folder)


def is_bare(folder: Path) -> bool:
    """Whether nothing lies in a folder of parts but locks and the name of the command."""
    with suppress(OSError):
        return all(path.name.endswith((LOCK_FILE, COMMAND_NOTE)) for path in folder.iterdir())
    return False


def find_part_folders(first: Path) -> list[Path]:
    """The folders beside an output that hold parts of it."""
    return sorted(first.parent.glob(f"{escape(first.name)}.*.parts"))


def clear_leftovers(first: Path, command: str) -> None:
    """Take away parts that earlier runs of a command left when its input was another; tell of those of other commands.

    A run that was killed before it had any part may not have said for which command; one that was killed while it took its
    parts away needs them no more.
    """
    for gone in first.parent.glob(f".{escape(first.name)}.*.parts{GONE}"):
        shutil.rmtree(gone, ignore_errors=True)
    for folder in find_part_folders(first):
        if read_command(folder) == command or is_bare(folder):
            remove_idle_folder(folder)
        else:
            log.warning(
                f"{folder} holds unfinished work with other settings; delete it if it is no longer needed"
            )


def remove_idle_folder(folder: Path) -> None:
    """Take a folder away, unless somebody works in it."""
    with suppress(GeosegError):
        with lock_folder(folder):
            pass
        remove_folder(folder)
