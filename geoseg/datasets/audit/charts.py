"""Sections of the audit's page: shares of cloud and unknown ground, histograms of each band, samples of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from geoseg.datasets.audit.clouds import CLOUD_RULE
from geoseg.datasets.audit.content import PAIRS, AuditContent, SamplePair
from geoseg.datasets.audit.findings import AuditResult
from geoseg.datasets.audit.records import SPOT_SIDE, make_label_reader
from geoseg.datasets.images import find_bands, read_image_info, read_window, stretch_colors
from geoseg.datasets.schema import Dataset
from geoseg.raster.bands import find_rgb_bands

# The font that comes with the library knows no superscripts: m2 stands for square metres.
WIDTH = 1640
MARGIN = 20
LINE = 20
INK, FAINT, PAPER, ALARM, BAR = "#1b1b1b", "#8a8a8a", "#ffffff", "#b3261e", "#2e86ab"
PANEL_HEIGHT = 130
PANELS_ACROSS = 4
LEGEND_ACROSS = 7
TENTHS = 10
LONGEST_NAME = 26


def new_section(height: int) -> Image.Image:
    return Image.new("RGB", (WIDTH, height), PAPER)


def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def draw_shares_of_images(audited: AuditResult) -> Image.Image:
    """How many images have how much cloud, and how much unknown ground."""
    usable = [look for look in audited.looks if look.error is None]
    ignore = audited.dataset.ignore
    shares = {
        "Cloud": [look.cloud_share for look in usable],
        "Unknown ground (no label, or no data)": [look.find_unknown_share(ignore) for look in usable],
    }
    section = new_section(PANEL_HEIGHT + 3 * LINE)
    pen = ImageDraw.Draw(section)
    width = (WIDTH - 3 * MARGIN) // 2
    for place, (title, values) in enumerate(shares.items()):
        left = MARGIN + place * (width + MARGIN)
        mean = f"mean {np.mean(values):.1%}" if values else "no image"
        pen.text((left, 0), f"{title}: images by share of their pixels; {mean}", INK, load_font(13))
        draw_tenths(pen, values, left, width)
    pen.text((MARGIN, PANEL_HEIGHT + LINE), f"Cloud: {CLOUD_RULE}", FAINT, load_font(12))
    return section


def draw_tenths(pen: ImageDraw.ImageDraw, values: Sequence[float], left: int, width: int) -> None:
    """Bars of how many values lie in each tenth from 0 to 1; none at all has a bar of its own."""
    counts = count_tenths(values)
    step, base = width / len(counts), PANEL_HEIGHT - LINE // 2
    for place, count in enumerate(counts):
        start = left + place * step
        tall = (PANEL_HEIGHT - 3 * LINE) * count / max(1, *counts)
        pen.rectangle((start, base - tall, start + step - 4, base), fill=BAR)
        pen.text((start, base + 2), "none" if place == 0 else f"to {place * 10} %", FAINT, load_font(11))
        if count:
            pen.text((start, base - tall - 14), f"{count:,}", INK, load_font(11))


def count_tenths(values: Sequence[float]) -> list[int]:
    """How many are 0, and how many lie above each tenth and up to the next."""
    places = np.ceil(np.array(values, float) * TENTHS - 1e-9).astype(int).clip(0, TENTHS)
    counts: list[int] = np.bincount(places, minlength=TENTHS + 1).tolist()
    return counts


def draw_histograms(content: AuditContent) -> Image.Image:
    """A panel for each band, with a line for each class in its colour."""
    dataset, histograms = content.audited.dataset, content.histograms
    bands = len(histograms.edges)
    names = -(-len(dataset.classes) // LEGEND_ACROSS) if bands else 0
    section = new_section(LINE * (2 + names) + -(-bands // PANELS_ACROSS) * (PANEL_HEIGHT + LINE))
    pen = ImageDraw.Draw(section)
    title = f"Values of each band, by class, in {histograms.images:,} images (each line adds up to 1)"
    pen.text((MARGIN, 0), title, INK, load_font(13))
    if bands:
        draw_legend(pen, dataset)
    width = (WIDTH - (PANELS_ACROSS + 1) * MARGIN) // PANELS_ACROSS
    for band in range(bands):
        left = MARGIN + band % PANELS_ACROSS * (width + MARGIN)
        top = LINE * (1 + names) + band // PANELS_ACROSS * (PANEL_HEIGHT + LINE)
        draw_panel(pen, content, band, (left, top, width))
    return section


def draw_legend(pen: ImageDraw.ImageDraw, dataset: Dataset) -> None:
    step = (WIDTH - 2 * MARGIN) / LEGEND_ACROSS
    for place, entry in enumerate(dataset.classes):
        left, top = MARGIN + place % LEGEND_ACROSS * step, LINE * (1 + place // LEGEND_ACROSS)
        pen.rectangle((left, top + 3, left + 12, top + 13), fill=entry.color, outline=FAINT)
        pen.text((left + 18, top), entry.name[:LONGEST_NAME], INK, load_font(12))


def draw_panel(
    pen: ImageDraw.ImageDraw, content: AuditContent, band: int, place: tuple[int, int, int]
) -> None:
    """One band: a line for each class in a frame, with the values at both ends."""
    dataset, (left, top, width) = content.audited.dataset, place
    edges, shares = content.histograms.edges[band], content.histograms.shares[band]
    base, tall = top + PANEL_HEIGHT - LINE, PANEL_HEIGHT - 2 * LINE
    pen.text((left, top), dataset.bands[band], INK, load_font(13))
    pen.rectangle((left, top + LINE, left + width, base), outline="#dddddd")
    xs = left + (np.arange(shares.shape[1]) + 0.5) * width / shares.shape[1]
    for entry, share in zip(dataset.classes, shares, strict=True):
        if share.any():
            ys = base - tall * share / shares.max()
            pen.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=entry.color, width=2)
    pen.text((left, base + 2), f"{edges[0]:.4g}", FAINT, load_font(11))
    pen.text((left + width, base + 2), f"{edges[-1]:.4g}", FAINT, load_font(11), anchor="ra")


def draw_pairs(content: AuditContent) -> Image.Image:
    """Image and label side by side, for every class that the set has."""
    shown: dict[int, list[SamplePair]] = {}
    for pair in content.pairs:
        shown.setdefault(pair.value, []).append(pair)
    wide, high = 2 * PAIRS * (SPOT_SIDE + 6) + MARGIN, SPOT_SIDE + LINE + 8
    across = max(1, WIDTH // wide)
    section = new_section(LINE + -(-len(shown) // across) * high + LINE)
    pen = ImageDraw.Draw(section)
    pen.text((MARGIN, 0), "Image and label where there is most of each class", INK, load_font(13))
    for place, (value, pairs) in enumerate(shown.items()):
        left, top = MARGIN + place % across * wide, LINE + place // across * high
        name = content.audited.dataset.classes[value].name[:LONGEST_NAME]
        pen.text((left, top), f"{name}, up to {max(pair.share for pair in pairs):.0%}", INK, load_font(12))
        for number, pair in enumerate(pairs):
            start = left + 2 * number * (SPOT_SIDE + 6)
            for offset, picture in enumerate(draw_pair(content.audited.dataset, pair)):
                section.paste(Image.fromarray(picture), (start + offset * (SPOT_SIDE + 2), top + LINE))
    return section


def draw_pair(dataset: Dataset, pair: SamplePair) -> list[NDArray[np.uint8]]:
    """The image of a sample, and its label in the colours of the classes."""
    item = dataset.items[pair.index]
    image = read_image_info(dataset.image_path(item))
    values = read_window(image.path, pair.window)[np.array(find_bands(image, dataset.bands)) - 1]
    classes = make_label_reader(dataset, item, image)(pair.window)
    seen = stretch_colors(values[list(find_rgb_bands(dataset.bands))])
    pictures = (seen, list_colors(dataset)[classes])
    return [fit_frame((picture * 255).astype(np.uint8), SPOT_SIDE) for picture in pictures]


def list_colors(dataset: Dataset) -> NDArray[np.float32]:
    """A colour for every byte: the classes' own, grey for what is not known."""
    colors = np.full((256, 3), 0.5, np.float32)
    for value, entry in enumerate(dataset.classes):
        colors[value] = np.array(entry.rgb) / 255
    return colors


def fit_frame(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Small pieces are enlarged, pixel by pixel, to fill their frame."""
    times = max(1, side // max(pixels.shape[:2]))
    large = pixels.repeat(times, axis=0).repeat(times, axis=1)[:side, :side]
    frame = np.full((side, side, 3), 240, np.uint8)
    frame[: large.shape[0], : large.shape[1]] = large
    return frame
