"""A batch of footprints keeps its columns together."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geoseg.errors import GeosegError
from geoseg.footprints.features import Footprints


def batch(number: int = 3, **changes: object) -> Footprints:
    columns = {
        "polygons": shapely.box(np.arange(number), 0, np.arange(number) + 1.0, 1),
        "classes": np.arange(1, number + 1, dtype=np.uint8),
        "confidence": np.linspace(0.5, 1, number),
        "touches_edge": np.zeros(number, dtype=bool),
        "touches_nodata": np.zeros(number, dtype=bool),
        "cluster": np.arange(number),
        "regularized": np.zeros(number, dtype=bool),
    }
    return Footprints(**{**columns, **changes})  # type: ignore[arg-type]


def test_some_of_a_batch_by_mask_or_position() -> None:
    assert batch().select(np.array([True, False, True])).classes.tolist() == [1, 3]
    assert batch().select(np.array([2, 0])).classes.tolist() == [3, 1]
    assert len(batch().select(np.zeros(3, dtype=bool))) == 0


def test_another_shape_keeps_what_is_known() -> None:
    moved = batch().with_polygons(shapely.box(5, 5, 6, [6, 7, 8]))
    assert moved.classes.tolist() == [1, 2, 3]
    assert shapely.area(moved.polygons).tolist() == [1, 2, 3]


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(GeosegError, match="differ in length"):
        batch(cluster=np.arange(2))
