"""A world as a camera sees it from above, and the exact truth about its buildings.

Every pixel follows from the layout and its own place, so windows can be drawn in any order and fit without a seam.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, tan

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.raster.grid import Window
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.objects import District, Material, Solid, Stripes, Surface, Trees, Vehicles
from geoseg.synthetic.pixels import Metres, Plane, burn_mask, compute_coverage, sample_lattice, sample_noise
from geoseg.synthetic.sprites import HEADINGS, Sprite, draw_solid, draw_tree, draw_vehicle, find_overlap
from geoseg.synthetic.style import Style

_TILE = 512
_HALO = 1
_TREE_REACH_M = 36.0
_SHADE = np.array((0.40, 0.45, 0.54), np.float32)
_SKY = np.array((186, 196, 208), np.float32)


@dataclass(frozen=True)
class Canvas:
    """What is being drawn: colours, the height of things, and the height below which the sun does not shine."""

    layout: Layout
    window: Window
    image: Plane
    height: Plane
    shadow: Plane
    grains: tuple[Plane, Plane, Plane]

    @classmethod
    def empty(cls, layout: Layout, window: Window) -> Canvas:
        shape = (window.height, window.width)
        image = np.empty((3, *shape), np.float32)
        image[:] = np.array(layout.style.grass, np.float32)[:, None, None]
        zeros = np.zeros(shape, np.float32)
        return cls(layout, window, image, zeros, zeros.copy(), _make_grains(layout, window))

    @property
    def ys(self) -> Metres:
        return (self.window.row + 0.5 + np.arange(self.window.height)) * self.layout.gsd_m

    @property
    def xs(self) -> Metres:
        return (self.window.col + 0.5 + np.arange(self.window.width)) * self.layout.gsd_m


def render_photo(layout: Layout, window: Window) -> NDArray[np.uint8]:
    """The aerial photograph of a window: (3, rows, cols), red, green and blue."""
    photo = np.empty((3, window.height, window.width), np.uint8)
    for tile in _split_tiles(window):
        rows, cols = find_overlap(tile, window)
        photo[:, rows, cols] = _draw_tile(layout, tile)
    return photo


def render_truth_mask(layout: Layout, window: Window) -> NDArray[np.bool_]:
    """The pixels whose centre lies on a building."""
    sides = [solid.sides for solid in _list_buildings(layout, window)]
    return burn_mask(np.vstack([np.empty((0, 4)), *sides]) / layout.gsd_m, window)


def list_truth_polygons(layout: Layout, window: Window) -> list[tuple[str, shapely.Polygon]]:
    """The kind and outline of each building in a window, in pixels (x: column, y: row), cut off at its borders."""
    frame = shapely.box(window.col, window.row, window.stop_col, window.stop_row)
    truth = []
    for solid in _list_buildings(layout, window):
        outline = shapely.transform(solid.outline, lambda places: places / layout.gsd_m)
        seen = outline if frame.contains(outline) else outline.intersection(frame)
        truth += [(solid.kind, part) for part in shapely.get_parts(seen) if part.area > 0]
    return truth


def _list_buildings(layout: Layout, window: Window) -> Iterator[Solid]:
    box = _compute_ground_box(layout, window)
    for district in layout.districts(window):
        for index in np.flatnonzero(_find_overlapping(district.solid_boxes, box)):
            yield district.solids[index]


def _split_tiles(window: Window) -> Iterator[Window]:
    for row in range(window.row, window.stop_row, _TILE):
        for col in range(window.col, window.stop_col, _TILE):
            yield Window(row, col, min(_TILE, window.stop_row - row), min(_TILE, window.stop_col - col))


def _draw_tile(layout: Layout, tile: Window) -> NDArray[np.uint8]:
    window = Window(tile.row - _HALO, tile.col - _HALO, tile.height + 2 * _HALO, tile.width + 2 * _HALO)
    canvas = Canvas.empty(layout, window)
    districts = list(layout.districts(window))
    _draw_ground(canvas, districts)
    for district in districts:
        _draw_solids(canvas, district)
    for district in districts:
        _draw_vehicles(canvas, district.vehicles)
        _draw_trees(canvas, district.trees)
    return _expose_photo(canvas)


def _compute_ground_box(layout: Layout, window: Window) -> NDArray[np.float64]:
    return np.array([window.col, window.row, window.stop_col, window.stop_row]) * layout.gsd_m


def _find_overlapping(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(
        (boxes[:, 0] < box[2]) & (boxes[:, 2] > box[0]) & (boxes[:, 1] < box[3]) & (boxes[:, 3] > box[1])
    )


def _make_grains(layout: Layout, window: Window) -> tuple[Plane, Plane, Plane]:
    """Noise for all textures: pixel by pixel, step by step, field by field."""
    seed, gsd_m = layout.seed, layout.gsd_m
    rows, cols = window.row + np.arange(window.height), window.col + np.arange(window.width)
    ys, xs = (rows + 0.5) * gsd_m, (cols + 0.5) * gsd_m
    fine = np.float32(0.6) * sample_lattice(seed + 11, rows, cols) + sample_noise(seed + 12, 0.7, ys, xs)
    mid = np.float32(0.7) * sample_noise(seed + 13, 1.9, ys, xs) + sample_noise(seed + 14, 5.3, ys, xs)
    broad = np.float32(0.8) * sample_noise(seed + 15, 17.0, ys, xs) + sample_noise(seed + 16, 61.0, ys, xs)
    return fine, mid, broad


def _draw_ground(canvas: Canvas, districts: list[District]) -> None:
    box = _compute_ground_box(canvas.layout, canvas.window)
    seen = [
        district.surfaces[index]
        for district in districts
        for index in np.flatnonzero(_find_overlapping(district.surface_boxes, box))
    ]
    for surface in sorted(seen, key=lambda surface: surface.layer):
        _draw_surface(canvas, surface)


def _draw_surface(canvas: Canvas, surface: Surface) -> None:
    sides = surface.sides / canvas.layout.gsd_m
    left, top = np.floor(np.minimum(sides[:, :2].min(axis=0), sides[:, 2:].min(axis=0))).astype(int)
    right, bottom = np.ceil(np.maximum(sides[:, :2].max(axis=0), sides[:, 2:].max(axis=0))).astype(int)
    rows, cols = find_overlap(Window(top, left, bottom - top, right - left), canvas.window)
    part = Window(
        canvas.window.row + rows.start,
        canvas.window.col + cols.start,
        rows.stop - rows.start,
        cols.stop - cols.start,
    )
    share = compute_coverage(sides, part)
    tone = share * _compute_tone(canvas, surface.material, rows, cols)
    for band, value in zip(canvas.image, surface.material.color, strict=True):
        target = band[rows, cols]
        target *= 1 - share
        target += np.float32(value) * tone


def _compute_tone(canvas: Canvas, material: Material, rows: slice, cols: slice) -> Plane:
    weights = (material.fine, material.mid, material.broad)
    tone = np.ones((rows.stop - rows.start, cols.stop - cols.start), np.float32)
    for grain, weight in zip(canvas.grains, weights, strict=True):
        if weight:
            tone += np.float32(weight) * grain[rows, cols]
    if material.stripes:
        tone += _compute_stripes(material.stripes, canvas.ys[rows], canvas.xs[cols])
    return tone


def _compute_stripes(stripes: Stripes, ys: Metres, xs: Metres) -> Plane:
    across = (ys * np.cos(stripes.angle))[:, None] - (xs * np.sin(stripes.angle))[None, :]
    lines = np.float32(stripes.depth) * np.sin(across * (2 * pi / stripes.period_m)).astype(np.float32)
    if stripes.tramlines_m:
        wheel = np.abs(across % stripes.tramlines_m - 1.4)
        lines -= np.float32(0.14) * (np.abs(wheel - 0.9) < 0.3)
    return np.asarray(lines, np.float32)


def _draw_solids(canvas: Canvas, district: District) -> None:
    box = _compute_ground_box(canvas.layout, canvas.window)
    sun = canvas.layout.style.sun
    reach = district.solid_tops[:, None] / tan(sun.elevation) if len(district.solids) else np.empty((0, 1))
    shifts = -np.array(sun.towards[:2]) / np.hypot(*sun.towards[:2]) * reach + np.sign(sun.towards[:2]) * -2
    moved = district.solid_boxes + np.hstack([shifts, shifts])
    seen = np.hstack(
        [np.minimum(district.solid_boxes, moved)[:, :2], np.maximum(district.solid_boxes, moved)[:, 2:]]
    )
    for index in np.flatnonzero(_find_overlapping(seen, box)):
        _draw_sprite(canvas, draw_solid(district.solids[index], canvas.layout.style, canvas.layout.gsd_m))


def _find_near(canvas: Canvas, places: NDArray[np.float64]) -> NDArray[np.intp]:
    """The places from which a tree or a vehicle can be seen, or can cast a shadow."""
    left, top, right, bottom = _compute_ground_box(canvas.layout, canvas.window)
    x, y = places[:, 0], places[:, 1]
    reach = _TREE_REACH_M
    return np.flatnonzero((x > left - reach) & (x < right + reach) & (y > top - reach) & (y < bottom + reach))


def _draw_vehicles(canvas: Canvas, vehicles: Vehicles) -> None:
    gsd_m, style = canvas.layout.gsd_m, canvas.layout.style
    pixels = np.floor(vehicles.places[:, :2] / gsd_m).astype(int)
    headings = np.rint(vehicles.places[:, 2] * (HEADINGS / 2 / pi)).astype(int) % HEADINGS
    for index in _find_near(canvas, vehicles.places):
        sprite = draw_vehicle(style, gsd_m, int(vehicles.models[index]), int(headings[index]))
        _draw_sprite(canvas, sprite, (int(pixels[index, 1]), int(pixels[index, 0])), vehicles.colors[index])


def _draw_trees(canvas: Canvas, trees: Trees) -> None:
    gsd_m, style = canvas.layout.gsd_m, canvas.layout.style
    pixels = np.floor(trees.places[:, :2] / gsd_m).astype(int)
    sizes = np.maximum(np.rint(trees.places[:, 2] / gsd_m - 0.4), 1).astype(int)
    for index in _find_near(canvas, trees.places):
        sprite = draw_tree(
            style, gsd_m, int(sizes[index]), bool(trees.conifers[index]), int(pixels[index].sum()) % 4
        )
        _draw_sprite(canvas, sprite, (int(pixels[index, 1]), int(pixels[index, 0])), trees.colors[index])


def _draw_sprite(
    canvas: Canvas, sprite: Sprite, at: tuple[int, int] = (0, 0), tint: NDArray[np.float32] | None = None
) -> None:
    """Draw a thing, moved by some rows and columns and multiplied with a colour."""
    seen, source = _clip_window(sprite.shadow_window, canvas.window, at)
    if seen is None:
        return
    np.maximum(canvas.shadow[seen], sprite.shadow[source], out=canvas.shadow[seen])
    seen, source = _clip_window(sprite.window, canvas.window, at)
    if seen is None:
        return
    np.maximum(canvas.height[seen], sprite.height[source], out=canvas.height[seen])
    color = sprite.color[(slice(None), *source)]
    target = canvas.image[(slice(None), *seen)]
    target += sprite.alpha[source] * ((color if tint is None else color * tint[:, None, None]) - target)


def _clip_window(
    window: Window, canvas: Window, at: tuple[int, int]
) -> tuple[tuple[slice, slice] | None, tuple[slice, slice]]:
    """The part of the canvas that a moved window meets, if any, and the part of the window that meets it."""
    row, col = window.row + at[0] - canvas.row, window.col + at[1] - canvas.col
    rows = slice(max(row, 0), min(row + window.height, canvas.height))
    cols = slice(max(col, 0), min(col + window.width, canvas.width))
    source = slice(rows.start - row, rows.stop - row), slice(cols.start - col, cols.stop - col)
    return ((rows, cols) if rows.start < rows.stop and cols.start < cols.stop else None), source


def _expose_photo(canvas: Canvas) -> NDArray[np.uint8]:
    """The photograph of what has been drawn: sunlight, haze, the lens and the sensor."""
    style = canvas.layout.style
    dark = np.clip((canvas.shadow - canvas.height - np.float32(0.15)) * np.float32(2.5), 0, 1)
    image = canvas.image * (1 - dark * (1 - _SHADE)[:, None, None])
    gain, offset = _compute_camera(style)
    image *= gain[:, None, None]
    image += offset[:, None, None]
    image *= 1 + np.float32(0.03) * sample_noise(canvas.layout.seed + 17, 370.0, canvas.ys, canvas.xs)
    photo = _blur_image(image, np.float32(style.blur)) + _make_sensor_noise(canvas)
    return np.asarray(np.clip(photo + np.float32(0.5), 0, 255), np.uint8)


def _compute_camera(style: Style) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Contrast, haze and white balance as a factor and an offset for each band."""
    clear = style.contrast * (1 - style.haze)
    gain = clear * np.array(style.gain, np.float32)
    offset = 118 * (1 - style.contrast) * (1 - style.haze) + style.haze * _SKY
    return gain.astype(np.float32), offset.astype(np.float32)


def _blur_image(image: Plane, weight: np.float32) -> Plane:
    """The image as a lens sees it, without the outermost pixels."""
    tall = (1 - 2 * weight) * image[:, 1:-1] + weight * (image[:, :-2] + image[:, 2:])
    return np.asarray(
        (1 - 2 * weight) * tall[..., 1:-1] + weight * (tall[..., :-2] + tall[..., 2:]), np.float32
    )


def _make_sensor_noise(canvas: Canvas) -> Plane:
    seed, window = canvas.layout.seed, canvas.window
    rows, cols = window.row + 1 + np.arange(window.height - 2), window.col + 1 + np.arange(window.width - 2)
    common = sample_lattice(seed + 21, rows, cols)
    bands = np.stack([sample_lattice(seed + 22 + band, rows, cols) for band in range(3)])
    return np.float32(canvas.layout.style.noise) * (common + np.float32(0.6) * bands)
