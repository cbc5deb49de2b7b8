"""Boundary IoU: how well outlines agree, whatever the size of what they enclose.

After Cheng et al. (2021), "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation": of truth and
prediction only the pixels within a distance of their own outline are compared. The published distance is 2 % of the
diagonal of an image; scenes larger than 512 pixels are treated as if cut into images of that size.
"""

from __future__ import annotations

from math import hypot

import numpy as np
from numpy.typing import NDArray

DIAGONAL_SHARE = 0.02
LARGEST_IMAGE = 512

Flags = NDArray[np.bool_]


def boundary_distance(height: int, width: int) -> int:
    """The published distance for an image, in pixels."""
    diagonal = hypot(min(height, LARGEST_IMAGE), min(width, LARGEST_IMAGE))
    return max(1, round(DIAGONAL_SHARE * diagonal))


def boundary(inside: Flags, distance: int) -> Flags:
    """The pixels inside that are within a distance of the outside; beyond the image is outside."""
    deep = eroded(eroded(inside, distance).T, distance).T
    return np.asarray(inside & ~deep)


def eroded(inside: Flags, distance: int) -> Flags:
    """The pixels that are inside together with all pixels so far above and below, in runs of 2, 4, 8 ... pixels."""
    run = np.pad(inside, ((distance, distance), (0, 0)))
    length, wanted = 1, 2 * distance + 1
    while length < wanted:
        step = min(length, wanted - length)
        run = run[:-step] & run[step:]
        length += step
    return np.asarray(run)
