"""What outlines of a file stand for: the class of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError


def class_numbers(
    outlines: Any, field: str | None, names: Sequence[str], path: Path | str
) -> NDArray[np.uint8]:
    """The class of each outline: what its field says by name or by number, or class 1 where no field is named."""
    if field is None:
        return np.full(len(outlines), min(1, len(names) - 1), np.uint8)
    if field not in outlines:
        fields = ", ".join(map(str, outlines.columns.drop("geometry")))
        raise InputError(f"{path}: has no field {field}; it has {fields}")
    numbers: dict[object, int] = {number: number for number in range(len(names))}
    numbers.update({str(number): number for number in range(len(names))})
    numbers.update({name: number for number, name in enumerate(names)})
    written = outlines[field]
    unknown = sorted({str(value) for value in written if value not in numbers})
    if unknown:
        raise InputError(f"{path}: {field} is {unknown[0]!r}, which is none of {', '.join(names)}")
    return np.array([numbers[value] for value in written], np.uint8)
