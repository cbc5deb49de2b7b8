"""Sample squares in which a person marks every building, and the number of buildings that follows from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from scipy.special import stdtrit

from geoseg.errors import InputError
from geoseg.footprints.measure import FloatArray, Georeferenced
from geoseg.footprints.polygons import Polygons
from geoseg.footprints.write.samples import MARKS, SQUARES
from geoseg.io.layers import parse_layer_crs, read_layer
from geoseg.progress import list_names
from geoseg.regions.estimates import LENT, TAIL, Interval
from geoseg.regions.polygons import Regions, make_squares

log = logging.getLogger(__name__)

CLASSES = 3
"""Strata of squares with footprints: few, some and many, each with about as many footprints as the next (chosen by simulation)."""
EMPTY_SHARE = 0.2
"""The part of the squares that is drawn where the map has nothing: enough to tell whether it misses whole hamlets."""
LEAST_SEEN = 0.5
"""A square of which less was seen is not drawn: what was not seen cannot be counted."""
NEEDED = ("id", "done", "stratum", "mapped", "stratum_squares", "left", "bottom", "map")
MOVED_SHARE = 0.01
"""A square that lies off its place by more than this part of its side was moved."""


@dataclass(frozen=True)
class SquareFrame:
    """All squares of a place of which enough was seen, and the footprints whose representative points lie in each."""

    squares: Regions
    mapped: NDArray[np.int64]

    def draw(self, count: int, seed: int, digest: str) -> gpd.GeoDataFrame:
        """Some squares at random, in random order: in each stratum as many as in the next, in that without footprints fewer."""
        if (self.mapped > 0).sum() < 2:
            raise InputError("footprints lie in fewer than two squares; choose a smaller `side_m`")
        rng = np.random.default_rng(seed)
        return self._describe(draw_squares(self.mapped, count, rng), digest)

    def _describe(self, chosen: NDArray[np.intp], digest: str) -> gpd.GeoDataFrame:
        stratum, names = classify_squares(self.mapped)
        sizes = np.bincount(stratum)
        shapes = self.squares.shapes[chosen]
        left, bottom, _, _ = shapely.bounds(shapes).T
        columns = {
            "id": np.arange(1, len(chosen) + 1),
            "done": np.zeros(len(chosen), dtype=bool),
            "remark": np.full(len(chosen), "", dtype=object),
            "stratum": np.asarray(names, dtype=object)[stratum[chosen]],
            "mapped": self.mapped[chosen],
            "stratum_squares": sizes[stratum[chosen]],
            "left": left,
            "bottom": bottom,
            "map": np.full(len(chosen), digest, dtype=object),
        }
        return gpd.GeoDataFrame(columns, geometry=shapes, crs=self.squares.crs)


def classify_squares(mapped: NDArray[np.int64]) -> tuple[NDArray[np.intp], list[str]]:
    """The stratum of each square by its number of footprints, and what the strata are called: none, few, some, many."""
    found = np.sort(mapped[mapped > 0])
    parts = np.searchsorted(np.cumsum(found), found.sum() * np.arange(1, CLASSES) / CLASSES)
    limits = np.unique(np.concatenate([[0], found[parts], [found[-1]]]))
    stratum = np.searchsorted(limits, mapped)
    names = ["no footprints"] + [f"{low + 1} to {high} footprints" for low, high in pairwise(limits.tolist())]
    return stratum, names


def draw_squares(mapped: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Some squares by their numbers: a part of them without footprints, the rest evenly from the other strata."""
    stratum, names = classify_squares(mapped)
    sizes = np.bincount(stratum, minlength=len(names))
    wanted = np.zeros(len(names), dtype=np.int64)
    wanted[0] = min(sizes[0], round(count * EMPTY_SHARE))
    for place in range(count - int(wanted[0])):
        wanted[1 + place % (len(names) - 1)] += 1
    drawn = np.minimum(wanted, sizes)
    for index in np.argsort(drawn - sizes):  # what one stratum has not, those with the most left give
        drawn[index] += min(sizes[index] - drawn[index], min(count, len(mapped)) - drawn.sum())
    chosen = [
        rng.choice(np.flatnonzero(stratum == index), int(n), replace=False) for index, n in enumerate(drawn)
    ]
    return np.asarray(rng.permutation(np.concatenate(chosen)))


