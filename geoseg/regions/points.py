"""Sample points with what people saw there: read, checked by stated rules, and answered one at a time."""

from __future__ import annotations

import io
import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from geoseg.errors import InputError, shorten_error
from geoseg.footprints.measure import FloatArray
from geoseg.footprints.write.samples import NOT_BUILDING, POINTS, UNSURE
from geoseg.io.access import is_sqlite_file
from geoseg.io.atomic import explain_write_errors, replace_text
from geoseg.io.layers import parse_layer_crs, read_layer
from geoseg.progress import list_names
from geoseg.raster.grid import ELLIPSOID, WGS84, find_transformer

log = logging.getLogger(__name__)

NEEDED = ("id", "answer", "stratum", "mapped", "stratum_m2", "stratum_points", "chance", "longitude", "latitude", "map")  # fmt: skip
NUMBERS = ("id", "stratum_m2", "stratum_points", "chance", "longitude", "latitude")
FIXED = ("mapped", "stratum_m2", "stratum_points", "map")
"""What is the same for all points of a stratum."""
MANY_UNSURE = 0.1
"""From this share of points that nobody could tell on, an estimate that leaves them out is worth a warning."""


@dataclass(frozen=True)
class SamplePoints:
    """Points as they were drawn, and the answers: a class, `not`, `unsure` or empty. One row for each point."""

    path: Path
    frame: pd.DataFrame

    @cached_property
    def strata(self) -> pd.DataFrame:
        """The strata by name: `mapped`, `stratum_m2`, `stratum_points`."""
        return self.frame.groupby("stratum", sort=True)[list(FIXED)].first()

    @property
    def map(self) -> str:
        """The digest of the footprints that the points were drawn from."""
        return str(self.strata["map"].iloc[0])

    def select_answered(self, classes: Sequence[str]) -> AnsweredSample:
        """The points with an answer that says something; refused are answers that are none, and no answer at all.

        What nobody could tell is left out with the points not looked at: both are taken to be like the others of their stratum.
        """
        answers = self.frame["answer"]
        refuse_unknown_answers(self.path, self.frame, [*classes, NOT_BUILDING, UNSURE, ""])
        told = answers.isin([*classes, NOT_BUILDING])
        if not told.any():
            raise InputError(
                f"{self.path}: no point has an answer yet; fill in the column answer with {', '.join(classes)} or "
                f"{NOT_BUILDING} ({UNSURE} where nobody can tell)"
            )
        kept = self.frame[told]
        self._report_left_out(answers)
        self._report_silent(kept)
        truth = kept["answer"].map({name: n for n, name in enumerate([NOT_BUILDING, *classes])})
        return AnsweredSample(
            self.strata,
            self.strata.index.get_indexer(kept["stratum"]),
            truth.to_numpy(np.intp),
            kept["longitude"].to_numpy(np.float64),
            kept["latitude"].to_numpy(np.float64),
            kept["probability"].to_numpy(np.float64) if "probability" in kept else np.full(len(kept), np.nan),
        )

    def _report_left_out(self, answers: pd.Series) -> None:
        empty, unsure = int((answers == "").sum()), int((answers == UNSURE).sum())
        drawn = int(self.strata["stratum_points"].sum())
        if empty:
            log.info(f"{self.path}: {empty} of {drawn} points have no answer yet and are left out")
        if unsure:
            say = log.warning if unsure > MANY_UNSURE * len(answers) else log.info
            say(
                f"{self.path}: {unsure} of {drawn} points are {UNSURE} and left out: they are taken to be like the "
                "other points of their stratum"
            )

    def _report_silent(self, kept: pd.DataFrame) -> None:
        """Warn of strata that no answer speaks for: what is found in others of their class may not be true of them."""
        silent = [str(name) for name in self.strata.index.difference(kept["stratum"])]
        if silent:
            log.warning(
                f"{self.path}: no point says anything of {list_names(silent)}: taken to be like the rest of what the map says there"
            )


@dataclass(frozen=True)
class AnsweredSample:
    """Points with an answer: the stratum of each, by its place among `strata`, and the truth (0: no class)."""

    strata: pd.DataFrame
    stratum: NDArray[np.intp]
    truth: NDArray[np.intp]
    longitude: FloatArray
    latitude: FloatArray
    probability: FloatArray

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def strata_m2(self) -> FloatArray:
        return np.asarray(self.strata["stratum_m2"], dtype=np.float64)

    @property
    def answered(self) -> NDArray[np.int64]:
        """Points with an answer in each stratum."""
        return np.bincount(self.stratum, minlength=len(self.strata)).astype(np.int64)

    @property
    def weights_m2(self) -> FloatArray:
        """The ground that each point stands for."""
        return np.asarray((self.strata_m2 / np.maximum(self.answered, 1))[self.stratum])


