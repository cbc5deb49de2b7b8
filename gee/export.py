"""An export from beginning to end: one grid, every layer on it, a record beside each file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import shapely

from gee import provenance
from gee.area import Area
from gee.batch import Destination
from gee.catalogue import ESM
from gee.expressions import Period
from gee.fetching import Fetching
from gee.geotiff import Form, made_of, short
from gee.lattice import touches
from gee.layers import Layer, Survey, label_layer
from gee.patience import Patience
from gee.session import Access, Session, session
from gee.settlement import Settlement
from gee.tiles import plan, request_bytes
from gee.wish import Wish
from geoseg.errors import InputError
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import Grid, Window, crs_name

MOST_PIXELS = 10_000_000_000


@dataclass(frozen=True)
class Manner:
    """How it is to be fetched."""

    access: Access
    destination: Destination
    workers: int = 8
    hours: float = 12.0
    overwrite: bool = False


@dataclass(frozen=True)
class Export:
    """One grid over an area, and the folder its files go to."""

    area: Area
    grid: Grid
    out: Path
    manner: Manner
    narrator: Narrator = QUIET

    def __post_init__(self) -> None:
        if self.manner.destination.is_direct and self.grid.height * self.grid.width > MOST_PIXELS:
            raise InputError(
                f"{self.area.name} makes {short(self.grid)}, more than can sensibly be fetched tile by tile; use "
                "--via gcs, a larger --scale, or a smaller area"
            )

    def path(self, name: str) -> Path:
        return self.out / f"{name}.tif"

    def tiles(self, layer: Layer) -> list[Window]:
        """The tiles of a layer that hold ground of the area."""
        shape = self.area.within(self.grid.crs)
        shapely.prepare(shape)
        return [window for window in plan(self.grid, layer.first_side) if touches(self.grid, shape, window)]

    def form(self, layer: Layer) -> Form:
        return Form(self.grid, layer.bands, layer.pixels, layer.is_picture)

    def estimate(self, layer: Layer) -> dict[str, Any]:
        """What a layer will take."""
        tiles = self.tiles(layer)
        return {
            "layer": layer.name,
            "bands": layer.names,
            "dtype": layer.pixels.dtype,
            "tiles": len(tiles),
            "tile_side": layer.first_side,
            "requests": len(tiles),
            "bytes": sum(request_bytes(tile, layer.dtypes) for tile in tiles),
        }

    def fetch(self, layer: Layer, earth: Session) -> dict[str, Any]:
        """One layer, from the question to the finished file."""
        order = self.order(layer, earth)
        path = self.path(layer.name)
        if self.is_there(path, order.sha256):
            return {"layer": layer.name, "path": str(path), "already_there": True}
        return order.bring(self.tiles(layer)) if order.destination.comes_here else order.leave_there()

    def order(self, layer: Layer, earth: Session) -> Fetching:
        """A layer with its expression and hash, ready to be asked for."""
        image = layer.recipe.image(self.grid)
        expression = provenance.expression_of(image)
        sha256 = provenance.settings_hash(expression, self.form(layer))
        form = replace(self.form(layer), tags=provenance.tags(layer, sha256))
        facts = provenance.origin_facts(earth, layer, expression, sha256)
        destination = self.manner.destination
        return Fetching(layer, image, form, facts, earth, destination, self.out, self.narrator)

    def is_there(self, path: Path, sha256: str) -> bool:
        """Whether a finished file was made with the same settings; one of other settings is not overwritten."""
        made = made_of(path)
        if made is None or self.manner.overwrite:
            return False
        if made != sha256:
            raise InputError(
                f"{path} exists and was made with other settings; use --overwrite or another --out"
            )
        self.narrator.say(f"{path} is already there, made with the same settings")
        return True

    def warp(self, settlement: Settlement) -> dict[str, Any]:
        """The settlement map from files, on the same grid."""
        layer = label_layer(ESM, settlement.marking, Period(ESM.first, ESM.last or ESM.first))
        sha256 = provenance.settings_hash({"settlement": settlement.sha256}, self.form(layer))
        path = self.path(layer.name)
        if self.is_there(path, sha256):
            return {"layer": layer.name, "path": str(path), "already_there": True}
        form = replace(self.form(layer), tags=provenance.tags(layer, sha256))
        settlement.write(form, path)
        facts = {"geoseg:sha256": sha256, "geoseg:recipe": dict(settlement.story)}
        provenance.write_item(path.with_suffix(".json"), provenance.item(layer, form, Survey(), facts))
        return {"layer": layer.name, "path": str(path), "requests": 0}


def dry_run(exports: Sequence[Export], wish: Wish) -> dict[str, Any]:
    """What the exports would take. Asks Earth Engine only about assets that are in no catalogue."""
    with connection(exports, wish if wish.asset else Wish(wish.period)) as earth:
        layers = wish.layers(earth) if earth else wish.known_layers()
        return summary(exports, lambda export: [export.estimate(layer) for layer in layers])


def run(exports: Sequence[Export], wish: Wish) -> dict[str, Any]:
    """Export everything wished for, on each grid."""
    with connection(exports, wish) as earth:
        return summary(exports, lambda export: list(layers_of(export, wish, earth)))


def summary(exports: Sequence[Export], layers: Callable[[Export], list[dict[str, Any]]]) -> dict[str, Any]:
    """The outcome for programs: each grid, and what became of its layers."""
    return {"exports": [{**described(export), "layers": layers(export)} for export in exports]}


def layers_of(export: Export, wish: Wish, earth: Session | None) -> Iterator[dict[str, Any]]:
    """Fetch layer by layer; the map from files comes first, for it costs no request and may be refused."""
    prepare_folder(export, wish)
    for line in wish.outdated:
        export.narrator.warn(line)
    if wish.settlement:
        yield export.warp(wish.settlement)
    if earth:
        for layer in wish.layers(earth):
            yield export.fetch(layer, earth)


def described(export: Export) -> dict[str, Any]:
    """An export's grid, for the summary."""
    grid = export.grid
    return {
        "out": str(export.out),
        "crs": crs_name(grid.crs),
        "width": grid.width,
        "height": grid.height,
        "transform": list(grid.transform[:6]),
    }


@contextmanager
def connection(exports: Sequence[Export], wish: Wish) -> Iterator[Session | None]:
    """A session, if anything is asked of Earth Engine."""
    manner, narrator = exports[0].manner, exports[0].narrator
    if not wish.needs_earth_engine:
        yield None
        return
    with session(manner.access, manner.workers, Patience(manner.hours, tell=narrator.say), narrator) as earth:
        yield earth


def prepare_folder(export: Export, wish: Wish) -> None:
    """Make the folder, and say early if it cannot hold what comes."""
    try:
        export.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {export.out} cannot be made a folder: {error.strerror}") from None
    if not export.manner.destination.is_direct:
        return
    needed = sum(export.estimate(layer)["bytes"] for layer in wish.known_layers())
    free = shutil.disk_usage(export.out).free
    if needed > free:
        export.narrator.warn(
            f"{export.out} has {free / 1e9:.1f} GB free; up to {needed / 1e9:.1f} GB may be needed on the way"
        )