def make_square_frame(
    side_m: float, place: Georeferenced, seen_share: FloatArray | None, points: Polygons, crs: CRS
) -> SquareFrame:
    """The squares of a place; `points` are representative points of the footprints, in their CRS."""
    squares = make_squares(side_m, place)
    mapped = count_in_squares(squares, gpd.GeoSeries(points, crs=crs))
    if seen_share is None:
        return SquareFrame(squares, mapped)
    kept = seen_share >= LEAST_SEEN
    if not kept.any():
        raise InputError(f"no square of {side_m:g} m was seen by half; choose a smaller `side_m`")
    names = tuple(np.asarray(squares.names, dtype=object)[kept])
    return SquareFrame(Regions(names, squares.shapes[kept], squares.crs), mapped[kept])


def count_in_squares(squares: Regions, points: gpd.GeoSeries) -> NDArray[np.int64]:
    """How many points lie in each square; one on an edge counts in the first square that it touches."""
    placed = np.asarray(points.to_crs(squares.crs).array)
    if not len(placed):
        return np.zeros(len(squares), dtype=np.int64)
    square, point = shapely.STRtree(placed).query(squares.shapes, predicate="intersects")
    order = np.lexsort((square, point))
    first = np.unique(point[order], return_index=True)[1]
    return np.bincount(square[order][first], minlength=len(squares)).astype(np.int64)


@dataclass(frozen=True)
class MarkedSquares:
    """Squares in which all buildings were marked: the stratum of each, how many squares that has, footprints and marks."""

    stratum: NDArray[np.object_]
    squares: NDArray[np.int64]
    mapped: NDArray[np.int64]
    marked: NDArray[np.int64]
    map: str

    @property
    def weights(self) -> FloatArray:
        """How many squares each one stands for."""
        _, numbers, counts = np.unique(self.stratum, return_inverse=True, return_counts=True)
        return np.asarray(self.squares / counts[numbers])

    def estimate_count(self, footprints: int) -> Interval:
        """How many buildings there are, where the map has so many footprints.

        A ratio (Cochran 1977, 6.11): M sum(w t) / sum(w m), with t marks and m footprints in a square that stands for w, and M
        footprints in all. Its variance is that of t - R m in each stratum. Where these are all alike, half a building more is
        taken for its spread, so that a few squares without an error do not pass for a map without one. The interval is
        Student's on the scale of logarithms, its degrees of freedom after Satterthwaite (1946).
        """
        held = float((self.weights * self.mapped).sum())
        if (self.mapped > 0).sum() < 2:
            raise InputError("fewer than two squares with footprints are done; mark the buildings of more")
        ratio = float((self.weights * self.marked).sum()) / held
        value = footprints * ratio
        if not value:
            return Interval(np.array(0.0), np.array(0.0), np.array(np.nan))
        reach = self._estimate_reach(self.marked - ratio * self.mapped) / (held * ratio)
        low = max(value * np.exp(-reach), float(self.marked.sum()))
        return Interval(np.array(value), np.array(low), np.array(value * np.exp(reach)))

    def _estimate_reach(self, rests: FloatArray) -> float:
        """How far the interval of the sum of what remains reaches to each side."""
        strata = [self.stratum == name for name in np.unique(self.stratum)]
        variances = np.array([self._estimate_variance(chosen, rests) for chosen in strata])
        if not variances.sum():
            return 0.0
        degrees = np.array([max(int(chosen.sum()) - 1, 1) for chosen in strata])
        together = variances.sum() ** 2 / (variances**2 / degrees).sum()
        return float(stdtrit(together, 1 - TAIL) * np.sqrt(variances.sum()))

    def _estimate_variance(self, chosen: NDArray[np.bool_], rests: FloatArray) -> float:
        """What the squares of a stratum add to the variance of the number of buildings."""
        count, whole = int(chosen.sum()), float(self.squares[chosen][0])
        spread = float(rests[chosen].var(ddof=1)) if count > 1 else float((rests[chosen] ** 2).sum())
        return whole**2 * max(spread, LENT / count) / count * (1 - count / whole)


