"""Fetching training pairs: the label of the whole area first, then pictures only where they are wanted."""

from __future__ import annotations

import csv
import io
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from gee.catalogue import ESM, Imagery
from gee.export import Export, connection, described, prepare_folder
from gee.expressions import Look
from gee.fetching import Fetching
from gee.geotiff import Form, as_rasterio, beside, gathered
from gee.layers import imagery_layer, label_layer
from gee.pairs import (
    INDEX_HEADER,
    MOST_BLANK,
    Chip,
    PairRule,
    blank_share,
    built_shares,
    candidates,
    index_line,
)
from gee.parts import write_whole
from gee.session import Session
from gee.tiles import request_bytes
from gee.wish import Wish
from geoseg.errors import InputError
from geoseg.raster.grid import Window

INDEX = "pairs.csv"


@dataclass(frozen=True)
class Pairing:
    """Pictures, and a label that is there already, to be cut into pairs."""

    export: Export
    rule: PairRule
    pictures: Fetching
    label: Path
    label_form: Form

    def write(self) -> dict[str, int]:
        """Fetch and write every pair, and list them; how many there are in each folder."""
        chips = candidates(built_shares(self.label, self.rule.side), self.rule)
        with self.pictures.parts.locked():
            kept = {
                split: self.fill(split, wanted, deque(chips[split]))
                for split, wanted in self.rule.wanted.items()
            }
            self.list_all(kept)
        self.pictures.parts.clear()
        return {split: len(chosen) for split, chosen in kept.items()}

    def fill(self, split: str, wanted: int, waiting: deque[Chip]) -> list[Chip]:
        """As many pairs as are wanted, passing over places where the picture has gaps."""
        kept: list[Chip] = []
        while waiting and len(kept) < wanted:
            drawn = [waiting.popleft() for _ in range(min(wanted - len(kept), len(waiting)))]
            self.pictures.tile_by_tile([chip.window for chip in drawn])
            tiles = self.pictures.parts.finished()
            kept += [chip for chip in drawn if self.cut(split, chip, tiles)]
        if len(kept) < wanted:
            self.export.narrator.warn(
                f"only {len(kept)} of {wanted} pairs for {split}: the area holds no more that fit; widen --built, "
                "use a larger area or a smaller --chip"
            )
        return kept

    def cut(self, split: str, chip: Chip, tiles: Mapping[Window, Path]) -> bool:
        """Write one pair, unless the picture has gaps there."""
        picture = gathered(tiles, self.pictures.form, chip.window)
        if blank_share(picture, self.pictures.form.pixels.nodata) > MOST_BLANK:
            return False
        with rasterio.open(self.label) as label:
            codes = label.read(window=as_rasterio(chip.window))
        folder = self.export.out / split
        save(picture, self.pictures.form.window(chip.window), folder / "images" / f"{chip.name}.tif")
        save(codes, self.label_form.window(chip.window), folder / "labels" / f"{chip.name}.tif")
        return True

    def list_all(self, kept: Mapping[str, list[Chip]]) -> None:
        """Write the index: every pair with its folder, place, built share and edges."""
        table = io.StringIO()
        lines = csv.writer(table, lineterminator="\n")
        lines.writerow(INDEX_HEADER)
        for split, chips in kept.items():
            lines.writerows(index_line(split, chip, self.export.grid) for chip in chips)
        write_whole(self.export.out / INDEX, table.getvalue().encode())


def save(pixels: NDArray[np.generic], form: Form, path: Path) -> None:
    """One chip as a GeoTIFF, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path, "chip") as unfinished:
        with rasterio.open(unfinished, "w", **form.profile, compress="deflate") as target:
            target.write(pixels)
            target.descriptions = [band.name for band in form.bands]
            target.scales = [form.pixels.scale] * len(form.bands)
        os.replace(unfinished, path)


def check(wish: Wish, export: Export) -> tuple[Imagery, Look]:
    """The pictures to make, if there is one mask to pair them with."""
    labels = len(wish.labels) + (wish.settlement is not None)
    if wish.source is None or wish.look is None or labels != 1:
        raise InputError(
            "--pairs needs one --source and one --label, for example --label ghsl or --label esm:FOLDER"
        )
    if not wish.marking.as_mask or not export.manner.destination.is_direct:
        raise InputError("--pairs writes masks and fetches them directly: leave out --label-values and --via")
    return wish.source, wish.look


def dry_run_pairs(export: Export, wish: Wish, rule: PairRule) -> dict[str, Any]:
    """What pairs would take: the label of the whole area, and one request for each picture."""
    check(wish, export)
    picture, *labels = (export.estimate(layer) for layer in wish.known_layers())
    chip = request_bytes(Window(0, 0, rule.side, rule.side), [picture["dtype"]] * len(picture["bands"]))
    each = {"tiles": rule.count, "requests": rule.count, "tile_side": rule.side, "bytes": rule.count * chip}
    return {**described(export), "layers": [*labels, {**picture, **each}]}


def run_pairs(export: Export, wish: Wish, rule: PairRule) -> dict[str, Any]:
    """Write training pairs over an area; its label stays beside them as one file."""
    source, look = check(wish, export)
    prepare_folder(export, wish)
    with connection([export], wish) as earth:
        if earth is None:
            raise AssertionError
        label = wish.labels[0] if wish.labels else ESM
        label_form = export.form(label_layer(label, wish.marking, wish.period))
        label_path = write_label(export, wish, earth)
        pictures = export.order(imagery_layer(source, look), earth)
        pictures.record(pictures.survey(), f"./{INDEX}")
        counts = Pairing(export, rule, pictures, label_path, label_form).write()
    return {**described(export), "pairs": counts, "index": str(export.out / INDEX)}


def write_label(export: Export, wish: Wish, earth: Session) -> Path:
    """The label of the whole area, from which places are chosen."""
    if wish.settlement:
        return Path(export.warp(wish.settlement)["path"])
    return Path(export.fetch(label_layer(wish.labels[0], wish.marking, wish.period), earth)["path"])