def read_points(path: Path) -> SamplePoints:
    """Read sample points from a GeoPackage, another vector file or a CSV table.

    A point speaks for the place where it was drawn. What happened to the file since is settled so: points that were moved out
    of their pixel, added by hand or answered twice in two ways are left out; deleted ones count as not looked at. Each is
    told. Numbers that the estimate rests on must be as they were.
    """
    frame = read_point_frame(path)
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise InputError(
            f"{path}: is no sample that geoseg drew (it has no column {missing[0]}); make one with geoseg sample"
        )
    frame = clean_answers(convert_numbers(frame, path))
    frame = drop_added(frame, path)
    refuse_changed_numbers(frame, path)
    frame = drop_contradictions(drop_moved(frame, path), path)
    report_deleted(frame, path)
    return SamplePoints(path, frame.sort_values("id").reset_index(drop=True))


def read_point_frame(path: Path) -> pd.DataFrame:
    """The rows of a file; `x` and `y` say in degrees where each point is now, as far as the file knows."""
    if path.suffix.lower() == ".csv":
        return read_point_table(path)
    frame = read_layer(path, None, POINTS)
    crs = parse_layer_crs(frame.crs, path)
    shapes = np.asarray(frame.geometry.array)
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    if set(shapely.get_type_id(shapes[there])) - {shapely.GeometryType.POINT}:
        raise InputError(f"{path}: holds no points; make some with geoseg sample --points")
    x, y = np.full((2, len(frame)), np.nan)
    x[there], y[there] = find_transformer(crs, WGS84).transform(*shapely.get_coordinates(shapes[there]).T)
    return pd.DataFrame(frame.drop(columns=frame.geometry.name)).assign(x=x, y=y)


def read_point_table(path: Path) -> pd.DataFrame:
    """A CSV table, separated by commas or, as some spreadsheets write them, semicolons or tabs."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        return pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table of points ({shorten_error(error)})") from error


def convert_numbers(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The columns of numbers as numbers; what is none becomes unknown, which only a point added by hand may be."""
    converted = {name: pd.to_numeric(frame[name], errors="coerce") for name in NUMBERS}
    for name, values in converted.items():
        words = frame[name][values.isna() & frame[name].notna() & (frame[name].astype(str).str.strip() != "")]
        if len(words):
            raise InputError(
                f"{path}: column {name}: {words.iloc[0]!r} is no number; write decimals with a point"
            )
    if "probability" in frame:
        converted["probability"] = pd.to_numeric(frame["probability"], errors="coerce")
    return frame.assign(**converted)


def clean_answers(frame: pd.DataFrame) -> pd.DataFrame:
    """Answers without blanks around them, and empty where there is none."""
    answers = frame["answer"].astype(object).where(frame["answer"].notna(), "").astype(str).str.strip()
    return frame.assign(answer=answers)


