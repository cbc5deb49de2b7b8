"""Pairs of small images and labels for training: the label of the whole area first, then images only where they are wanted."""

from __future__ import annotations

import csv
import io
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from gee.catalogue import ESM, Imagery
from gee.download import LayerDownload
from gee.export import Export, ExportRequest, describe_export, open_connection, prepare_folder
from gee.expressions import CompositeOptions
from gee.geotiff import GeoTiffFormat, make_rasterio_window, read_tiles
from gee.grid import count_request_bytes
from gee.layers import make_imagery_layer, make_label_layer
from gee.session import Session
from geoseg.errors import GeosegError, InputError
from geoseg.io.atomic import replace_text
from geoseg.raster.grid import Grid, Window
from geoseg.raster.source import replace_raster

log = logging.getLogger(__name__)

NOTHING = 255
MOST_BLANK = 0.05
PLACE_SIDE = 4
FEWEST_PLACES = 10


@dataclass(frozen=True)
class PairRule:
    """Which chips are wanted: how many, how large, how much built, and how many for validation."""

    count: int
    seed: int = 0
    side: int = 300
    least_built: float = 0.17
    most_built: float = 0.85
    validation: float = 0.2

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1_000_000:
            raise InputError(f"--pairs {self.count} must lie between 1 and 1000000")
        if not 16 <= self.side <= 4096:
            raise InputError(f"--chip {self.side} must lie between 16 and 4096 pixels")
        if not 0 <= self.least_built < self.most_built <= 1:
            raise InputError("--built must be two percentages from 0 to 100, the lower first: --built 17,85")
        if not 0 <= self.validation < 1:
            raise InputError(f"--validation {self.validation * 100:g} must lie between 0 and 100 percent")

    @property
    def wanted(self) -> dict[str, int]:
        """How many pairs go to which folder."""
        validation = round(self.count * self.validation)
        return {"train": self.count - validation, "validation": validation}


@dataclass(frozen=True)
class Chip:
    """One pair: where it lies in the grid, the place it belongs to, and how much of it is built."""

    window: Window
    place: int
    built: float

    @property
    def name(self) -> str:
        return f"{self.window.row:07d}_{self.window.col:07d}"


def measure_built_shares(label: Path, side: int) -> NDArray[np.float64]:
    """How much of each chip of a label is built, row by row; not a number where too much is unknown."""
    with rasterio.open(label) as mask:
        rows, cols = mask.height // side, mask.width // side
        if not rows or not cols:
            raise InputError(
                f"an area of {mask.width} x {mask.height} pixels holds no chip of {side}: use --chip"
            )
        shares = [measure_row_shares(mask, Window(row * side, 0, side, cols * side)) for row in range(rows)]
    return np.array(shares)


def measure_row_shares(mask: rasterio.DatasetReader, strip: Window) -> NDArray[np.float64]:
    """The shares of one row of chips."""
    try:
        codes = mask.read(1, window=make_rasterio_window(strip))
    except RasterioError as error:
        raise GeosegError(
            f"{mask.name} is damaged: {error}; delete it and run the same command again"
        ) from None
    chips = codes.reshape(strip.height, -1, strip.height)
    known = (chips != NOTHING).mean(axis=(0, 2))
    built = (chips == 1).sum(axis=(0, 2)) / np.maximum((chips != NOTHING).sum(axis=(0, 2)), 1)
    return np.where(known >= 1 - MOST_BLANK, built, np.nan)


def draw_candidates(shares: NDArray[np.float64], rule: PairRule) -> dict[str, list[Chip]]:
    """All chips that fit, in the order in which they are drawn, for training and for validation."""
    fits = (shares >= rule.least_built) & (shares <= rule.most_built)
    if not fits.any():
        raise InputError(
            f"none of the {shares.size} chips is {rule.least_built:.0%} to {rule.most_built:.0%} built: they run "
            f"{describe_range(shares)}; widen --built, or choose another area"
        )
    draw = np.random.default_rng(rule.seed)
    places = number_places(shares.shape)
    apart = draw_validation_chips(fits, places, rule.validation, draw)
    splits = {"train": fits & ~add_neighbours(apart), "validation": fits & apart}
    return {
        split: list(draw_chips(chosen, shares, places, rule.side, draw)) for split, chosen in splits.items()
    }


