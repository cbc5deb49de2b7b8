"""Measures how far labels lie from the edges that the image shows.

Every boundary of the label has a direction, and so has every edge of the image. Laid over each other at every offset
within reach, they agree most at the offset the labels should be moved by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

REACH_M, REACH_PIXELS = 5.0, (6, 48)
"""Offsets are looked for up to so many metres, but in at least and at most so many pixels."""
BLOCK_M, BLOCK_PIXELS = 40.0, (96, 640)
"""Side of the blocks that are compared one by one, in metres within limits in pixels."""
FEWEST_EDGE_PIXELS = 60
"""Pixels of boundaries that a block must hold to tell anything."""
CLEAR = 4.0
"""By how many robust standard deviations the best offset must stand out from all others."""
GAIN = 1.15
"""How many times better the best offset must agree than none."""
NOTABLE_M, NOTABLE_PIXELS = 1.0, 3.0
"""Smaller offsets are not told; the larger of the two limits counts."""
SOME_SHARE, MOST_SHARE = 0.3, 0.7
"""From these shares of its blocks on, a label is off in places, and off as a whole."""
FEWEST_BLOCKS = 5
"""Fewer blocks say nothing about a label on its own."""
COHERENT = 0.5
"""Length of the mean offset by the mean length of offsets: 1 where all point one way, near 0 where they point anywhere."""
CLEAR_TOGETHER = 3.0
"""Of labels taken together less clarity will do, since two halves must say the same."""
APART_PIXELS = 1.5
"""How far the offset of each half may lie from that of all."""
BLUR_M = 0.5
"""How much the offsets of images that are taken together may differ and still add up."""
FEWEST_POOLED_EDGE_PIXELS = 300
"""The same as for a block, for labels taken together."""


@dataclass(frozen=True)
class EdgeAgreement:
    """How well labels and edges agree at each offset (row, col), the middle being no offset at all."""

    surface: NDArray[np.float32]
    edge_pixels: float

    @property
    def best(self) -> tuple[int, int]:
        """The offset (rows, cols) that image edges have from the labels."""
        reach = self.surface.shape[0] // 2
        row, col = np.unravel_index(self.surface.argmax(), self.surface.shape)
        return int(row) - reach, int(col) - reach

    @property
    def clarity(self) -> float:
        """How far the best offset stands out from all others, in robust standard deviations."""
        middle = np.median(self.surface)
        spread = 1.4826 * np.median(np.abs(self.surface - middle))
        return float((self.surface.max() - middle) / (spread + 1e-9))

    @property
    def gain(self) -> float:
        """How much better the best offset agrees than none (or one of a pixel)."""
        reach = self.surface.shape[0] // 2
        near = self.surface[reach - 1 : reach + 2, reach - 1 : reach + 2].max()
        middle = np.median(self.surface)
        return float((self.surface.max() - middle) / max(near - middle, 1e-9))


@dataclass(frozen=True, slots=True)
class Shift:
    """How far, to the east and to the south, labels should be moved, by the blocks that are clear about it."""

    east_m: float
    south_m: float
    blocks: int
    stray_blocks: int
    coherence: float

    @property
    def has_enough_blocks(self) -> bool:
        """Whether there are blocks enough to say something about the label on its own."""
        return self.blocks >= FEWEST_BLOCKS

    @property
    def is_notable(self) -> bool:
        """Whether so many blocks are off in one direction that it is neither chance nor coarse drawing."""
        return self.is_coarse and self.coherence >= COHERENT

    @property
    def is_coarse(self) -> bool:
        """Whether more blocks are off than by chance, in whatever directions."""
        return self.stray_blocks >= max(FEWEST_BLOCKS, SOME_SHARE * self.blocks)

    @property
    def is_constant(self) -> bool:
        """Whether nearly the whole label is off, so that moving it would mend it."""
        return self.stray_blocks >= MOST_SHARE * self.blocks


def compute_notable_m(gsd_m: float) -> float:
    return max(NOTABLE_M, NOTABLE_PIXELS * gsd_m)


def convert_to_pixels(metres: float, gsd_m: float, limits: tuple[int, int]) -> int:
    return int(np.clip(round(metres / gsd_m), *limits))


def measure_block_agreements(
    gray: NDArray[np.float32], label: NDArray[np.uint8], ignore: int, gsd_m: float
) -> list[EdgeAgreement]:
    """Agreement of labels and edges in blocks of an image, where a block has boundaries enough."""
    block, reach = (
        convert_to_pixels(BLOCK_M, gsd_m, BLOCK_PIXELS),
        convert_to_pixels(REACH_M, gsd_m, REACH_PIXELS),
    )
    found = []
    for row in range(0, max(1, gray.shape[0] - block // 2), block):
        for col in range(0, max(1, gray.shape[1] - block // 2), block):
            place = slice(row, row + block), slice(col, col + block)
            found.append(measure_agreement(gray[place], label[place], ignore, reach))
    return [each for each in found if each.edge_pixels > 0]


def measure_agreement(
    gray: NDArray[np.float32], label: NDArray[np.uint8], ignore: int, reach: int
) -> EdgeAgreement:
    boundaries = compute_boundary_directions(label, ignore)
    edge_pixels = float(boundaries[2].sum())
    if edge_pixels == 0:
        return EdgeAgreement(np.zeros((2 * reach + 1,) * 2, np.float32), 0.0)
    edges = compute_edge_directions(gray)
    shape = [fft.next_fast_len(size + 2 * reach, real=True) for size in gray.shape]
    spectrum = sum(
        fft.rfft2(edge, shape) * np.conj(fft.rfft2(boundary, shape))
        for edge, boundary in zip(edges, boundaries, strict=True)
    )
    surface = fft.fftshift(fft.irfft2(spectrum, shape))
    row, col = shape[0] // 2, shape[1] // 2
    near = surface[row - reach : row + reach + 1, col - reach : col + reach + 1]
    return EdgeAgreement((near / 2).astype(np.float32), edge_pixels)


Directions = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def compute_directions(
    down: NDArray[np.float32], across: NDArray[np.float32], strength: NDArray[np.float32]
) -> Directions:
    """Slopes by their doubled angle, so that a wall agrees with itself from both sides, each of its strength."""
    scale = strength / (across**2 + down**2 + 1e-9)
    return (across**2 - down**2) * scale, 2 * across * down * scale, strength


def compute_edge_directions(gray: NDArray[np.float32]) -> Directions:
    """Edges of the image; the strongest ones count as no stronger than most."""
    down, across = np.gradient(ndimage.gaussian_filter(gray, 1.0))
    steepness = np.hypot(down, across)
    cap = np.percentile(steepness, 95) + 1e-6
    return compute_directions(down, across, (np.minimum(steepness, cap) / cap) ** 2)


def compute_boundary_directions(label: NDArray[np.uint8], ignore: int) -> Directions:
    """Boundaries between classes; where nothing is known there are none."""
    known = ~ndimage.binary_dilation(label == ignore, iterations=3)
    total: Directions = (zero := np.zeros(label.shape, np.float32), zero.copy(), zero.copy())
    for value in np.unique(label[label != ignore]).tolist()[1:]:
        down, across = np.gradient(ndimage.gaussian_filter((label == value).astype(np.float32), 1.0))
        parts = compute_directions(down * known, across * known, np.hypot(down, across) * known)
        total = (total[0] + parts[0], total[1] + parts[1], total[2] + parts[2])
    return total


def estimate_shift(found: Sequence[EdgeAgreement], gsd_m: float) -> Shift | None:
    """What the agreements of an image's blocks say about its label as a whole."""
    clear = [each for each in found if each.edge_pixels >= FEWEST_EDGE_PIXELS and each.clarity > CLEAR]
    if not clear:
        return None
    distances = np.array([hypot(*each.best) * gsd_m for each in clear])
    stray = [
        each
        for each, distance in zip(clear, distances, strict=True)
        if each.gain > GAIN and distance >= compute_notable_m(gsd_m)
    ]
    offsets = np.array([each.best for each in stray or clear]) * gsd_m
    south, east = np.median(offsets, axis=0).tolist()
    coherence = hypot(*offsets.mean(axis=0)) / max(float(np.hypot(*offsets.T).mean()), 1e-9)
    return Shift(east, south, len(clear), len(stray), coherence)


