"""How much nearer to the truth straightened footprints are than traced ones, and how many are done in a second.

    python tests/benchmarks/straightened.py [--buildings 3000]

Made buildings are drawn at 0.3 m with wobbling edges, missing corners and bumps, traced, and straightened.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from buildings import GSD_M, KINDS, Town, town

from geoseg.footprints.regularize.blocks import regularize_footprints

Polygons = NDArray[np.object_]


def iou(polygons: Polygons, truth: Polygons) -> NDArray[np.float64]:
    common = shapely.area(shapely.intersection(polygons, truth))
    return common / (shapely.area(polygons) + shapely.area(truth) - common)


def corner_errors(polygons: Polygons, truth: Polygons) -> NDArray[np.float64]:
    """Metres from each corner drawn to the nearest true one, and from each true one to the nearest drawn."""
    errors = []
    for drawn, true in zip(polygons, truth, strict=True):
        a, b = (np.unique(shapely.get_coordinates(p), axis=0) for p in (drawn, true))
        apart = np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1))
        errors += [apart.min(axis=0), apart.min(axis=1)]
    return np.concatenate(errors)


def angle_error_deg(polygons: Polygons, truth: Polygons) -> float:
    """Median over the length of walls of the turn between a wall and the true wall nearest to its middle."""
    turns, lengths = [], []
    for drawn, true in zip(polygons, truth, strict=True):
        (a, b), (c, d) = walls(drawn), walls(true)
        near = shapely.distance(
            shapely.points((a + b) / 2)[:, None], shapely.linestrings(np.stack([c, d], axis=1))[None]
        ).argmin(axis=1)
        turn = np.degrees(azimuth(b - a) - azimuth(d - c)[near]) % 180
        turns.append(np.minimum(turn, 180 - turn))
        lengths.append(np.hypot(*(b - a).T))
    turn, length = np.concatenate(turns), np.concatenate(lengths)
    order = np.argsort(turn)
    return float(turn[order][np.searchsorted(np.cumsum(length[order]), length.sum() / 2)])


def azimuth(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.arctan2(vectors[:, 1], vectors[:, 0])


def walls(polygon: shapely.Polygon) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rings = [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    return np.concatenate([ring[:-1] for ring in rings]), np.concatenate([ring[1:] for ring in rings])


def seams_m2(polygons: Polygons, made: Town) -> tuple[float, float]:
    """Overlap between the houses of rows, and gaps enclosed by them."""
    overlap = gap = 0.0
    for cluster in np.unique(made.clusters[made.kinds == "row"]):
        houses = polygons[made.clusters == cluster]
        union = shapely.union_all(houses)
        overlap += float(shapely.area(houses).sum() - union.area)
        gap += sum(shapely.Polygon(r).area for p in shapely.get_parts(union) for r in p.interiors)
    return overlap, gap


def report(made: Town) -> None:
    simplified = shapely.coverage_simplify(made.traced, 2 * GSD_M)
    straight, flags = regularize_footprints(made.traced, made.clusters, GSD_M)
    print(
        f"{'':12}{'':12}{'mean IoU':>10}{'corner m':>10}{'90 % m':>8}{'angle °':>9}{'area':>8}{'points':>8}"
    )
    for kind in ("all", *KINDS):
        chosen = (made.kinds == kind) | (kind == "all")
        for name, polygons in (
            ("traced", made.traced),
            ("simplified", simplified),
            ("straightened", straight),
        ):
            drawn, truth = polygons[chosen], made.truth[chosen]
            corners = corner_errors(drawn, truth)
            area = (shapely.area(drawn) / shapely.area(truth)).mean()
            print(
                f"{kind:12}{name:12}{iou(drawn, truth).mean():10.4f}{np.median(corners):10.3f}"
                f"{np.quantile(corners, 0.9):8.2f}{angle_error_deg(drawn, truth):9.2f}{area:8.4f}"
                f"{shapely.get_num_coordinates(drawn).mean():8.1f}"
            )
        print(f"{'':24}straightened: {flags[chosen].mean():.1%}")
    for name, polygons in (("traced", made.traced), ("straightened", straight)):
        print("row houses, {}: overlap {:.3g} m², gaps {:.3g} m²".format(name, *seams_m2(polygons, made)))


def speed(made: Town) -> None:
    seconds = []
    for _ in range(3):
        start = time.process_time()
        regularize_footprints(made.traced, made.clusters, GSD_M)
        seconds.append(time.process_time() - start)
    points = shapely.get_num_coordinates(made.traced).mean()
    rate = len(made.traced) / min(seconds)
    print(
        f"{rate:,.0f} footprints a second on one core of {platform.processor() or platform.machine()}, ",
        end="",
    )
    print(f"{points:.0f} points each, {len(made.traced)} in a batch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buildings", type=int, default=3000)
    made = town(parser.parse_args().buildings, seed=1)
    report(made)
    speed(made)


if __name__ == "__main__":
    main()