def describe_range(shares: NDArray[np.float64]) -> str:
    """The range of shares in words."""
    if np.isnan(shares).all():
        return "over ground that the label does not know"
    return f"from {np.nanmin(shares):.0%} to {np.nanmax(shares):.0%}"


def number_places(shape: tuple[int, int]) -> NDArray[np.int64]:
    """A number for each chip: neighbours in a block share it."""
    side = next((side for side in range(PLACE_SIDE, 1, -1) if count_blocks(shape, side) >= FEWEST_PLACES), 1)
    rows, cols = np.indices(shape)
    return np.asarray(rows // side * -(-shape[1] // side) + cols // side, np.int64)


def count_blocks(shape: tuple[int, int], side: int) -> int:
    """How many blocks of this side there are."""
    return -(-shape[0] // side) * -(-shape[1] // side)


def draw_validation_chips(
    fits: NDArray[np.bool_], places: NDArray[np.int64], share: float, draw: np.random.Generator
) -> NDArray[np.bool_]:
    """The chips of whole places, drawn until they hold the share for validation."""
    order = draw.permutation(np.unique(places[fits]))
    counts = np.array([(places[fits] == place).sum() for place in order])
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.isin(places, order[before < share * fits.sum()])


def add_neighbours(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The chips and all their neighbours, so that what is left lies a whole chip away."""
    rows, cols = chosen.shape
    padded = np.pad(chosen, 1)
    shifts = [padded[row : row + rows, col : col + cols] for row in range(3) for col in range(3)]
    return np.asarray(np.any(shifts, axis=0))


def draw_chips(
    chosen: NDArray[np.bool_],
    shares: NDArray[np.float64],
    places: NDArray[np.int64],
    side: int,
    draw: np.random.Generator,
) -> Iterator[Chip]:
    """The chosen chips in random order."""
    for row, col in draw.permutation(np.argwhere(chosen)):
        window = Window(int(row) * side, int(col) * side, side, side)
        yield Chip(window, int(places[row, col]), float(shares[row, col]))


def measure_blank_share(pixels: NDArray[np.generic], nodata: float) -> float:
    """How much of a picture is nodata in any band."""
    return float((pixels == nodata).any(axis=0).mean())


def format_index_row(split: str, chip: Chip, grid: Grid) -> list[str]:
    """A chip's line in the index."""
    left, bottom, right, top = grid.window(chip.window).bounds
    edges = [f"{edge:.10g}" for edge in (left, bottom, right, top)]
    return [split, chip.name, str(chip.place), f"{chip.built:.4f}", *edges]


INDEX_HEADER = ["split", "name", "place", "built_share", "left", "bottom", "right", "top"]


INDEX_FILE = "pairs.csv"


@dataclass(frozen=True)
class PairExport:
    """Pictures, and a label that is there already, to be cut into pairs."""

    export: Export
    rule: PairRule
    pictures: LayerDownload
    label: Path
    label_form: GeoTiffFormat

    def write(self) -> dict[str, int]:
        """Fetch and write every pair, and list them; how many there are in each folder."""
        chips = draw_candidates(measure_built_shares(self.label, self.rule.side), self.rule)
        with self.pictures.parts.locked():
            kept = {
                split: self.fill(split, wanted, deque(chips[split]))
                for split, wanted in self.rule.wanted.items()
            }
            self.write_index(kept)
        self.pictures.parts.clear()
        return {split: len(chosen) for split, chosen in kept.items()}

    def fill(self, split: str, wanted: int, waiting: deque[Chip]) -> list[Chip]:
        """As many pairs as are wanted, passing over places where the picture has gaps."""
        kept: list[Chip] = []
        while waiting and len(kept) < wanted:
            drawn = [waiting.popleft() for _ in range(min(wanted - len(kept), len(waiting)))]
            self.pictures.fetch_tiles([chip.window for chip in drawn])
            tiles = self.pictures.parts.finished()
            kept += [chip for chip in drawn if self.cut(split, chip, tiles)]
        if len(kept) < wanted:
            log.warning(
                f"only {len(kept)} of {wanted} pairs for {split}: the area holds no more that fit; widen --built, "
                "use a larger area or a smaller --chip"
            )
        return kept

    def cut(self, split: str, chip: Chip, tiles: Mapping[Window, Path]) -> bool:
        """Write one pair, unless the picture has gaps there."""
        picture = read_tiles(tiles, self.pictures.form, chip.window)
        if measure_blank_share(picture, self.pictures.form.pixels.nodata) > MOST_BLANK:
            return False
        with rasterio.open(self.label) as label:
            codes = label.read(window=make_rasterio_window(chip.window))
        folder = self.export.out / split
        write_chip(picture, self.pictures.form.window(chip.window), folder / "images" / f"{chip.name}.tif")
        write_chip(codes, self.label_form.window(chip.window), folder / "labels" / f"{chip.name}.tif")
        return True

    def write_index(self, kept: Mapping[str, list[Chip]]) -> None:
        """Write the index: every pair with its folder, place, built share and edges."""
        table = io.StringIO()
        lines = csv.writer(table, lineterminator="\n")
        lines.writerow(INDEX_HEADER)
        for split, chips in kept.items():
            lines.writerows(format_index_row(split, chip, self.export.grid) for chip in chips)
        replace_text(self.export.out / INDEX_FILE, table.getvalue())


def write_chip(pixels: NDArray[np.generic], form: GeoTiffFormat, path: Path) -> None:
    """One chip as a GeoTIFF, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        replace_raster(path) as unfinished,
        rasterio.open(unfinished, "w", **form.profile, compress="deflate") as target,
    ):
        target.write(pixels)
        target.descriptions = [band.name for band in form.bands]
        target.scales = [form.pixels.scale] * len(form.bands)


def check_pair_request(request: ExportRequest, export: Export) -> tuple[Imagery, CompositeOptions]:
    """The pictures to make, if there is one mask to pair them with."""
    labels = len(request.labels) + (request.settlement is not None)
    if request.source is None or request.look is None or labels != 1:
        raise InputError(
            "--pairs needs one --source and one --label, for example --label ghsl or --label esm:FOLDER"
        )
    if not request.marking.as_mask or not export.options.destination.is_direct:
        raise InputError("--pairs writes masks and fetches them directly: leave out --label-values and --via")
    return request.source, request.look


def estimate_pairs(export: Export, request: ExportRequest, rule: PairRule) -> dict[str, Any]:
    """What pairs would take: the label of the whole area, and one request for each picture."""
    check_pair_request(request, export)
    picture, *labels = (export.estimate(layer) for layer in request.known_layers())
    chip = count_request_bytes(Window(0, 0, rule.side, rule.side), [picture["dtype"]] * len(picture["bands"]))
    each = {"tiles": rule.count, "requests": rule.count, "tile_side": rule.side, "bytes": rule.count * chip}
    return {**describe_export(export), "layers": [*labels, {**picture, **each}]}


def export_pairs(export: Export, request: ExportRequest, rule: PairRule) -> dict[str, Any]:
    """Write training pairs over an area; its label stays beside them as one file."""
    source, look = check_pair_request(request, export)
    prepare_folder(export, request)
    with open_connection([export], request) as earth:
        if earth is None:
            raise AssertionError
        label = request.labels[0] if request.labels else ESM
        label_form = export.form(make_label_layer(label, request.marking, request.period))
        label_path = write_label(export, request, earth)
        pictures = export.order(make_imagery_layer(source, look), earth)
        pictures.record(pictures.find_scenes(), f"./{INDEX_FILE}")
        counts = PairExport(export, rule, pictures, label_path, label_form).write()
    return {**describe_export(export), "pairs": counts, "index": str(export.out / INDEX_FILE)}


def write_label(export: Export, request: ExportRequest, earth: Session) -> Path:
    """The label of the whole area, from which places are chosen."""
    if request.settlement:
        return Path(export.warp(request.settlement)["path"])
    return Path(
        export.fetch(make_label_layer(request.labels[0], request.marking, request.period), earth)["path"]
    )
