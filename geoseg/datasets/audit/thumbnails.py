"""Finds images that look the same as thumbnails, also turned, mirrored or recoloured, among any number of them.

Every image gets a code of 256 bits, each telling on which side of a random plane its slow waves lie; similar images
differ in few bits, and so agree in some of the sixteen words that the code is made of. Only those that do are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

THUMB = 32
"""Side of a thumbnail in pixels."""
LOW = 8
"""Slow waves of a thumbnail along each axis that its code is made of."""
WORDS = 16
"""Words of 16 bits in a code."""
NEXT = 4
"""Images of one word that each is compared with."""
LIKENESS, LIKENESS_IN_DETAIL = 0.95, 0.4
"""Correlations from which two thumbnails are alike: as a whole, and in what stands out from its surroundings."""
MOST_BITS = 56
"""Codes that differ in more of their 256 bits are not compared further; those of unlike images differ in 128."""
AT_ONCE = 1 << 16
STEPS = 31.0
"""Steps of a byte for one standard deviation: four of them fit."""

PLANES = np.random.default_rng(7).normal(size=(LOW * LOW, WORDS * 16)).astype(np.float32)
ONES = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)

Thumbs = NDArray[np.int8]
Codes = NDArray[np.uint16]


@dataclass(frozen=True)
class SimilarPair:
    """Two images (by number) and how alike they are, from 0 to 1."""

    first: int
    second: int
    likeness: float


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to lay a square on itself: perhaps over its diagonal, then upside down, then mirrored."""

    over: bool
    down: bool
    across: bool

    def of(self, thumbs: NDArray[np.generic]) -> NDArray[np.generic]:
        laid = thumbs.swapaxes(-1, -2) if self.over else thumbs
        return laid[..., :: -1 if self.down else 1, :: -1 if self.across else 1]

    def turn_waves(self, waves: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same of cosine waves: what is mirrored changes the sign of odd waves."""
        laid = waves.swapaxes(-1, -2) if self.over else waves
        odd = (-1.0) ** np.arange(LOW, dtype=np.float32)
        if self.down:
            laid = laid * odd[:, None]
        return laid * odd if self.across else laid


TURNS = [
    Turn(over, down, across) for over in (False, True) for down in (False, True) for across in (False, True)
]


def quantize_thumbnail(thumb: NDArray[np.float32]) -> Thumbs:
    """A thumbnail of mean 0 and deviation 1 in bytes."""
    return np.clip(np.round(thumb * STEPS), -127, 127).astype(np.int8)


def find_similar(thumbs: Thumbs, ratios: NDArray[np.float64]) -> list[SimilarPair]:
    """Pairs of alike images by their thumbnails (image, row, col) and the ratios of their heights to their widths."""
    if len(thumbs) < 2:
        return []
    waves = compute_slow_waves(thumbs)
    codes = [compute_codes(turn.turn_waves(waves)) for turn in TURNS]
    orders = [np.argsort(codes[0][:, word], kind="stable") for word in range(WORDS)]
    found: dict[tuple[int, int], float] = {}
    for turn, turned in zip(TURNS, codes, strict=True):
        for word, order in enumerate(orders):
            for first, second in find_candidates(turned[:, word], codes[0][:, word], order):
                near = count_differing_bits(turned[first], codes[0][second]) <= MOST_BITS
                near &= have_same_shape(ratios[first], ratios[second], turn)
                for one, other, likeness in compare_thumbnails(thumbs, turn, first[near], second[near]):
                    found[one, other] = max(likeness, found.get((one, other), 0.0))
    return [SimilarPair(*pair, likeness) for pair, likeness in sorted(found.items())]


def compute_slow_waves(thumbs: Thumbs) -> NDArray[np.float32]:
    """The slowest cosine waves of each thumbnail, without its mean, evened out so that none outweighs all others."""
    parts = [
        fft.dctn(thumbs[start : start + AT_ONCE].astype(np.float32), axes=(1, 2), norm="ortho")[:, :LOW, :LOW]
        for start in range(0, len(thumbs), AT_ONCE)
    ]
    waves: NDArray[np.float32] = np.concatenate(parts)
    waves[:, 0, 0] = 0
    strength = waves.std(axis=0)
    # Evened out the same way along both axes, or turned images would not look alike.
    waves /= np.sqrt((strength + strength.T) / 2 + 1e-6)
    return waves


def compute_codes(waves: NDArray[np.float32]) -> Codes:
    bits = np.ascontiguousarray(waves).reshape(len(waves), -1) @ PLANES > 0
    codes: Codes = np.packbits(bits, axis=1).view(np.uint16)
    return codes


def find_candidates(
    asked: NDArray[np.uint16], known: NDArray[np.uint16], order: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of images that agree in a word: each with the next few after it, many pairs at once."""
    ordered = known[order].astype(np.int64) * len(known) + order
    everyone = np.arange(len(asked))
    place = np.searchsorted(ordered, asked.astype(np.int64) * len(known) + everyone, side="right")
    for ahead in range(NEXT):
        inside = np.nonzero(place + ahead < len(order))[0]
        other = order[place[inside] + ahead]
        agree = known[other] == asked[inside]
        first, second = inside[agree], other[agree]
        for start in range(0, len(first), AT_ONCE):
            yield first[start : start + AT_ONCE], second[start : start + AT_ONCE]


def count_differing_bits(one: Codes, other: Codes) -> NDArray[np.int64]:
    """In how many bits codes differ."""
    bits: NDArray[np.int64] = ONES[one ^ other].sum(axis=1, dtype=np.int64)
    return bits


def have_same_shape(one: NDArray[np.float64], other: NDArray[np.float64], turn: Turn) -> NDArray[np.bool_]:
    """Whether images are of one shape, once the first is turned."""
    return np.abs(np.log((1 / one if turn.over else one) / other)) < 0.1


def compare_thumbnails(
    thumbs: Thumbs, turn: Turn, first: NDArray[np.int64], second: NDArray[np.int64]
) -> Iterator[tuple[int, int, float]]:
    """The pairs that are alike indeed: as a whole, and in their details.

    Two chips with one roof each in the same place are alike as a whole, but the ground around has other details.
    """
    one, other = turn.of(thumbs[first]).astype(np.float32), thumbs[second].astype(np.float32)
    likeness = correlate_thumbnails(one, other)
    yes = (likeness > LIKENESS) & (
        correlate_thumbnails(extract_details(one), extract_details(other)) > LIKENESS_IN_DETAIL
    )
    yield from zip(first[yes].tolist(), second[yes].tolist(), likeness[yes].tolist(), strict=True)


def extract_details(thumbs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where an image is brighter or darker than just around, however little: strong edges count no more than grain."""
    fine: NDArray[np.float32] = np.sign(thumbs - ndimage.uniform_filter(thumbs, (0, 5, 5)))
    return fine


def correlate_thumbnails(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each image of one stack agrees with that of another, from -1 to 1."""
    lengths = np.sqrt((one**2).sum(axis=(1, 2)) * (other**2).sum(axis=(1, 2)))
    agreed: NDArray[np.float32] = (one * other).sum(axis=(1, 2)) / np.maximum(lengths, 1e-6)
    return agreed


def compute_aspect_ratios(shapes: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    return np.array([height / width for height, width in shapes])