def drop_added(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The points that were drawn: those added by hand have no number of their own, or no stratum."""
    drawn = frame[list(NEEDED)].drop(columns="answer").notna().all(axis=1) & (
        frame["stratum"].astype(str) != ""
    )
    whole = drawn & (frame["id"] % 1 == 0)
    count = int(frame[whole].drop_duplicates("stratum")["stratum_points"].sum())
    refuse_missing_strata(frame[whole], count, path)
    known = whole & frame["id"].between(1, count)
    if not known.any():
        raise InputError(f"{path}: holds no point that geoseg drew; make some with geoseg sample")
    tell(
        path, int((~known).sum()), "added by hand and left out: only points drawn at random speak for the map"
    )
    return frame[known]


def refuse_missing_strata(drawn: pd.DataFrame, count: int, path: Path) -> None:
    """Refuse points that are numbered beyond those of their strata, unless one of these has too many: then some were copied."""
    strata = drawn.groupby("stratum")
    is_overfull = strata.size() > strata["stratum_points"].first()
    last = drawn["id"].max() if len(drawn) else 0
    if last > count and not is_overfull.any():
        raise InputError(
            f"{path}: holds point {int(last)}, and the strata in it have {count} points: one is missing as a whole; take the "
            "file that geoseg sample wrote"
        )


def refuse_changed_numbers(frame: pd.DataFrame, path: Path) -> None:
    """Refuse a file in which what is the same for a stratum is not."""
    if frame["map"].nunique() > 1:
        raise InputError(f"{path}: holds points drawn from two maps; give each sample a file of its own")
    for name in FIXED:
        different = frame.groupby("stratum")[name].nunique(dropna=False)
        if (different > 1).any():
            raise InputError(
                f"{path}: {name} of the stratum {different.idxmax()} was changed; the estimate rests on it: take it "
                "from the file that geoseg sample wrote"
            )
    if not (frame["stratum_m2"] > 0).all() or not frame["chance"].between(0, 1, inclusive="right").all():
        raise InputError(f"{path}: the strata have areas or chances that cannot be; draw the points again")


def drop_moved(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The points that lie in the pixel where they were drawn."""
    if "x" not in frame:
        return frame
    there = frame[["x", "y"]].notna().all(axis=1)
    away_m = np.zeros(len(frame))
    places = [frame.loc[there, name].to_numpy() for name in ("longitude", "latitude", "x", "y")]
    away_m[there] = ELLIPSOID.inv(*places)[2]
    pixel_m2 = frame["chance"] * frame["stratum_m2"] / frame["stratum_points"]
    kept = away_m <= np.sqrt(pixel_m2) / 2
    tell(path, int((~kept).sum()), "moved and left out: a point speaks for the place where it was drawn")
    return frame[kept]


def drop_contradictions(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """One row for each point: where several rows answer it, they must agree; one that says nothing gives way."""
    told = frame[frame["answer"] != ""]
    different = told.groupby("id")["answer"].nunique()
    torn = different.index[different > 1]
    tell(path, len(torn), "answered twice, in two ways, and left out")
    ordered = frame.sort_values("answer", key=lambda answers: answers == "", kind="stable")
    single = ordered.drop_duplicates("id")
    return single.assign(answer=single["answer"].where(~single["id"].isin(torn), UNSURE))


def report_deleted(frame: pd.DataFrame, path: Path) -> None:
    drawn = int(frame.drop_duplicates("stratum")["stratum_points"].sum())
    if len(frame) < drawn:
        log.info(
            f"{path}: {drawn - len(frame)} of {drawn} points are not there any more: as if not looked at"
        )


def tell(path: Path, count: int, what: str) -> None:
    """Warn of points that a rule leaves out."""
    if count:
        log.warning(f"{path}: {count} point{'s were' if count > 1 else ' was'} {what}")


def refuse_unknown_answers(path: Path, frame: pd.DataFrame, known: Iterable[str]) -> None:
    known = list(known)
    odd = frame[~frame["answer"].isin(known)]
    if len(odd):
        first = odd.iloc[0]
        raise InputError(
            f"{path}: point {int(first['id'])} is answered {first['answer']!r}; answers are "
            f"{', '.join(filter(None, known))}, or nothing"
        )


def set_answers(path: Path, answers: Mapping[int, str]) -> None:
    """Write what was seen at some points, all or none: an interruption leaves the file as it was before or after."""
    if path.suffix.lower() == ".csv":
        set_answers_in_table(path, answers)
    else:
        set_answers_in_geopackage(path, answers)


def set_answers_in_geopackage(path: Path, answers: Mapping[int, str]) -> None:
    if not is_sqlite_file(path):  # SQLite would make a new one
        raise InputError(f"{path}: is no GeoPackage of points; make one with geoseg sample")
    with explain_write_errors(path), closing(sqlite3.connect(path)) as base, base:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            base.create_function(
                name, 1, lambda shape: None
            )  # triggers name them; they run where shapes change
        for number, answer in answers.items():
            done = base.execute(f"UPDATE {POINTS} SET answer = ? WHERE id = ?", [answer, int(number)])  # noqa: S608
            if not done.rowcount:
                raise InputError(f"{path}: has no point {number}")


def set_answers_in_table(path: Path, answers: Mapping[int, str]) -> None:
    frame = read_point_table(path)
    numbers = pd.to_numeric(frame["id"], errors="coerce")
    unknown = set(answers) - set(numbers)
    if unknown:
        raise InputError(f"{path}: has no point {min(unknown)}")
    frame["answer"] = numbers.map(answers).where(numbers.isin(list(answers)), frame["answer"])
    replace_text(path, frame.to_csv(index=False, lineterminator="\n"))
