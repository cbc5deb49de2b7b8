"""Separates buildings that have grown together in one footprint.

Each footprint is looked at when it is whole, on its own pixels and nothing else, so the result does not depend on
strips. A relief is drawn on them whose summits lie deep inside buildings; every summit grows to a basin (watershed), and
neighbours become one body again unless a rule says that they are two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import shapely

from geoseg.footprints.polygons import Flags, Ints, find_starts, number_items
from geoseg.footprints.separate.basins import find_bodies
from geoseg.footprints.separate.rules import OwnPixels, SeparationRule
from geoseg.footprints.separate.sheet import Sheet
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.pieces import ComponentRuns, concatenate_columns
from geoseg.footprints.trace.rings import TracedFootprints, build_footprints
from geoseg.raster.coding import Values

SHEET_PIXELS = 300_000
"""Footprints are looked at together as long as their boxes hold no more pixels: quicker than one by one, in little memory."""


def split_footprints(
    footprints: TracedFootprints, rule: SeparationRule, joining: JoinRules
) -> TracedFootprints:
    """The same footprints, those that are several buildings in as many parts, neighbours in one cluster."""
    whole = np.ones(len(footprints), dtype=bool)
    tables = []
    for numbers in _share_out(footprints, rule, joining):
        parts, owner = _split_together(list(_extract_pixels(footprints, numbers)), rule, joining.connectivity)
        tables.append(_inherit_attributes(parts, footprints, numbers[owner]))
        whole[numbers[owner]] = False
    tables.append(footprints.select(whole))
    return TracedFootprints(**concatenate_columns(tables, but="runs"), runs=ComponentRuns.none()).sort()


def _share_out(footprints: TracedFootprints, rule: SeparationRule, joining: JoinRules) -> Iterator[Ints]:
    """The numbers of footprints in which two bodies find room, as many together as a sheet holds."""
    left, top, right, bottom = shapely.bounds(footprints.polygons).reshape(-1, 4).T
    height, width = bottom - top, right - left
    box = height * width
    numbers = np.flatnonzero(rule.have_room(height, width) & (box <= joining.largest_box_pixels))
    sheet = (np.cumsum(box[numbers]) - box[numbers]) // SHEET_PIXELS
    yield from np.split(numbers, np.flatnonzero(np.diff(sheet)) + 1) if len(numbers) else ()


def _extract_pixels(footprints: TracedFootprints, numbers: Ints) -> Iterator[OwnPixels]:
    runs = footprints.runs
    order = np.argsort(runs.component, kind="stable")
    stops = np.cumsum(np.bincount(runs.component, minlength=len(footprints)))
    first_pixel = find_starts(runs.length)
    for i in numbers:
        mine = order[(stops[i - 1] if i else 0) : stops[i]]
        row, col, length = runs.row[mine], runs.col[mine], runs.length[mine]
        top, left = int(row.min()) - 1, int(col.min()) - 1
        shape = row.max() - top + 2, (col + length).max() - left + 1
        place = np.repeat(row - top, length), np.repeat(col - left, length) + number_items(length)
        pixels = np.repeat(first_pixel[mine], length) + number_items(length)
        inside = np.zeros(shape, dtype=bool)
        inside[place] = True
        layers = (
            _draw_layer(values, pixels, place, shape)
            for values in (runs.probability, runs.boundary, runs.distance)
        )
        yield OwnPixels(top, left, inside, *layers)


def _draw_layer(
    values: Values, pixels: Ints, place: tuple[Ints, Ints], shape: tuple[int, int]
) -> Values | None:
    """What is known of each pixel in its place, 0 elsewhere; none where nothing is known."""
    if not len(values):
        return None
    layer = np.zeros(shape, dtype=values.dtype)
    layer[place] = values[pixels]
    return layer


def _split_together(
    windows: Sequence[OwnPixels], rule: SeparationRule, connectivity: int
) -> tuple[TracedFootprints, Ints]:
    """The parts of those footprints that are several bodies, and which footprint each part is of."""
    sheet = Sheet.of(windows)
    reliefs = [rule.draw_relief(own) for own in windows]
    bodies = find_bodies(
        sheet.draw([relief for relief, _ in reliefs]),
        sheet.draw([doubt for _, doubt in reliefs]),
        sheet.owner >= 0,
        sheet.slots,
        connectivity,
        rule.stays_apart,
    )
    owner_of_body = np.full(int(bodies.max()) + 1, -1)
    owner_of_body[bodies.ravel()] = sheet.owner.ravel()
    owner_of_body[0] = -1
    bodies[~_find_split(owner_of_body, len(windows))[sheet.owner]] = 0
    probabilities = [own.probability for own in windows if own.probability is not None]
    probability = sheet.draw(probabilities) if probabilities else None
    pieces = trace_outlines(bodies, 0, JoinRules(connectivity), probability)
    owner = owner_of_body[pieces.components.value]
    shift = sheet.shifts[owner][np.repeat(pieces.component, pieces.sizes)]
    parts = build_footprints(replace(pieces, corners=pieces.corners + shift))
    return parts, owner_of_body[parts.value]


def _find_split(owner_of_body: Ints, number: int) -> Flags:
    """Which footprints have two bodies or more; one more, always false, stands for no footprint."""
    return np.append(np.bincount(owner_of_body[owner_of_body >= 0], minlength=number) > 1, False)


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
