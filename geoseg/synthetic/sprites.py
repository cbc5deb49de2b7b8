"""Single objects drawn in a small window of their own, with the shadow they cast."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, pi

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.grid import Window
from geoseg.synthetic.objects import CAR, CONTAINER, LORRY, Planes, RoofFitting, Solid
from geoseg.synthetic.pixels import Plane, compute_coverage, make_generator, sample_lattice
from geoseg.synthetic.style import Style, Sun

_AMBIENT = 0.42
_SINGLE_STEPS = 8


@dataclass(frozen=True)
class Sprite:
    """A thing's colours, the share of each pixel it covers, its height, and how high its shadow reaches where."""

    window: Window
    color: Plane
    alpha: Plane
    height: Plane
    shadow_window: Window
    shadow: Plane


def draw_solid(solid: Solid, style: Style, gsd_m: float) -> Sprite:
    """A building, a car or anything else with an outline and a roof."""
    sides = solid.sides / gsd_m
    window = _find_window(sides)
    alpha = compute_coverage(sides, window)
    ys, xs = _locate_centres(window, gsd_m)
    rise, light, along = _shade_roof(solid.wings, style.sun, ys, xs)
    inside = alpha > 0.5
    height = np.where(inside, rise + np.float32(solid.eave_m), np.float32(0))
    tone = light * _shade_ridges(rise) * _make_texture(solid, window, along)
    color = np.array(solid.finish.color, np.float32)[:, None, None] * tone
    for thing in solid.fittings:
        _draw_fitting(thing, window, gsd_m, color, height)
    return add_shadow(window, color, alpha, np.where(inside, height, np.float32(0)), (style.sun, gsd_m))


def add_shadow(window: Window, color: Plane, alpha: Plane, height: Plane, light: tuple[Sun, float]) -> Sprite:
    sun, gsd_m = light
    return Sprite(
        window, color, alpha, height, *_cast_shadow(height, window, sun.step, sun.drop_per_step * gsd_m)
    )


def _find_window(sides: NDArray[np.float64]) -> Window:
    left, top = floor(sides[:, 0].min()) - 1, floor(sides[:, 1].min()) - 1
    right, bottom = ceil(sides[:, 0].max()) + 1, ceil(sides[:, 1].max()) + 1
    return Window(top, left, bottom - top, right - left)


def _locate_centres(window: Window, gsd_m: float) -> tuple[Plane, Plane]:
    """The places of the pixels' centres, as a column of ys and a row of xs."""
    ys = (window.row + 0.5 + np.arange(window.height)) * gsd_m
    xs = (window.col + 0.5 + np.arange(window.width)) * gsd_m
    return ys[:, None], xs[None, :]


def _shade_roof(wings: tuple[Planes, ...], sun: Sun, ys: Plane, xs: Plane) -> tuple[Plane, Plane, Plane]:
    """The roof's rise above the eave, the sunlight it gets, and the coordinate along its eave."""
    shape = (ys.size, xs.size)
    best = np.full(shape, -1.0, np.float32)
    light, along = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    for wing in wings:
        rise, shade, across = _shade_wing(wing, sun, ys, xs)
        higher = rise > best
        for kept, new in ((best, rise), (light, shade), (along, across)):
            np.copyto(kept, new, where=higher)
    return np.maximum(best, 0), light, along


def _shade_wing(wing: Planes, sun: Sun, ys: Plane, xs: Plane) -> tuple[Plane, Plane, Plane]:
    rise = np.full((ys.size, xs.size), np.inf, np.float32)
    light, along = np.ones_like(rise), np.zeros_like(rise)
    for a, b, c, slope in wing:
        distance = (b * ys + c).astype(np.float32) + (a * xs).astype(np.float32)
        if slope == 0:
            rise[distance < -0.3] = -2
            continue
        lower = distance * np.float32(slope) < rise
        np.copyto(rise, distance * np.float32(slope), where=lower)
        light[lower] = _compute_light((-slope * a, -slope * b), sun)
        np.copyto(along, (a * ys - b * xs).astype(np.float32), where=lower)
    if np.isinf(rise).any():
        np.copyto(along, (wing[0, 0] * ys - wing[0, 1] * xs).astype(np.float32), where=np.isinf(rise))
        rise[np.isinf(rise)] = 0
    return rise, light, along


def _compute_light(gradient: tuple[float, float], sun: Sun) -> float:
    """How bright a tilted face is, one being level ground; the sky lights it a little from everywhere."""
    x, y, z = sun.towards
    facing = (gradient[0] * x + gradient[1] * y + z) / np.sqrt(1 + gradient[0] ** 2 + gradient[1] ** 2)
    return float(min(_AMBIENT + (1 - _AMBIENT) * max(0.0, facing) / z, 1.25))


