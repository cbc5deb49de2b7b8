"""How well predicted classes agree with true ones: pixels are counted once, and every score follows from the counts.

A class that neither the truth nor the prediction holds has no score (nan), and macro means leave it out. A class that
is there but was never met has the score 0. So it is in torchmetrics and scikit-learn as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.raster.coding import NODATA

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """Pixels counted by what they are and what they were taken for: `counts[..., true, predicted]`.

    Axes before these two, where there are any, are for several tables at once, such as one for each place; each
    score then keeps them.
    """

    counts: Counts

    def __post_init__(self) -> None:
        if self.counts.ndim < 2 or self.counts.shape[-1] != self.counts.shape[-2]:
            raise InputError(f"a confusion table is square, not {self.counts.shape}")

    @classmethod
    def empty(cls, classes: int) -> Confusion:
        """A table in which nothing is counted yet."""
        return cls(np.zeros((classes, classes), dtype=np.int64))

    @classmethod
    def stack(cls, tables: list[Confusion]) -> Confusion:
        """Several tables at once, along a new first axis."""
        return cls(np.stack([table.counts for table in tables]))

    @property
    def classes(self) -> int:
        return int(self.counts.shape[-1])

    def add(self, true: NDArray[Any], predicted: NDArray[Any], ignore: int = NODATA) -> None:
        """Count more pixels. Those that are unknown in either (`ignore`, and 255) are left out."""
        known = (true != ignore) & (true != NODATA) & (predicted != NODATA)
        true, predicted = true[known].astype(np.int64), predicted[known].astype(np.int64)
        for values, what in ((true, "truth"), (predicted, "prediction")):
            if values.size and not 0 <= values.min() <= values.max() < self.classes:
                odd = values.min() if values.min() < 0 else values.max()
                raise InputError(f"the {what} holds {odd}, which is none of the {self.classes} classes")
        pairs = np.bincount(true * self.classes + predicted, minlength=self.classes**2)
        self.counts[...] += pairs.reshape(self.classes, self.classes)

    def total(self) -> Confusion:
        """One table of several."""
        return Confusion(self.counts.reshape(-1, self.classes, self.classes).sum(axis=0))

    @property
    def hits(self) -> Counts:
        """Pixels of each class that were recognised."""
        return np.diagonal(self.counts, axis1=-2, axis2=-1)

    @property
    def true(self) -> Counts:
        """Pixels that are of each class."""
        return np.asarray(self.counts.sum(axis=-1))

    @property
    def predicted(self) -> Counts:
        """Pixels that were taken for each class."""
        return np.asarray(self.counts.sum(axis=-2))

    @property
    def pixels(self) -> Counts:
        """All pixels counted."""
        return np.asarray(self.counts.sum(axis=(-2, -1)))

    @property
    def iou(self) -> Floats:
        """Intersection over union of each class (the Jaccard index)."""
        return self._where_present(self.hits, self._union)

    @property
    def dice(self) -> Floats:
        """Dice score of each class, which is its F1 score."""
        return self._where_present(2 * self.hits, self.true + self.predicted)

    @property
    def precision(self) -> Floats:
        """Which share of the pixels taken for a class are of it (user's accuracy)."""
        return self._where_present(self.hits, self.predicted)

    @property
    def recall(self) -> Floats:
        """Which share of a class's pixels was found (producer's accuracy)."""
        return self._where_present(self.hits, self.true)

    @property
    def accuracy(self) -> Floats:
        """For each class, which share of all pixels is rightly said to be of it or not to be of it."""
        pixels = self.pixels[..., None]
        return self._where_present(pixels - self._union + self.hits, np.broadcast_to(pixels, self.hits.shape))

    @property
    def overall_accuracy(self) -> Floats:
        """Which share of all pixels was taken for what it is."""
        return divide(self.hits.sum(axis=-1), self.pixels)

    @property
    def _union(self) -> Counts:
        return self.true + self.predicted - self.hits

    def _where_present(self, part: Counts, whole: Counts) -> Floats:
        return np.where(self._union > 0, np.nan_to_num(divide(part, whole)), np.nan)


def divide(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Part of a whole; nan of nothing."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.asarray(np.divide(part, whole, out=np.full(shape, np.nan), where=np.not_equal(whole, 0)))


def average_classes(scores: Floats) -> Floats:
    """The mean over classes, each counting alike; classes without a score are left out."""
    known = ~np.isnan(scores)
    return divide(np.where(known, scores, 0).sum(axis=-1), known.sum(axis=-1))
