"""How masks and probabilities are kept in bytes: classes by their number, probabilities in 250ths, 255 where nothing is known.

Probabilities that are added up are kept finer, in 50,000ths, as whole numbers that give the same sum in any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NODATA = 255
PROBABILITY_STEPS = 250
PROBABILITY_STEP = 1 / PROBABILITY_STEPS
"""What a byte of probability stands for: 0.004."""


Values = NDArray[Any]

FINE_STEPS = 50_000
"""A probability of 1, as the integers that are added up: their sum is the same in any order."""
FINE_STEP = 1 / FINE_STEPS


def find_unknown(values: Values) -> NDArray[np.bool_]:
    """Where a probability is not known: the largest whole number of its kind, or no number at all."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.asarray(values == np.iinfo(values.dtype).max)
