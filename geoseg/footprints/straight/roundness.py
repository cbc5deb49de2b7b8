"""Round roofs: tanks, silos and domes, told from square ones, and their outlines without stair steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.footprints.straight.outlines import Outlines
from geoseg.footprints.straight.ragged import Floats, Ints, Lines, place_in_row, row_of, row_sums
from geoseg.footprints.straight.vectors import crosses, dots, lengths

WAVES = 2
FEWEST_POINTS, MOST_POINTS = 12, 90
SAGITTA_OF_TOLERANCE = 1 / 8


def circle_misfit_m2(outlines: Outlines) -> Floats:
    """Mean squared distance of each outline from the circle around its middle (Simpson's rule along edges)."""
    middle = outlines.middle[outlines.arc]
    at_start = lengths(outlines.points - middle)
    halfway = lengths(outlines.edge_middle - middle)
    at_stop = at_start[outlines.following]
    radius = outlines.mean((at_start + 4 * halfway + at_stop) / 6)[outlines.arc]
    start, half, stop = ((distance - radius) ** 2 for distance in (at_start, halfway, at_stop))
    return outlines.mean((start + 4 * half + stop) / 6)


def smooth_rounds(rounds: Outlines, tolerance_m: Floats) -> Lines:
    """Points along the few longest waves of the outlines' distance from their middle.

    Circles and ovals stay what they are, and as large; stair steps, which are short waves, go.
    """
    waves = _waves(rounds)
    mean_radius = np.sqrt(np.maximum(rounds.areas_m2 / np.pi - np.sum(np.abs(waves) ** 2, axis=0) / 2, 0))
    sizes = _sizes(mean_radius, tolerance_m * SAGITTA_OF_TOLERANCE)
    row = row_of(sizes)
    step = 2 * np.pi / sizes
    angle = place_in_row(sizes) * step[row]
    radius = mean_radius[row]
    for number, wave in enumerate(waves, start=1):
        radius = radius + wave.real[row] * np.cos(number * angle) + wave.imag[row] * np.sin(number * angle)
    radius = radius * np.sqrt(step / np.sin(step))[row]
    return rounds.middle[row] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), sizes


def _sizes(radius_m: Floats, sagitta_m: Floats) -> Ints:
    """Number of points so that the circle bulges from its chords by no more than the sagitta."""
    step = 2 * np.arccos(1 - np.minimum(sagitta_m / np.maximum(radius_m, sagitta_m), 1))
    sizes = np.clip(np.ceil(2 * np.pi / step), FEWEST_POINTS, MOST_POINTS)
    return np.asarray(sizes, dtype=np.int64)


def _waves(rounds: Outlines) -> NDArray[np.complex128]:
    """Cosine (real) and sine (imaginary) parts of the distance from the middle as a function of the direction."""
    middle = rounds.middle[rounds.arc]
    away = rounds.points - middle
    after = away[rounds.following]
    turned = np.arctan2(crosses(away, after), dots(away, after))
    halfway = rounds.edge_middle - middle
    radius, angle = lengths(halfway), np.arctan2(halfway[:, 1], halfway[:, 0])
    number = len(rounds.sizes)
    once = row_sums(rounds.arc, turned, number)

    def part(values: Floats) -> Floats:
        return 2 * row_sums(rounds.arc, radius * values * turned, number) / once

    waves = range(1, WAVES + 1)
    return np.stack([part(np.cos(wave * angle)) + 1j * part(np.sin(wave * angle)) for wave in waves])
