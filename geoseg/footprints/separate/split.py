"""Separates buildings that have grown together in one footprint.

Each footprint is looked at when it is whole, on its own pixels and nothing else, so the result does not depend on
strips. A relief is drawn on them whose summits lie deep inside buildings; every summit grows to a basin (watershed), and
neighbours become one body again unless a rule says that they are two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import shapely

from geoseg.footprints.polygons import Flags, Floats, Ints
from geoseg.footprints.separate.basins import find_bodies
from geoseg.footprints.separate.rules import SeparationRule
from geoseg.footprints.separate.sheet import OwnRuns, Sheet
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.pieces import ComponentRuns, concatenate_columns
from geoseg.footprints.trace.rings import TracedFootprints, build_footprints

SHEET_PIXELS = 300_000
"""Footprints are looked at together as long as their boxes hold no more pixels: quicker than one by one, in little memory."""


def split_footprints(
    footprints: TracedFootprints, rule: SeparationRule, joining: JoinRules
) -> TracedFootprints:
    """The same footprints, those that are several buildings in as many parts, neighbours in one cluster."""
    whole = np.ones(len(footprints), dtype=bool)
    own = OwnRuns.of(footprints.runs, len(footprints))
    height, width = _measure_boxes(footprints)
    box = height * width
    roomy = rule.have_room(height, width) & (box <= joining.largest_box_pixels)
    tables = []
    for numbers in _share_out(np.flatnonzero(roomy), box[roomy]):
        parts, owner = _split_together(own.draw(numbers, rule.room), rule, joining.connectivity)
        tables.append(_inherit_attributes(parts, footprints, numbers[owner]))
        whole[numbers[owner]] = False
    tables.append(footprints.select(whole))
    return TracedFootprints(**concatenate_columns(tables, but="runs"), runs=ComponentRuns.none()).sort()


def _measure_boxes(footprints: TracedFootprints) -> tuple[Floats, Floats]:
    """Heights and widths in pixels."""
    left, top, right, bottom = shapely.bounds(footprints.polygons).reshape(-1, 4).T
    return bottom - top, right - left


def _share_out(numbers: Ints, box: Floats) -> Iterator[Ints]:
    """Numbers of footprints, as many together as a sheet holds by the pixels of their boxes."""
    sheet = (np.cumsum(box) - box) // SHEET_PIXELS
    yield from np.split(numbers, np.flatnonzero(np.diff(sheet)) + 1) if len(numbers) else ()


def _split_together(sheet: Sheet, rule: SeparationRule, connectivity: int) -> tuple[TracedFootprints, Ints]:
    """The parts of those footprints that are several bodies, and which footprint each part is of."""
    bodies = find_bodies(*rule.draw_relief(sheet), sheet, connectivity, rule.stays_apart, rule.pass_share)
    pixels = np.flatnonzero(bodies)
    body, owner_of_pixel = bodies.ravel()[pixels], sheet.owner.ravel()[pixels]
    owner_of_body = np.full(int(bodies.max()) + 1, -1)
    owner_of_body[body] = owner_of_pixel
    bodies.ravel()[pixels[~_find_split(owner_of_body, len(sheet.slots))[owner_of_pixel]]] = 0
    pieces = trace_outlines(bodies, 0, JoinRules(connectivity), sheet.probability)
    owner = owner_of_body[pieces.components.value]
    shift = sheet.shifts[owner][np.repeat(pieces.component, pieces.sizes)]
    parts = build_footprints(replace(pieces, corners=pieces.corners + shift))
    return parts, owner_of_body[parts.value]


def _find_split(owner_of_body: Ints, number: int) -> Flags:
    """Which footprints have two bodies or more."""
    return np.bincount(owner_of_body[owner_of_body >= 0], minlength=number) > 1


def _inherit_attributes(
    parts: TracedFootprints, footprints: TracedFootprints, owner: Ints
) -> TracedFootprints:
    """Parts with what they have from the footprint they were: its class, its cluster and its place in the order."""
    order = parts.order.copy()
    order[:, :2] = footprints.order[owner, :2]
    return replace(
        parts,
        value=footprints.value[owner],
        cluster=footprints.cluster[owner],
        touches_nodata=footprints.touches_nodata[owner],
        order=order,
        runs=ComponentRuns.none(),
    )
