"""How many buildings are found one by one, with different rules that separate touching ones.

    python tests/benchmarks/splitting.py IMAGERY --model MODEL --kept FOLDER [--grid | --sizes]

F1 of single buildings at an IoU of a half, as traced, before walls are straightened. Places count alike within their
group, and the two groups alike: that mean is what `BoundaryRule` was chosen by, in places that the model learnt from (`--grid`),
so that the places of the first table can judge it; the smallest footprint, `min_area_m2` of a card, was so by `--sizes`. The
model answers once; its outputs stay in FOLDER.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import shapely
from machine import machine, table
from places import Answer, Polygons, leave_unknown_out, list_answers, make_parser

from geoseg.footprints.separate.rules import BoundaryRule, NeckRule, SeparationRule
from geoseg.footprints.separate.split import split_footprints
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.rings import Stitcher, TracedFootprints, build_footprints
from geoseg.scores.outlines import FootprintOutlines, match_outlines

LEAST_M2 = 5.0
"""Smaller footprints, and smaller true buildings, are left out of the comparison of rules."""
LEAST_TRUE_M2 = 2.0
"""Where sizes are compared, every true building counts, but for slivers at the edges of images."""
SIZES_M2 = (4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0)
JOINING = JoinRules(keeps_pixels=True)
LOWEST_PASS, LEAST_BOUNDARY, SMOOTHING = (
    (0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
    (0.0, 0.2, 0.25, 0.3, 0.35, 0.4),
    (0.5, 1.0, 1.5),
)


@dataclass
class Count:
    """Buildings of a place: how many are right, found and there."""

    right: int = 0
    found: int = 0
    there: int = 0

    @property
    def f1(self) -> float:
        return 2 * self.right / max(1, self.found + self.there)

    @property
    def ratio(self) -> float:
        return self.found / max(1, self.there)


Counts = dict[tuple[str, str], Count]


def trace(answer: Answer) -> TracedFootprints:
    stitcher = Stitcher(answer.grid.width, JOINING)
    pieces = trace_outlines(answer.classes, 0, JOINING, answer.probabilities[0], answer.separators)
    return TracedFootprints.merge(
        [build_footprints(stitcher.add(pieces)), build_footprints(stitcher.finish())]
    )


def make_rule(answer: Answer, least_m2: float = LEAST_M2, **changes: float) -> BoundaryRule:
    return BoundaryRule(least_pixels=least_m2 / answer.grid.gsd_m**2, **changes)


def count_buildings(
    answers: Sequence[Answer],
    traced: Sequence[TracedFootprints],
    rules: Sequence[SeparationRule | None],
    least_m2: float = LEAST_M2,
    least_true_m2: float = LEAST_M2,
) -> Counts:
    counts: Counts = defaultdict(Count)
    for answer, whole, rule in zip(answers, traced, rules, strict=True):
        parts = split_footprints(whole, rule, JOINING) if rule else whole
        found = select_counted(parts.polygons, answer, least_m2)
        true = select_counted(answer.truth, answer, least_true_m2)
        matches = match_outlines(outlines_of(found), outlines_of(true), np.array([0.5]))
        count = counts[answer.scene.group, answer.scene.place]
        count.right += int((matches[0] >= 0).sum())
        count.found += len(found)
        count.there += len(true)
    return counts


def select_counted(polygons: Polygons, answer: Answer, least_m2: float) -> Polygons:
    large = shapely.area(polygons) * answer.grid.gsd_m**2 >= least_m2
    return polygons[large & leave_unknown_out(polygons, answer.unknown)]


def outlines_of(polygons: Polygons) -> FootprintOutlines:
    return FootprintOutlines(polygons, np.ones(len(polygons), dtype=np.int64), np.ones(len(polygons)))


def average_groups(counts: Counts) -> dict[str, float]:
    f1 = defaultdict(list)
    for (group, _), count in counts.items():
        f1[group].append(count.f1)
    means = {group: float(np.mean(values)) for group, values in sorted(f1.items())}
    return means | {"mean": float(np.mean(list(means.values())))}


def report_places(answers: Sequence[Answer], traced: Sequence[TracedFootprints]) -> None:
    rules: dict[str, Sequence[SeparationRule | None]] = {
        "one by mask": [None] * len(answers),
        "necks": [NeckRule()] * len(answers),
        "boundaries": [make_rule(answer) for answer in answers],
    }
    counted, seconds = {}, {}
    for name, own in rules.items():
        start = time.process_time()
        counted[name] = count_buildings(answers, traced, own)
        seconds[name] = time.process_time() - start
    places = sorted(counted["necks"])
    rows = [
        (
            *place,
            counted["necks"][place].there,
            *(f"{c[place].f1:.3f} x{c[place].ratio:.2f}" for c in counted.values()),
        )
        for place in places
    ]
    rows += [
        ("", key, "", *(f"{average_groups(counts)[key]:.3f}" for counts in counted.values()))
        for key in average_groups(counted["necks"])
    ]
    print(table(("group", "place", "buildings", *(f"{name}: F1, found for one" for name in rules)), rows))
    megapixels = sum(answer.grid.megapixels for answer in answers)
    for name in ("necks", "boundaries"):
        spent = (seconds[name] - seconds["one by mask"]) / megapixels
        print(f"{name}: {spent:.3f} s of one core a megapixel; {machine()}")


def report_grid(answers: Sequence[Answer], traced: Sequence[TracedFootprints]) -> None:
    rows = []
    for lowest, least, smoothing in product(LOWEST_PASS, LEAST_BOUNDARY, SMOOTHING):
        changes = {"lowest_pass": lowest, "least_boundary": least, "smoothing_pixels": smoothing}
        rules = [make_rule(answer, **changes) for answer in answers]
        means = average_groups(count_buildings(answers, traced, rules))
        rows.append((lowest, least, smoothing, *(f"{value:.3f}" for value in means.values())))
    print(table(("lowest pass", "least boundary", "smoothing", *means), rows))


def report_sizes(answers: Sequence[Answer], traced: Sequence[TracedFootprints]) -> None:
    rows = []
    for size in SIZES_M2:
        rules = [make_rule(answer, size) for answer in answers]
        means = average_groups(count_buildings(answers, traced, rules, size, LEAST_TRUE_M2))
        rows.append((f"{size:g}", *(f"{value:.3f}" for value in means.values())))
    print(table(("smallest footprint, m²", *means), rows))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--grid",
        action="store_true",
        help="try every combination of parameters instead, where the model learnt",
    )
    parser.add_argument(
        "--sizes", action="store_true", help="try smallest areas instead, where the model learnt"
    )
    given = parser.parse_args()
    listed = list_answers(given.imagery, given.model, given.kept, learnt=given.grid or given.sizes)
    answers = [a for a in listed if a.separators is not None]
    if not answers:
        parser.error(f"{given.model} does not tell boundary and distance")
    report = report_grid if given.grid else report_sizes if given.sizes else report_places
    report(answers, [trace(answer) for answer in answers])


if __name__ == "__main__":
    main()