def has_done_squares(path: Path) -> bool:
    """Whether anybody has worked on the squares of a file."""
    return bool(select_done(read_square_layer(path)).any())


def select_done(frame: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    return np.asarray(frame["done"].fillna(False).astype(bool))


def read_squares(path: Path, footprints: Iterable[Polygons], crs: CRS) -> MarkedSquares:
    """Squares that are done, with the marks in each, and the footprints there of the map that they were drawn over, or another.

    `footprints` are representative points in batches, in `crs`.
    """
    frame, marks = read_square_layer(path), read_marks(path)
    done = frame[select_done(frame)]
    if not len(done):
        raise InputError(
            f"{path}: no square is done yet; mark every building in a square, then tick its box in the form"
        )
    if len(done) < len(frame):
        log.info(f"{path}: {len(frame) - len(done)} of {len(frame)} squares are not done and are left out")
    silent = sorted(map(str, set(frame["stratum"]) - set(done["stratum"])))
    if silent:
        log.warning(
            f"{path}: no square of {list_names(silent)} is done: what the map misses or invents there is not counted"
        )
    squares = Regions(tuple(map(str, done["id"])), np.asarray(done.geometry.array), frame.crs)
    marked = count_in_squares(squares, marks)
    stray = len(marks) - int(marked.sum())
    if stray:
        log.warning(f"{path}: {stray} marks lie in no square that is done, and do not count")
    mapped = np.zeros(len(squares), dtype=np.int64)
    for points in footprints:
        mapped += count_in_squares(squares, gpd.GeoSeries(points, crs=crs))
    return MarkedSquares(
        done["stratum"].to_numpy(object),
        done["stratum_squares"].to_numpy(np.int64),
        mapped,
        marked,
        str(done["map"].iloc[0]),
    )


def read_square_layer(path: Path) -> gpd.GeoDataFrame:
    """The squares as they were drawn; those moved, resized, added by hand or there twice are left out."""
    frame = read_layer(path, SQUARES, SQUARES)
    parse_layer_crs(frame.crs, path)
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise InputError(
            f"{path}: holds no squares that geoseg drew (no column {missing[0]}); make some with geoseg sample"
        )
    drawn = frame[list(NEEDED)].drop(columns="done").notna().all(axis=1)
    left, bottom, right, top = shapely.bounds(np.asarray(frame.geometry.array)).reshape(-1, 4).T
    side = np.nanmedian(right - left) if drawn.any() else np.nan  # all are drawn alike
    places = np.stack(
        [left - frame["left"], bottom - frame["bottom"], right - left - side, top - bottom - side]
    )
    in_place = drawn & (np.abs(places) <= MOVED_SHARE * side).all(axis=0)
    kept = in_place & ~frame["id"].where(in_place).duplicated()
    if not kept.any():
        raise InputError(
            f"{path}: no square lies where it was drawn, or the file is in another CRS than then; take the file that geoseg "
            "sample wrote"
        )
    if not kept.all():
        log.warning(
            f"{path}: {int((~kept).sum())} squares were added, moved, resized or copied by hand and are left out"
        )
    if frame["map"][kept].nunique() > 1:
        raise InputError(f"{path}: holds squares drawn over two maps; give each sample a file of its own")
    return frame[kept]


def read_marks(path: Path) -> gpd.GeoSeries:
    """The buildings that were marked, each by a point."""
    frame = read_layer(path, MARKS, MARKS)
    parse_layer_crs(frame.crs, path)
    there = ~(frame.geometry.isna() | frame.geometry.is_empty)
    return gpd.GeoSeries(frame.geometry[there].representative_point(), crs=frame.crs)