def _shade_ridges(rise: Plane) -> Plane:
    """Ridges catch the light, valleys and eaves' gutters do not."""
    bend = np.zeros_like(rise)
    bend[1:-1, 1:-1] = (
        4 * rise[1:-1, 1:-1] - rise[:-2, 1:-1] - rise[2:, 1:-1] - rise[1:-1, :-2] - rise[1:-1, 2:]
    )
    return 1 + np.clip(bend, -0.4, 0.4) * np.float32(0.3)


def _make_texture(solid: Solid, window: Window, along: Plane) -> Plane:
    """Grain, weather stains that run down the slope, and seams."""
    finish = solid.finish
    seed = int(abs(solid.outline.bounds[0]) * 977) % 65521
    rows, cols = np.arange(window.height), np.arange(window.width)
    tone = 1 + np.float32(finish.grain) * sample_lattice(seed, rows, cols)
    if finish.blotches:
        tone += np.float32(finish.blotches) * _make_blotches(seed, along)
    if finish.seam_m:
        tone += np.float32(finish.seam_depth) * np.sin(along * np.float32(2 * pi / finish.seam_m))
    return np.asarray(tone, np.float32)


def _make_blotches(seed: int, along: Plane) -> Plane:
    """Stains in bands along the eave, each band with a tone of its own."""
    tones = sample_lattice(seed, np.arange(1), np.arange(64))[0]
    places = along * np.float32(0.8)
    knots = np.floor(places)
    before = knots.astype(np.int32) & 63
    return np.asarray(
        tones[before] + (places - knots) * (tones[(before + 1) & 63] - tones[before]), np.float32
    )


def _draw_fitting(thing: RoofFitting, window: Window, gsd_m: float, color: Plane, height: Plane) -> None:
    """Draw a fitting over the part of the roof that it covers."""
    sides = thing.sides / gsd_m
    rows, cols = find_overlap(_find_window(sides), window)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return
    spot = Window(
        window.row + rows.start, window.col + cols.start, rows.stop - rows.start, cols.stop - cols.start
    )
    share = compute_coverage(sides, spot)
    part = color[:, rows, cols]
    part += share * (np.array(thing.color, np.float32)[:, None, None] - part)
    height[rows, cols] += np.float32(thing.height_m) * (share > 0.5)


