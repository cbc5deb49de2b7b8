"""How near outlines are to those that people drew, before and after walls are made straight, and how simple.

    python tests/benchmarks/straightening.py IMAGERY --model MODEL --kept FOLDER [--rule squaring.widest_turn_deg=20] ...

Footprints of a model, separated as `geoseg infer` does, that match a true building with an IoU of a half as traced: the
same pairs before and after. The model answers once; its outputs stay in FOLDER. `--rule` tries another value of a field of
geoseg.footprints.regularize.parameters, several times if wanted. Points are counted against outlines that people drew as
such; against masks, whose truth is stair steps, they say nothing. `straightened.py` does the same for made buildings.

Boundary F1 at d metres: of the drawn outline, the share no farther than d from the true one (precision), of the true
outline, the share no farther than d from the drawn one (recall), and their harmonic mean.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from machine import machine, table
from numpy.typing import NDArray
from places import Answer, Polygons, list_answers, list_drone_scenes, make_parser, read_answer_of
from splitting import JOINING, LEAST_M2, make_rule, outlines_of, trace
from straightened import angle_error_deg, iou

from geoseg.footprints.polygons import fill_small_holes, simplify_clusters
from geoseg.footprints.regularize.blocks import regularize_footprints
from geoseg.footprints.regularize.parameters import DEFAULT_RULES, StraighteningRules
from geoseg.footprints.separate.split import split_footprints
from geoseg.scores.outlines import match_outlines

LEARNT = ("zanzibar_0", "banepa_c_0", "banepa_n_0", "nairobi_0")
"""Places with outlines that the built-in model learnt from: its masks are better there, the outlines as people draw them."""
DISTANCES_M = (0.25, 0.5, 1.0)
STEP_M = 0.1
HOLE_M2 = 2.0

Floats = NDArray[np.float64]
Shaper = Callable[["Drawn"], Polygons]


@dataclass(frozen=True)
class Drawn:
    """Footprints of a scene in a plane of metres, and for each the true building that it matches, or none."""

    group: str
    has_outlines: bool
    polygons: Polygons
    clusters: NDArray[np.int64]
    truth: Polygons
    gsd_m: float

    @property
    def matched(self) -> NDArray[np.bool_]:
        return ~shapely.is_missing(self.truth)


def draw(answer: Answer, group: str) -> Drawn:
    """The clusters of a scene's footprints in which one matches; those at the scene's edge are only parts of buildings."""
    whole = split_footprints(trace(answer), make_rule(answer), JOINING)
    large = shapely.area(whole.polygons) * answer.grid.gsd_m**2 >= LEAST_M2
    polygons = fill_small_holes(whole.polygons[large], np.full(large.sum(), HOLE_M2 / answer.grid.gsd_m**2))
    matches = match_outlines(outlines_of(polygons), outlines_of(answer.truth), np.array([0.5]))[0]
    left, top, right, bottom = shapely.bounds(polygons).reshape(-1, 4).T
    inner = (left > 0) & (top > 0) & (right < answer.grid.width) & (bottom < answer.grid.height)
    matches = np.where(inner, matches, -1)
    truth = np.append(answer.truth, None)[matches]
    clusters = whole.cluster[large]
    kept = np.isin(clusters, clusters[matches >= 0])
    across, down = answer.grid.pixel_size_m
    in_metres = [
        shapely.transform(shapes[kept], lambda x, y: (x * across, -y * down), interleaved=False)
        for shapes in (polygons, truth)
    ]
    return Drawn(
        group, answer.scene.truth.as_outlines, in_metres[0], clusters[kept], in_metres[1], answer.grid.gsd_m
    )


def measure_boundaries(drawn: Polygons, truth: Polygons) -> list[float]:
    """Boundary F1 at each distance, over the outlines of all pairs together."""
    sides = [measure_distances(drawn, truth), measure_distances(truth, drawn)]
    scores = []
    for distance in DISTANCES_M:
        precision, recall = (float(weight[away <= distance].sum() / weight.sum()) for away, weight in sides)
        scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    return scores


def measure_distances(of: Polygons, to: Polygons) -> tuple[Floats, Floats]:
    """Distances of points along outlines from the outlines beside them, and the length that each stands for."""
    rings, owner = shapely.get_parts(shapely.boundary(of), return_index=True)
    lengths = shapely.length(rings)
    counts = np.maximum(4, np.ceil(lengths / STEP_M)).astype(int)
    ring = np.repeat(np.arange(len(rings)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    points = shapely.line_interpolate_point(rings[ring], (place + 0.5) / counts[ring], normalized=True)
    return shapely.distance(points, shapely.boundary(to)[owner[ring]]), (lengths / counts)[ring]


def count_points(polygons: Polygons) -> int:
    closing = 1 + shapely.get_num_interior_rings(polygons)
    return int((shapely.get_num_coordinates(polygons) - closing).sum())


def report(scenes: Sequence[Drawn], shapers: dict[str, Shaper]) -> None:
    rows = []
    groups = defaultdict(list)
    for scene in scenes:
        groups[scene.group].append(scene)
    for group, own in groups.items():
        for name, shaper in shapers.items():
            shapes = np.concatenate([shaper(scene)[scene.matched] for scene in own])
            truth = np.concatenate([scene.truth[scene.matched] for scene in own])
            points = count_points(shapes) / count_points(truth) if own[0].has_outlines else float("nan")
            measured = (
                *(f"{f1:.3f}" for f1 in measure_boundaries(shapes, truth)),
                f"{iou(shapes, truth).mean():.4f}",
                f"{points:.2f}",
                f"{angle_error_deg(shapes, truth):.1f}",
            )
            rows.append((group, len(truth), name, *measured))
    measures = (*(f"F1 {d} m" for d in DISTANCES_M), "IoU", "points for one", "angle °")
    print(table(("group", "pairs", "outlines", *measures), rows))


def straighten(rules: StraighteningRules) -> Shaper:
    def straighten_scene(scene: Drawn) -> Polygons:
        if not len(scene.polygons):
            return scene.polygons
        return regularize_footprints(scene.polygons, scene.clusters, scene.gsd_m, rules)[0]

    return straighten_scene


def simplify(tolerance_m: float) -> Shaper:
    return lambda scene: (
        simplify_clusters(scene.polygons, scene.clusters, tolerance_m)
        if len(scene.polygons)
        else scene.polygons
    )


def change_rule(entry: str) -> StraighteningRules:
    """The rules with one field changed: squaring.widest_turn_deg=20."""
    place, _, value = entry.partition("=")
    group, _, name = place.partition(".")
    own = getattr(DEFAULT_RULES, group)
    return replace(DEFAULT_RULES, **{group: replace(own, **{name: type(getattr(own, name))(float(value))})})


def list_drawn(imagery: Path, model: str, kept: Path) -> Iterator[Drawn]:
    for answer in list_answers(imagery, model, kept):
        held = "outlines, held out" if answer.scene.truth.as_outlines else f"masks, {answer.scene.group}"
        yield draw(answer, held)
    for scene in list_drone_scenes(imagery, LEARNT):
        yield draw(read_answer_of(scene, model, kept), "outlines, learnt from")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rule", action="append", default=[], help="GROUP.FIELD=VALUE")
    given = parser.parse_args()
    scenes = list(list_drawn(given.imagery, given.model, given.kept))
    shapers: dict[str, Shaper] = {
        "traced": lambda scene: scene.polygons,
        "simplified 0.3 m": simplify(0.3),
        "straightened": straighten(DEFAULT_RULES),
    }
    report(scenes, shapers | {entry: straighten(change_rule(entry)) for entry in given.rule})
    start = time.process_time()
    for scene in scenes:
        shapers["straightened"](scene)
    number = sum(len(scene.polygons) for scene in scenes)
    print(f"{number / (time.process_time() - start):,.0f} footprints a second; {machine()}")


if __name__ == "__main__":
    main()
