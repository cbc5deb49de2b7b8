"""NumPy arrays on disk, which come from anybody: read without pickles, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, shorten_error

READ_ERRORS = (OSError, ValueError, EOFError, SyntaxError, TokenError, MemoryError, OverflowError)
"""What NumPy raises when it is to read a damaged file, whose header it takes for Python."""


def map_array(path: Path) -> NDArray[Any]:
    """An array that stays on disk, read as it is needed."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except READ_ERRORS as error:
        raise InputError(f"{path}: not an array that can be read ({shorten_error(error)})") from error
    return array
