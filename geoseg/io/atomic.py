"""Files that are whole or not there: written beside, renamed at the end, with one clear line when that fails."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from geoseg.errors import GeosegError
from geoseg.io.access import check_writable, explain_write_error


@contextmanager
def replace_files(path: Path) -> Iterator[Path]:
    """A folder beside a file: what lies in it when the block ends well is moved next to, or over, that file.

    After an error the folder vanishes, and what was there before is untouched.
    """
    check_writable(path)
    with explain_write_errors(path):
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
        check_writable(path)
        with explain_write_errors(path):
            for finished in sorted(file for file in folder.iterdir() if file.is_file()):
                os.replace(finished, path.parent / finished.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Say in one line what kept a file from being written."""
    try:
        yield
    except (OSError, sqlite3.Error, DataSourceError, DataLayerError, FeatureError) as error:
        raise GeosegError(f"{path} could not be written: {explain_write_error(error, path)}") from error