def find_overlap(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Where the inner window lies in the outer one, as slices of the outer."""
    rows = slice(max(inner.row - outer.row, 0), min(inner.stop_row - outer.row, outer.height))
    cols = slice(max(inner.col - outer.col, 0), min(inner.stop_col - outer.col, outer.width))
    return rows, cols


def _cast_shadow(
    height: Plane, window: Window, step: tuple[float, float], drop: float
) -> tuple[Window, Plane]:
    """The height below which each place lies in shadow: the things swept along the sun's rays."""
    count = max(1, ceil(float(height.max()) / drop))
    down, right = (round(count * part) for part in step)
    margins = ((max(-down, 0), max(down, 0)), (max(-right, 0), max(right, 0)))
    solid = np.pad(height, margins)
    swept = solid.copy()
    for steps in range(1, min(count, _SINGLE_STEPS) + 1):
        _sweep_heights(swept, solid, (round(steps * step[0]), round(steps * step[1])), steps * drop)
    reach = _SINGLE_STEPS
    while reach < count:
        _sweep_heights(swept, swept.copy(), (round(reach * step[0]), round(reach * step[1])), reach * drop)
        reach *= 2
    rows, cols = swept.shape
    return Window(window.row - margins[0][0], window.col - margins[1][0], rows, cols), swept


def _sweep_heights(swept: Plane, source: Plane, shift: tuple[int, int], drop: float) -> None:
    """Raise the swept heights to those of the source moved by a shift and lowered by a drop."""
    rows, cols = (
        (slice(max(by, 0), size + min(by, 0)), slice(max(-by, 0), size + min(-by, 0)))
        for by, size in zip(shift, swept.shape, strict=True)
    )
    if rows[0].start < rows[0].stop and cols[0].start < cols[0].stop:
        target = swept[rows[0], cols[0]]
        np.maximum(target, source[rows[1], cols[1]] - np.float32(drop), out=target)


_BODIES = {CAR: (4.4, 1.8, 1.4), LORRY: (11.0, 2.5, 3.4), CONTAINER: (12.2, 2.44, 2.6)}
HEADINGS = 64


@lru_cache(maxsize=512)
def draw_vehicle(style: Style, gsd_m: float, model: int, heading: int) -> Sprite:
    """A vehicle about the middle of pixel (0, 0), in tones of grey that its paint is multiplied with."""
    long, wide, high = _BODIES[model]
    size = ceil(long / 2 / gsd_m) + 1
    ys, xs = np.mgrid[-size : size + 1, -size : size + 1] * gsd_m
    turn = heading * 2 * pi / HEADINGS
    u, v = xs * np.cos(turn) + ys * np.sin(turn), ys * np.cos(turn) - xs * np.sin(turn)
    share = np.clip((long / 2 - np.abs(u)) / gsd_m + 0.5, 0, 1) * np.clip(
        (wide / 2 - np.abs(v)) / gsd_m + 0.5, 0, 1
    )
    tone = np.ones_like(share)
    if model == CAR:
        tone[(np.abs(u - 0.7) < 0.35) | (np.abs(u + 1.6) < 0.25)] = 0.3
    elif model == LORRY:
        tone[np.abs(u - 3.4) < 0.3] = 0.35
    height = np.where(share > 0.5, high, 0.0).astype(np.float32)
    window = Window(-size, -size, 2 * size + 1, 2 * size + 1)
    grey, alpha = tone.astype(np.float32)[None], share.astype(np.float32)
    return add_shadow(window, grey, alpha, height, (style.sun, gsd_m))


@lru_cache(maxsize=512)
def draw_tree(style: Style, gsd_m: float, radius_px: int, is_conifer: bool, variant: int) -> Sprite:
    """A tree about the middle of pixel (0, 0), in tones of grey that a leaf's colour is multiplied with."""
    rng = make_generator(style.seed, 7, radius_px, int(is_conifer), variant)
    size = radius_px + 2
    ys, xs = np.mgrid[-size : size + 1, -size : size + 1] * gsd_m
    radius = (radius_px + 0.4) * gsd_m
    height = _make_cone(ys, xs, radius, rng) if is_conifer else _make_crown(ys, xs, radius, rng)
    alpha = np.clip(height / (0.5 * gsd_m), 0, 1).astype(np.float32)
    trunk = compute_tree_height(radius, is_conifer) - float(height.max())
    tone = _shade_leaves(height, style.sun, gsd_m) * (1 + 0.12 * rng.standard_normal(height.shape))
    tall = np.where(alpha > 0.5, height + np.float32(max(trunk, 0)), 0).astype(np.float32)
    window = Window(-size, -size, 2 * size + 1, 2 * size + 1)
    return add_shadow(window, tone.astype(np.float32)[None], alpha, tall, (style.sun, gsd_m))


def compute_tree_height(radius_m: float, is_conifer: bool) -> float:
    """The height of a tree with a crown of some radius."""
    return 3.2 * radius_m + 2 if is_conifer else min(2.1 * radius_m + 0.5, 11.0)


def _make_crown(ys: Plane, xs: Plane, radius: float, rng: np.random.Generator) -> Plane:
    """A broad crown: many balls of leaves."""
    count = int(np.clip(6 + 3 * radius, 5, 22))
    spread, turn = 0.62 * radius * np.sqrt(rng.random(count)), rng.uniform(0, 2 * pi, count)
    balls = radius * rng.uniform(0.34, 0.5, count)
    height = np.zeros(ys.shape)
    for away, angle, ball in zip(spread, turn, balls, strict=True):
        square = (ys - away * np.sin(angle)) ** 2 + (xs - away * np.cos(angle)) ** 2
        lift = 0.75 * (radius - away)
        np.maximum(
            height, np.where(square < ball**2, lift + np.sqrt(np.maximum(ball**2 - square, 0)), 0), out=height
        )
    return height.astype(np.float32)


def _make_cone(ys: Plane, xs: Plane, radius: float, rng: np.random.Generator) -> Plane:
    """A conifer: a cone with boughs."""
    angles, turns = np.arctan2(ys, xs), rng.uniform(0, 2 * pi, 3)
    boughs = sum(np.cos(count * angles + turn) for count, turn in zip((5, 9, 14), turns, strict=True))
    reach = radius * (0.84 + 0.05 * boughs) + 0.06 * radius * rng.standard_normal(ys.shape)
    return np.asarray(2.0 * np.maximum(reach - np.hypot(ys, xs), 0), np.float32)


def _shade_leaves(height: Plane, sun: Sun, gsd_m: float) -> Plane:
    """Light on leaves: bright towards the sun, dark between the balls and away from it."""
    down, right = np.gradient(height, gsd_m)
    x, y, z = sun.towards
    facing = (z - 0.55 * (right * x + down * y)) / np.sqrt(1 + 0.3 * (right**2 + down**2))
    depth = 0.72 + 0.28 * height / max(float(height.max()), 1e-6)
    return np.asarray((0.5 + 0.62 * np.clip(facing / z, 0, 1.5)) * depth, np.float32)
