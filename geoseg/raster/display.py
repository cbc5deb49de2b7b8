"""Values of any scale as what a screen can show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SHOWN_PERCENTILES = (2, 98)


def stretch_values(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Red, green and blue (band, row, col) spread over what a screen can show."""
    low, high = np.nanpercentile(values, SHOWN_PERCENTILES)
    spread = (values - low) / max(high - low, 1e-9)
    levels = np.rint(np.nan_to_num(spread).clip(0, 1) * 255).astype(np.uint8)
    return np.asarray(levels.transpose(1, 2, 0))
