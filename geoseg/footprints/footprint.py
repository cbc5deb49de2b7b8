"""What buildings are between the mask and the file: polygons with what is known of each, in batches."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GeosegError


@dataclass(frozen=True)
class Footprints:
    """A batch of footprints, one array element each.

    `polygons` are shapely Polygons (with `connectivity` 8, parts that meet at a corner only make a
    MultiPolygon); the batch's maker says in which plane they lie. Footprints that touch along an edge share
    a number in `cluster`, unique within the batch, and a cluster always comes whole, in one batch.
    """

    polygons: NDArray[np.object_]
    classes: NDArray[np.uint8]
    confidence: NDArray[np.float64]
    touches_edge: NDArray[np.bool_]
    touches_nodata: NDArray[np.bool_]
    cluster: NDArray[np.int64]
    regularized: NDArray[np.bool_]

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise GeosegError(f"the columns of a batch of footprints differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.polygons)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Footprints:
        """Some of the footprints, by a mask or by their positions."""
        return Footprints(*(getattr(self, field.name)[rows] for field in fields(self)))

    def replaced(self, rows: NDArray[np.bool_], polygons: NDArray[np.object_]) -> Footprints:
        """Some footprints with their outlines as traced instead of straightened."""
        mended = self.polygons.copy()
        mended[rows] = polygons
        return replace(self, polygons=mended, regularized=self.regularized & ~rows)

    def with_polygons(self, polygons: NDArray[np.object_]) -> Footprints:
        """The same footprints in another shape or plane."""
        return replace(self, polygons=polygons)
