from __future__ import annotations

import numpy as np
from scipy import ndimage

from geoseg.training.patches.targets import GAP_WEIGHT, SIGMA, compute_boundary_weights


def test_gaps_weigh_as_the_distances_to_their_two_buildings() -> None:
    classes = np.zeros((60, 60), np.uint8)
    classes[5:30, 5:30], classes[5:30, 34:59], classes[40:59, 5:59] = 1, 1, 1
    pieces, count = ndimage.label(classes)
    each = np.sort([ndimage.distance_transform_edt(pieces != i + 1) for i in range(count)], axis=0)
    expected = 1 + GAP_WEIGHT * np.exp(-((each[0] + each[1]) ** 2) / (2 * SIGMA**2)) * (classes == 0)
    weights = compute_boundary_weights(classes, 255)
    assert np.abs(weights - expected)[classes == 0].max() < 1e-3
    assert weights[15, 31] > weights[35, 15] > 1


def test_small_buildings_weigh_more_and_unknown_ground_makes_no_building() -> None:
    classes = np.zeros((80, 80), np.uint8)
    classes[5:15, 5:15] = 1
    classes[30:70, 30:70] = 1
    weights = compute_boundary_weights(classes, 255)
    assert weights[10, 10] == 2
    assert weights[50, 50] == 1
    assert (compute_boundary_weights(np.full((9, 9), 255, np.uint8), 255) == 1).all()
