"""Vectors in the plane, one a row."""

from __future__ import annotations

import numpy as np

from geoseg.footprints.straight.ragged import Floats


def lengths(vectors: Floats) -> Floats:
    return np.asarray(np.hypot(vectors[:, 0], vectors[:, 1]))


def dots(first: Floats, second: Floats) -> Floats:
    return np.asarray(first[:, 0] * second[:, 0] + first[:, 1] * second[:, 1])


def crosses(first: Floats, second: Floats) -> Floats:
    """Twice the area of the triangle between two vectors; positive where the second lies to the left."""
    return np.asarray(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
