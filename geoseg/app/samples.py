"""Sample points that people answer one after the other: which one is next, what its place looks like, what they say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import geopandas as gpd
from pyproj import CRS

from geoseg.app.runs import FinishedRun
from geoseg.app.scenes import clean_name, copy_limited, discard_on_error
from geoseg.app.views import FootprintView, draw_outline
from geoseg.errors import GeosegError, InputError
from geoseg.footprints.write.formats import write_frame
from geoseg.footprints.write.samples import NOT_BUILDING, UNSURE, describe_answer
from geoseg.io.access import is_sqlite_file
from geoseg.io.atomic import explain_write_errors
from geoseg.io.trust import check_vector_source
from geoseg.raster.mask import read_raster_grid
from geoseg.regions.adjustment import BACKGROUND
from geoseg.regions.files import FootprintLayer
from geoseg.regions.points import SamplePoints, read_points, refuse_unknown_answers, set_answers
from geoseg.reports.layers import open_raster_layer, read_colors
from geoseg.reports.report import format_area
from geoseg.reports.view import View
from geoseg.reports.webmap import write_data_url
from geoseg.workflows.options import SampleOptions, StatsOptions
from geoseg.workflows.sample import draw_sample
from geoseg.workflows.stats import compute_statistics

NEAR_M, NEAR_PIXELS = 15.0, 25
"""From the point to the edge of the near picture: a large house, or so many pixels of a coarse image."""
AROUND = 4
"""The other picture reaches so many times as far, which tells a roof from a yard."""
PICTURE_PIXELS = 480
MOST_POINTS = 5000


@dataclass(frozen=True)
class Choice:
    """One of the things that can be said of a point: the key to press, the word in the file, and what people read."""

    key: str
    word: str
    label: str


class PointSurvey:
    """Points in a file and the image below them. What is said of a point is in the file at once."""

    def __init__(self, path: Path, image: Path) -> None:
        self.path, self.image = path, image
        points = read_points(path)
        self.answers: dict[int, str] = {
            int(n): word for n, word in zip(points.frame["id"], points.frame["answer"], strict=True)
        }
        self.choices = list_choices(points)
        refuse_unknown_answers(path, points.frame, ["", *(choice.word for choice in self.choices)])
        self.estimates: dict[object, tuple[float, float, float]] = {}
        self._order = list(self.answers)
        self._places = points.frame.set_index("id")[["longitude", "latitude"]]
        self._pixels = open_raster_layer(str(image))
        if self._pixels.crs is None:
            raise InputError(f"{image.name}: does not say where it lies, so no point can be found in it")
        self._reach_m = max(NEAR_M, NEAR_PIXELS * read_raster_grid(str(image)).gsd_m)
        self.number = self._find_next(self._order[0])

    @property
    def done(self) -> int:
        """How many points have an answer."""
        return sum(1 for word in self.answers.values() if word)

    @property
    def is_complete(self) -> bool:
        return self.done == len(self.answers)

    def say(self, number: int, word: str) -> None:
        """Write what was seen at a point, and go to the next one without an answer."""
        if number not in self.answers or word not in {choice.word for choice in self.choices}:
            return  # what a browser sends is not to be believed
        set_answers(self.path, {number: word})
        self.answers[number] = word
        self.number = self._find_next(number)

    def go_back(self) -> None:
        """To the point before this one."""
        self.number = self._order[max(0, self._order.index(self.number) - 1)]

    def _find_next(self, number: int) -> int:
        """The next point that has no answer, from the start again after the last one; itself when all have one."""
        start = self._order.index(number)
        turned = self._order[start:] + self._order[:start]
        return next((each for each in turned if not self.answers[each]), number)

    def explain(self, error: GeosegError) -> str:
        """An error without the folder in which the server keeps the points."""
        return str(error).replace(str(self.path), self.path.name)

    def draw_place(self, number: int) -> Mapping[str, Any]:
        """Two square pictures with the point in the middle, north at the top: near, and what lies around it."""
        place = self._places.loc[number]
        plane = CRS.from_dict({"proj": "aeqd", "lon_0": place["longitude"], "lat_0": place["latitude"]})
        return {
            name: {"url": self._draw(plane, reach), "across": f"{2 * reach:,.0f} m across"}
            for name, reach in (("near", self._reach_m), ("around", AROUND * self._reach_m))
        }

    def _draw(self, plane: CRS, reach: float) -> str:
        view = View(plane, (-reach, -reach, reach, reach), PICTURE_PIXELS, PICTURE_PIXELS)
        return write_data_url(read_colors(self._pixels, view))

    def to_json(self) -> dict[str, Any]:
        """All that the page shows."""
        return {
            "number": self.number, "answer": self.answers[self.number], "done": self.done, "all": len(self.answers),
            "choices": [vars(choice) for choice in self.choices], **self.draw_place(self.number),
        }  # fmt: skip


def list_choices(points: SamplePoints) -> list[Choice]:
    """What can be said: building (b), or the first nine classes by their numbers; not one (n); cannot tell (u)."""
    classes = [str(name) for name in points.strata["mapped"].unique() if name != BACKGROUND]
    keys = ["b"] if len(classes) == 1 else [str(number) for number in range(1, 10)]
    named = zip([*keys[: len(classes)], "n", "u"], [*classes[: len(keys)], NOT_BUILDING, UNSURE], strict=True)
    return [Choice(key, word, describe_answer(word)) for key, word in named]


def draw_points(run: FinishedRun, number: int, folder: Path) -> Path:
    """Points over the map of a run, drawn as by `geoseg sample`."""
    path = folder / "points.gpkg"
    asked = SampleOptions(points=number, mask=run.mask, probability=run.probability)
    draw_sample(run.buildings, path, asked)
    return path


def store_points(name: str, content: IO[bytes], folder: Path, most_mb: int) -> Path:
    """Keep an uploaded GeoPackage of points, or say in one line why it is none; then nothing of it stays."""
    shown, path = clean_name(name), folder / "points.gpkg"
    with discard_on_error(folder):
        copy_limited(content, path, shown, most_mb)
        if not is_sqlite_file(path):
            raise InputError(f"{shown}: is no GeoPackage of points; make one with geoseg sample")
        check_vector_source(path)
        read_points(path)
        return path


def estimate_built_area(
    run: FinishedRun, view: FootprintView, survey: PointSurvey
) -> tuple[float, float, float]:
    """The area of buildings on the ground and both ends of its 95 % interval, by what was answered so far."""
    grid = read_raster_grid(str(run.mask))
    whole = gpd.GeoDataFrame({"name": ["all"]}, geometry=[draw_outline(grid)], crs=grid.crs)
    regions = run.folder / "whole.fgb"
    with explain_write_errors(regions):
        write_frame(whole, regions, regions.stem)
    asked = StatsOptions(mask=run.mask, samples=survey.path)
    told = compute_statistics(FootprintLayer.open(view.file), str(regions), asked).accuracy
    assert told is not None
    ground = float(told["mapped_area_m2"].sum())
    # All that is no class of building has one interval.
    empty = told.set_index("class").loc[BACKGROUND]
    return tuple(ground - float(empty[f"adjusted_{end}_m2"]) for end in ("area", "high", "low"))  # type: ignore[return-value]


def describe_estimate(run: FinishedRun, view: FootprintView, survey: PointSurvey) -> dict[str, str]:
    """The figures that the answered points give, as people read them; asked for anew when something else was answered."""
    key = view.file, tuple(survey.answers.values())
    if key not in survey.estimates:
        survey.estimates[key] = estimate_built_area(run, view, survey)
    area, low, high = map(format_area, survey.estimates[key])
    return {
        f"built-up, by {survey.done:,} points": area,
        "at least, at most (95 % interval)": f"{low} – {high}",
    }