def add_agreements(found: Iterable[EdgeAgreement]) -> EdgeAgreement | None:
    """The agreement of several blocks, or of several images of one resolution, taken together."""
    parts = list(found)
    if not parts:
        return None
    surface: NDArray[np.float32] = np.sum([each.surface for each in parts], axis=0)
    return EdgeAgreement(surface, sum(each.edge_pixels for each in parts))


class AgreementPool:
    """The agreements of many small images, none of which has edges enough to tell how far its label is off.

    Every other image goes to either half: only what both halves say counts.
    """

    def __init__(self, gsd_m: float) -> None:
        self._gsd_m = gsd_m
        self._halves: list[EdgeAgreement | None] = [None, None]
        self.items: list[int] = []

    def add(self, item: int, found: EdgeAgreement) -> None:
        half = len(self.items) % 2
        self.items.append(item)
        self._halves[half] = add_agreements(each for each in (self._halves[half], found) if each)

    @property
    def offset_m(self) -> tuple[float, float] | None:
        """How far to the east and to the south the labels should move, if they clearly should."""
        halves = [half for half in self._halves if half]
        everything = add_agreements(halves)
        if len(halves) < 2 or everything is None or everything.edge_pixels < FEWEST_POOLED_EDGE_PIXELS:
            return None
        everything, *halves = (self._blurred(each) for each in (everything, *halves))
        row, col = everything.best
        apart = max(hypot(half.best[0] - row, half.best[1] - col) for half in halves)
        agree = apart <= max(APART_PIXELS, NOTABLE_M / self._gsd_m) and everything.clarity > CLEAR_TOGETHER
        is_off = everything.gain > GAIN and hypot(row, col) * self._gsd_m >= compute_notable_m(self._gsd_m)
        return (col * self._gsd_m, row * self._gsd_m) if agree and is_off else None

    def _blurred(self, found: EdgeAgreement) -> EdgeAgreement:
        """Offsets that differ a little from image to image still add up."""
        surface = ndimage.gaussian_filter(found.surface, BLUR_M / self._gsd_m)
        return EdgeAgreement(surface, found.edge_pixels)
