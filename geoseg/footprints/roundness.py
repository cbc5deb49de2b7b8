"""Round roofs: tanks, silos and domes, told from square ones, and their outlines without stair steps."""

from __future__ import annotations

import numpy as np

from geoseg.footprints.outlines import Outlines
from geoseg.footprints.ragged import Floats, Ints, place_in_row, row_of, row_sums

WAVES = 2
FEWEST_POINTS, MOST_POINTS = 12, 90


def circle_misfit_m2(outlines: Outlines) -> Floats:
    """Mean squared distance of each outline from the circle around its middle."""
    middle, length = _edges(outlines)
    number = len(outlines.sizes)
    whole = row_sums(outlines.arc, length, number)
    centre = _centres(outlines)[outlines.arc]
    at_start, halfway = (np.hypot(*(points - centre).T) for points in (outlines.points, middle))
    at_stop = at_start[outlines.following]

    def mean(start: Floats, half: Floats, stop: Floats) -> Floats:
        """Mean along each outline of a value known at both ends and in the middle of every edge (Simpson)."""
        return row_sums(outlines.arc, length * (start + 4 * half + stop) / 6, number) / whole

    radius = mean(at_start, halfway, at_stop)[outlines.arc]
    return mean(*((distance - radius) ** 2 for distance in (at_start, halfway, at_stop)))


def smooth_rounds(outlines: Outlines, arcs: Ints, tolerance_m: Floats) -> tuple[Floats, Ints]:
    """Points along the few longest waves of the given outlines' distance from their middle, and how many of them.

    Circles and ovals stay what they are, and as large; stair steps, which are short waves, go.
    """
    centre = _centres(outlines)[arcs]
    cosines, sines = _waves(outlines)
    waving = np.sum(cosines**2 + sines**2, axis=0)[arcs] / 2
    mean_radius = np.sqrt(np.maximum(outlines.areas_m2[arcs] / np.pi - waving, 0))
    turn = 2 * np.arccos(
        np.clip(1 - tolerance_m[arcs] / 8 / np.maximum(mean_radius, tolerance_m[arcs]), -1, 1)
    )
    sizes = np.clip(np.ceil(2 * np.pi / turn), FEWEST_POINTS, MOST_POINTS).astype(np.int64)
    row = row_of(sizes)
    angle = place_in_row(sizes) * (2 * np.pi / sizes)[row]
    radius = mean_radius[row]
    for wave in range(WAVES):
        radius = radius + cosines[wave, arcs][row] * np.cos((wave + 1) * angle)
        radius = radius + sines[wave, arcs][row] * np.sin((wave + 1) * angle)
    fill = (2 * np.pi / sizes / np.sin(2 * np.pi / sizes)) ** 0.5
    radius = radius * fill[row]
    return centre[row] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), sizes


def _edges(outlines: Outlines) -> tuple[Floats, Floats]:
    """Middle and length of the edge after each point."""
    after = outlines.points[outlines.following]
    return (outlines.points + after) / 2, np.hypot(*(after - outlines.points).T)


def _centres(outlines: Outlines) -> Floats:
    middle, length = _edges(outlines)
    number = len(outlines.sizes)
    sums = [row_sums(outlines.arc, length * c, number) for c in middle.T]
    return np.stack(sums, axis=1) / row_sums(outlines.arc, length, number)[:, None]


def _waves(outlines: Outlines) -> tuple[Floats, Floats]:
    """Cosine and sine parts of the distance from the middle, as a function of the direction."""
    away = outlines.points - _centres(outlines)[outlines.arc]
    after = away[outlines.following]
    cross = away[:, 0] * after[:, 1] - away[:, 1] * after[:, 0]
    turned = np.arctan2(cross, np.sum(away * after, axis=1))
    middle = (away + after) / 2
    radius, angle = np.hypot(*middle.T), np.arctan2(middle[:, 1], middle[:, 0])
    number = len(outlines.sizes)
    whole = row_sums(outlines.arc, turned, number)
    whole = np.where(np.abs(whole) < np.pi, np.inf, whole)

    def mean(values: Floats) -> Floats:
        return row_sums(outlines.arc, values * turned, number) / whole

    cosines = [2 * mean(radius * np.cos(wave * angle)) for wave in range(1, WAVES + 1)]
    sines = [2 * mean(radius * np.sin(wave * angle)) for wave in range(1, WAVES + 1)]
    return np.stack(cosines), np.stack(sines)
