"""Draws the page of an audit: numbers, histograms, and samples with their labels drawn over them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from geoseg.datasets.audit.charts import (
    ALARM,
    FAINT,
    INK,
    LINE,
    MARGIN,
    PAPER,
    WIDTH,
    draw_histograms,
    draw_pairs,
    draw_shares_of_images,
    fit_frame,
    list_colors,
    load_font,
    new_section,
)
from geoseg.datasets.audit.content import AuditContent
from geoseg.datasets.audit.findings import AuditResult
from geoseg.datasets.audit.records import SIZES_M2, make_label_reader
from geoseg.datasets.images import ImageInfo, find_bands, read_image_info, read_window, stretch_colors
from geoseg.datasets.polygons import ClassReader
from geoseg.datasets.schema import Dataset, Item
from geoseg.io.atomic import replace_file
from geoseg.raster.bands import find_rgb_bands
from geoseg.raster.grid import Window

TILE = 380
ACROSS = 4
SAMPLES = 12
CAPTION = 44
BAR_HEIGHT = 120
OPACITY = 0.35
MOST_TROUBLED = 1000


def write_page(content: AuditContent, path: Path) -> None:
    """Draw the page and put it at its place, whole or not at all."""
    audited = content.audited
    sections = [
        draw_summary(audited),
        draw_shares_of_images(audited),
        draw_histograms(content),
        draw_pairs(content),
        draw_samples(audited),
    ]
    page = new_section(sum(section.height for section in sections))
    height = 0
    for section in sections:
        page.paste(section, (0, height))
        height += section.height
    with replace_file(path) as unfinished:
        page.save(unfinished, format="PNG", optimize=True)


def draw_summary(audited: AuditResult) -> Image.Image:
    """Numbers, problems, and how large objects are."""
    section = new_section(MARGIN + LINE * (8 + min(14, len(audited.problems))) + BAR_HEIGHT + 3 * LINE)
    pen = ImageDraw.Draw(section)
    draw_sizes(pen, audited, draw_numbers(pen, audited) + LINE)
    return section


def draw_samples(audited: AuditResult) -> Image.Image:
    """Images with their labels drawn over them."""
    chosen = choose_samples(audited)
    section = new_section(LINE + -(-len(chosen) // ACROSS) * (TILE + CAPTION) + MARGIN)
    pen = ImageDraw.Draw(section)
    pen.text((MARGIN, 0), "Images with their labels, those with problems first", INK, load_font(13))
    for place, index in enumerate(chosen):
        corner = MARGIN + place % ACROSS * (TILE + MARGIN), LINE + place // ACROSS * (TILE + CAPTION)
        draw_sample(section, pen, audited, index, corner)
    return section


def draw_numbers(pen: ImageDraw.ImageDraw, audited: AuditResult) -> int:
    """Write the heading, the class shares and the problems; returns where they end."""
    dataset, summary = audited.dataset, audited.summary
    counts = ", ".join(f"{count} {split}" for split, count in summary["items"].items() if count)
    pen.text((MARGIN, MARGIN), dataset.name, INK, load_font(24))
    pen.text(
        (MARGIN, MARGIN + 32),
        f"{counts} of {len(summary['places'])} places, {summary['area_km2']:g} km2, trained at {dataset.gsd_m:g} m"
        f"   |   {dataset.licence}   |   {dataset.attribution}",
        FAINT,
        load_font(14),
    )
    height = MARGIN + 32 + LINE + 6
    for split, shares in audited.shares.items():
        draw_shares(pen, dataset, split, shares, height)
        height += LINE
    for problem in audited.problems[:14]:
        pen.text((MARGIN, height + 6), problem.text[:210], ALARM, load_font(13))
        height += LINE
    if not audited.problems:
        pen.text((MARGIN, height + 6), "No problem was found.", "#2e7d32", load_font(13))
        height += LINE
    return height


def draw_shares(
    pen: ImageDraw.ImageDraw, dataset: Dataset, split: str, shares: NDArray[np.float64], height: int
) -> None:
    """A bar with a stretch for each class, as long as its share."""
    pen.text((MARGIN, height), split, INK, load_font(13))
    left = float(MARGIN + 90)
    for entry, share in zip(dataset.classes, shares, strict=True):
        right = left + share * (WIDTH - 2 * MARGIN - 90)
        pen.rectangle((left, height + 1, right, height + LINE - 4), fill=entry.color)
        if right - left > 90:
            pen.text((left + 4, height), f"{entry.name} {share:.1%}", PAPER, load_font(12), None, 4, "left")
        left = right


def draw_sizes(pen: ImageDraw.ImageDraw, audited: AuditResult, height: int) -> None:
    """A histogram of the sizes of connected objects."""
    sizes = audited.sizes
    pen.text(
        (MARGIN, height),
        "Objects by area in m2 (connected pixels of one class, the first class left out)",
        INK,
        load_font(13),
    )
    step = (WIDTH - 2 * MARGIN) / len(sizes)
    base = height + BAR_HEIGHT + LINE // 2
    for index, (count, smallest) in enumerate(zip(sizes.tolist(), SIZES_M2, strict=True)):
        left = MARGIN + index * step
        tall = (BAR_HEIGHT - 2 * LINE) * count / max(1, sizes.max())
        pen.rectangle((left, base - tall, left + step - 4, base), fill="#2e86ab")
        pen.text((left, base + 3), f"{smallest:,.0f}", FAINT, load_font(11))
        if count:
            pen.text((left, base - tall - 14), f"{count:,}", INK, load_font(11))


def choose_samples(audited: AuditResult) -> list[int]:
    """Which items to show: those with problems first, then others spread evenly over the set."""
    usable = [index for index, look in enumerate(audited.looks) if look.error is None]
    allowed = set(usable)
    troubled = (index for finding in audited.problems for index in finding.items if index in allowed)
    first = list(dict.fromkeys(islice(troubled, MOST_TROUBLED)))[: SAMPLES - 2]
    spread = [usable[i] for i in np.linspace(0, len(usable) - 1, SAMPLES).astype(int)] if usable else []
    return list(dict.fromkeys([*first, *spread]))[:SAMPLES]


def draw_sample(
    page: Image.Image, pen: ImageDraw.ImageDraw, audited: AuditResult, index: int, corner: tuple[int, int]
) -> None:
    look, item = audited.looks[index], audited.dataset.items[index]
    page.paste(Image.fromarray(draw_overlay(audited.dataset, item)), corner)
    words = [finding.kind for finding in audited.problems if index in finding.items]
    left, top = corner[0], corner[1] + TILE + 2
    pen.text(
        (left, top), f"{Path(item.image).name[:34]}  {item.split}, {look.gsd_m:.2g} m", INK, load_font(13)
    )
    pen.text((left, top + 16), ", ".join(dict.fromkeys(words))[:60], ALARM, load_font(12))


def draw_overlay(dataset: Dataset, item: Item) -> NDArray[np.uint8]:
    """The most telling piece of an image, its classes tinted and outlined."""
    image = read_image_info(dataset.image_path(item))
    read_label = make_label_reader(dataset, item, image)
    window = find_telling_window(read_label, image)
    values = read_window(image.path, window)[np.array(find_bands(image, dataset.bands)) - 1]
    seen = stretch_colors(values[list(find_rgb_bands(dataset.bands))])
    return fit_frame(tint_classes(seen, read_label(window), dataset), TILE)


def find_telling_window(read_label: ClassReader, image: ImageInfo) -> Window:
    """Where a piece of the label holds most boundaries."""
    size_down, size_across = min(TILE, image.height), min(TILE, image.width)
    best, richest = Window(0, 0, size_down, size_across), -1.0
    for row in list_starts(image.height, size_down):
        for col in list_starts(image.width, size_across):
            window = Window(row, col, size_down, size_across)
            classes = read_label(window)
            boundaries = float((classes[1:] != classes[:-1]).mean())
            if boundaries > richest:
                best, richest = window, boundaries
    return best


def list_starts(size: int, piece: int) -> Iterator[int]:
    """A few places to begin along an axis, evenly spread."""
    count = min(4, -(-size // piece))
    yield from (round(i * (size - piece) / max(1, count - 1)) for i in range(count))


def tint_classes(
    shown: NDArray[np.float32], classes: NDArray[np.uint8], dataset: Dataset
) -> NDArray[np.uint8]:
    colors = list_colors(dataset)
    edges = classes != ndimage.grey_erosion(classes, (3, 3))
    tint = colors[classes]
    plain = (classes == 0)[..., None]
    mixed = np.where(plain, shown, shown * (1 - OPACITY) + tint * OPACITY)
    mixed = np.where(edges[..., None], color_edges(classes, colors), mixed)
    return (mixed * 255).astype(np.uint8)


def color_edges(classes: NDArray[np.uint8], colors: NDArray[np.float32]) -> NDArray[np.float32]:
    tints: NDArray[np.float32] = colors[ndimage.grey_dilation(classes, (3, 3))]
    return tints
