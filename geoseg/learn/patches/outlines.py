"""What outlines of a file stand for: the class of each, and the pixels in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError

if TYPE_CHECKING:
    from affine import Affine

Number = TypeVar("Number", np.uint8, np.int32)


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


def burnt(
    outlines: NDArray[np.object_], values: NDArray[Number], shape: tuple[int, int], transform: Affine
) -> NDArray[Number]:
    """The value of the outline that each pixel's middle lies in; 0 in none, the last one's where they overlap."""
    from rasterio.features import rasterize

    pixels = np.zeros(shape, values.dtype)
    if len(outlines):
        rasterize(zip(outlines, values.tolist(), strict=True), out=pixels, transform=transform)
    return pixels
