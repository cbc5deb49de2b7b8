from __future__ import annotations

import numpy as np
import shapely
from buildings import GSD_M, town

from geoseg.footprints.regularize.draft import straighten_network
from geoseg.footprints.regularize.network import build_network


def test_outlines_stray_no_farther_than_the_bound_says() -> None:
    made = town(90, seed=6)
    network = build_network(made.traced, made.clusters, GSD_M)
    draft = straighten_network(network, GSD_M)
    sizes = draft.straight[1]
    whole = np.array([not network.find_collapsed(sizes)[network.step_arc[network.step_polygon == i]].any()
                      for i in range(len(made.traced))])  # fmt: skip
    shapes = network.polygons(*draft.straight)
    sound = whole & shapely.is_valid(shapes)
    strayed = shapely.area(shapely.symmetric_difference(shapes[sound], made.traced[sound]))
    bound = draft.strayed_m2[sound]
    assert (strayed <= bound + 1e-9).all()
    assert np.median(bound[np.isfinite(bound)] / strayed[np.isfinite(bound)]) < 1.6
    assert sound.mean() > 0.95


def test_a_box_has_one_main_direction_and_a_disc_none() -> None:
    polygons = np.array([shapely.box(0, 0, 12, 8), shapely.Point(30, 30).buffer(6)])
    draft = straighten_network(build_network(polygons, np.arange(2), GSD_M), GSD_M)
    assert draft.has_walls.tolist() == [True, False]
    assert draft.strayed_m2[0] < 1e-6
