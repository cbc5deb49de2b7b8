"""Pictures of a prediction beside its truth: classes in their colours, errors in red, blue and violet, four panels in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.coding import NODATA
from geoseg.raster.palette import ClassEntry
from geoseg.scores.confusion import Confusion, Floats, average_classes

Bytes = NDArray[np.uint8]


LEAST_SHARE = 0.02
UNKNOWN_RGB = (255, 255, 255)
FALSE_ALARM, MISS, MIX_UP = (214, 39, 40), (31, 119, 180), (148, 103, 189)


INCH_PER_PANEL, INCH_PER_ROW = 3.6, 4.2


@dataclass(frozen=True)
class ComparisonPanels:
    """A window of a scene seen four ways, each (row, col, 3); `image` is None where there is none."""

    title: str
    image: Bytes | None
    truth: Bytes
    predicted: Bytes
    errors: Bytes


def score_tiles(tables: Confusion) -> Floats:
    """Mean IoU of each tile without the background; nan where there is next to nothing but background."""
    share = tables.true[:, 1:].sum(axis=1) / np.maximum(tables.pixels, 1)
    return np.where(share >= LEAST_SHARE, average_classes(tables.iou[:, 1:]), np.nan)


def color_classes(classes: Bytes, legend: Sequence[ClassEntry]) -> Bytes:
    """Classes in their colours; unknown is white."""
    colors = np.full((256, 3), UNKNOWN_RGB, dtype=np.uint8)
    colors[: len(legend)] = [entry.rgb for entry in legend]
    return colors[classes]


def color_errors(truth: Bytes, predicted: Bytes, legend: Sequence[ClassEntry]) -> Bytes:
    """What is right in a pale shade of its class; false alarms red, misses blue, mix-ups of two classes violet."""
    picture = (color_classes(truth, legend) // 3 + 170).astype(np.uint8)
    wrong = truth != predicted
    picture[wrong & (truth == 0)] = FALSE_ALARM
    picture[wrong & (predicted == 0)] = MISS
    picture[wrong & (truth > 0) & (predicted > 0)] = MIX_UP
    picture[(truth == NODATA) | (predicted == NODATA)] = UNKNOWN_RGB
    return picture


def draw_panels(row: Sequence[Any], piece: ComparisonPanels) -> None:
    """Image, truth, prediction and errors side by side."""
    pictures = {
        piece.title: piece.image,
        "truth": piece.truth,
        "prediction": piece.predicted,
        "red: too much, blue: missed, violet: mixed up": piece.errors,
    }
    for axes, (title, picture) in zip(row, pictures.items(), strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
        if picture is not None:
            axes.imshow(picture, interpolation="nearest")
