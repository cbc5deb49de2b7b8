"""Two layers compared: their shift, the groups on common ground, and the sums that people ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.comparison.ground import Ground, find_shared_box
from geoseg.comparison.groups import (
    FATES,
    GroupFigures,
    Groups,
    find_overlaps,
    group_footprints,
    measure_groups,
)
from geoseg.comparison.layers import ComparedLayer, Ints, Polygons
from geoseg.comparison.shift import LayerShift, estimate_shift
from geoseg.footprints.measure import transform_polygons
from geoseg.footprints.polygons import mend_polygons
from geoseg.raster.dates import join_dates
from geoseg.regions.polygons import dissolve_parts

ROWS_AT_ONCE = 20_000
Kept = Literal["a", "b"]


@dataclass(frozen=True)
class ChangeRows:
    """Some rows of a comparison, and what each covers in A and in B, in the plane."""

    frame: gpd.GeoDataFrame
    in_a: Polygons
    in_b: Polygons


@dataclass(frozen=True)
class LayerComparison:
    """Footprints of A and B in groups, each with what became of it.

    Where their shift is corrected, one is moved to fit the other, in whose CRS and place the rows are.
    """

    a: ComparedLayer
    b: ComparedLayer
    shift: LayerShift
    ground: Ground
    groups: Groups
    figures: GroupFigures
    keeps: Kept = "a"

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many groups became what."""
        numbers = np.bincount(self.figures.change, minlength=len(FATES))
        return dict(zip(FATES, map(int, numbers), strict=True))

    @property
    def has_shift_corrected(self) -> bool:
        return any((*self.a.moved, *self.b.moved))

    @property
    def crs(self) -> CRS:
        """That of the rows."""
        return {"a": self.a, "b": self.b}[self.keeps].crs

    def build_rows(self) -> Iterator[ChangeRows]:
        """A row for each group, some at a time: its outline in B, or in A where B has none."""
        sides = (GroupMembers(self.a, self.groups.of_a), GroupMembers(self.b, self.groups.of_b))
        for start in range(0, self.groups.number, ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, self.groups.number))
            yield self._build_rows(rows, *(side.find(rows) for side in sides))

    def _build_rows(self, rows: slice, one: MembersOfRows, other: MembersOfRows) -> ChangeRows:
        figures = self.figures
        columns = {
            "number": np.arange(rows.start + 1, rows.stop + 1),
            "change": np.array(FATES, dtype=object)[figures.change[rows]],
            "overlap": figures.overlap[rows],
            "area_a_m2": figures.area_a[rows],
            "area_b_m2": figures.area_b[rows],
            "gained_m2": figures.gained[rows],
            "lost_m2": figures.lost[rows],
            "count_a": one.counts,
            "count_b": other.counts,
            "id_a": one.join_texts("id"),
            "id_b": other.join_texts("id"),
            "class_a": one.join_texts("class"),
            "class_b": other.join_texts("class"),
            "date_a": one.join_texts("date"),
            "date_b": other.join_texts("date"),
        }
        # B's outline says what is there; of what is gone, only A's is left.
        in_a, in_b = one.unite(), other.unite()
        outlines = np.where(other.counts == 0, in_a, in_b)
        placed = mend_polygons(transform_polygons(outlines, self.a.plane, self.crs))
        return ChangeRows(gpd.GeoDataFrame(columns, geometry=placed, crs=self.crs), in_a, in_b)


@dataclass(frozen=True)
class MembersOfRows:
    """The footprints of a layer in some rows: their numbers, and the row of each."""

    layer: ComparedLayer
    members: Ints
    row: Ints
    rows: int

    @property
    def counts(self) -> Ints:
        return np.bincount(self.row, minlength=self.rows)

    def unite(self) -> NDArray[np.object_]:
        """One shape for each row."""
        return dissolve_parts(self.layer.read(self.members), self.row, self.rows)

    def join_texts(self, name: str) -> NDArray[np.object_]:
        """What the file says of the footprints of each row; of dates the first and the last."""
        joined: NDArray[np.object_] = np.full(self.rows, None, dtype=object)
        texts = self.layer.read_texts(name, self.members)
        several: dict[int, list[str]] = {}
        for row, text in zip(self.row.tolist(), texts, strict=True):
            if text is not None:
                several.setdefault(row, []).append(text)
        for row, found in several.items():
            joined[row] = join_texts(name, found) if len(found) > 1 else found[0]
        return joined


def join_texts(name: str, found: Sequence[str]) -> str:
    """Several texts as one: all ids, the first and the last date, of classes each once."""
    if name == "date":
        return join_dates(found)
    return ", ".join(found if name == "id" else sorted(set(found)))


class GroupMembers:
    """Finds the footprints of runs of groups."""

    def __init__(self, layer: ComparedLayer, of: Ints) -> None:
        self.layer = layer
        self._order = np.argsort(of, kind="stable")
        self._groups = of[self._order]

    def find(self, rows: slice) -> MembersOfRows:
        first, last = np.searchsorted(self._groups, [rows.start, rows.stop])
        return MembersOfRows(
            self.layer,
            self._order[first:last],
            self._groups[first:last] - rows.start,
            rows.stop - rows.start,
        )


def compare_layers(
    a: ComparedLayer,
    b: ComparedLayer,
    ground: Ground | None,
    same_iou: float,
    corrects_shift: bool,
    keeps: Kept = "a",
) -> LayerComparison:
    """What became of A's footprints in B, on the ground that both know. `keeps`: which of them stays in its place."""
    shift = estimate_shift(a, b)
    if corrects_shift and shift.is_known:
        a, b = (
            (a, b.move(-shift.east_m, -shift.north_m))
            if keeps == "a"
            else (a.move(shift.east_m, shift.north_m), b)
        )
    ground = ground or find_shared_box(a, b)
    overlaps = find_overlaps(a, b)
    groups = group_footprints(overlaps, a.areas, b.areas)
    # A building at the border counts on both sides or on neither.
    held = np.zeros(groups.number, dtype=bool)
    held[groups.of_a[ground.holds(a.points)]] = True
    held[groups.of_b[ground.holds(b.points)]] = True
    groups = groups.select(held)
    figures = measure_groups(groups, overlaps, a, b, same_iou)
    return LayerComparison(a, b, shift, ground, groups, figures, keeps)
