"""How masks and probabilities are kept in bytes: classes by their number, probabilities in 250ths, 255 where nothing is known."""

from __future__ import annotations

NODATA = 255
PROBABILITY_STEPS = 250
PROBABILITY_STEP = 1 / PROBABILITY_STEPS
"""What a byte of probability stands for: 0.004."""
