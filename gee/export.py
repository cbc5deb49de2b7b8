"""An export from beginning to end: what is asked for, one grid, every layer on it, a STAC item beside each file."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import shapely

from gee.batch import FILE_SIDE, Destination
from gee.catalogue import ESM, IMAGERY, LABELS, SENTINEL2_LATTICE_M, Imagery, Label
from gee.download import (
    LayerDownload,
    compute_settings_hash,
    encode_expression,
    make_item,
    make_origin_fields,
    make_tags,
    write_item,
)
from gee.errors import RetryPolicy
from gee.esm import SettlementMap
from gee.expressions import CompositeOptions, Marking, Period
from gee.geotiff import GeoTiffFormat, describe_grid, read_settings_hash
from gee.grid import Area, count_request_bytes, plan_tiles, touches_shape
from gee.layers import (
    UNLISTED,
    Asset,
    ExportLayer,
    LayerScenes,
    make_imagery_layer,
    make_label_layer,
    make_looks_layer,
)
from gee.session import Access, Session, open_session
from geoseg.errors import InputError
from geoseg.raster.grid import Grid, Window, format_crs

log = logging.getLogger(__name__)


def find_imagery(name: str) -> Imagery:
    """The imagery of this name."""
    if name not in IMAGERY:
        raise InputError(f"there is no source {name}; choose from {', '.join(IMAGERY)}")
    return IMAGERY[name]


def find_label(name: str) -> Label:
    """The label of this name."""
    if name not in LABELS:
        raise InputError(f"there is no label {name}; choose from {', '.join(LABELS)}")
    return LABELS[name]


@dataclass(frozen=True)
class ExportRequest:
    """Everything that is to lie on one grid."""

    period: Period
    source: Imagery | None = None
    look: CompositeOptions | None = None
    labels: tuple[Label, ...] = ()
    marking: Marking = field(default_factory=Marking)
    settlement: SettlementMap | None = None
    asset: Asset | None = None
    counts_looks: bool = False
    given_scale_m: float | None = None

    def known_layers(self) -> list[ExportLayer]:
        """The layers that need no question to Earth Engine to be known."""
        layers = []
        if self.source and self.look:
            layers.append(make_imagery_layer(self.source, self.look))
            if self.counts_looks:
                layers.append(make_looks_layer(self.source, self.look))
        return layers + [make_label_layer(label, self.marking, self.period) for label in self.labels]

    @property
    def date_warnings(self) -> list[str]:
        """Labels that show other years than the pictures, in words."""
        if self.source is None:
            return []
        return [
            f"the label {label.name} shows {label.first.year}, the pictures {self.period}: what was built or torn "
            "down between them is labelled wrongly"
            for label in self.labels
            if label.is_of_one_date and not self.period.is_near(label.first, label.last)
        ]

    def layers(self, earth: Session) -> list[ExportLayer]:
        """Every layer that Earth Engine makes."""
        return self.known_layers() + ([self.asset.layer(earth)] if self.asset else [])

    @property
    def scale_m(self) -> float:
        """The pixel size: the one given, else the picture's own, else the first label's."""
        if self.given_scale_m is not None:
            return self.given_scale_m
        sources = [*filter(None, [self.source]), *self.labels, UNLISTED]
        return sources[0].scale_m

    @property
    def lattice_m(self) -> float | None:
        """What grids keep to: Sentinel-2's own, so that labels exported alone fit; photographs have none."""
        return self.source.lattice_m if self.source else SENTINEL2_LATTICE_M

    @property
    def needs_earth_engine(self) -> bool:
        return bool(self.source or self.labels or self.asset)


MOST_PIXELS = 10_000_000_000
LEAST_SIDE = 16
"""Smaller tiles are little but requests."""


@dataclass(frozen=True)
class TransferOptions:
    """How it is to be fetched."""

    access: Access
    destination: Destination
    workers: int = 8
    hours: float = 12.0
    overwrite: bool = False
    most_side: int | None = None
    """The largest side of a tile, and of a file that a batch task writes."""

    def __post_init__(self) -> None:
        if self.most_side is not None and not LEAST_SIDE <= self.most_side <= FILE_SIDE:
            raise InputError(f"--tile {self.most_side}: must be from {LEAST_SIDE} to {FILE_SIDE} pixels")


@dataclass(frozen=True)
class Export:
    """One grid over an area, and the folder its files go to."""

    area: Area
    grid: Grid
    out: Path
    options: TransferOptions

    def __post_init__(self) -> None:
        if self.options.destination.is_direct and self.grid.height * self.grid.width > MOST_PIXELS:
            raise InputError(
                f"{self.area.name} makes {describe_grid(self.grid)}, more than can sensibly be fetched tile by tile; use "
                "--via gcs, a larger --scale, or a smaller area"
            )

    def path(self, name: str) -> Path:
        return self.out / f"{name}.tif"

    def tiles(self, layer: ExportLayer) -> list[Window]:
        """The tiles of a layer that hold ground of the area."""
        shape = self.area.within(self.grid.crs)
        shapely.prepare(shape)
        return [
            window
            for window in plan_tiles(self.grid, layer.choose_side(self.options.most_side))
            if touches_shape(self.grid, shape, window)
        ]

    def form(self, layer: ExportLayer) -> GeoTiffFormat:
        return GeoTiffFormat(self.grid, layer.bands, layer.pixels, layer.is_picture)

    def estimate(self, layer: ExportLayer) -> dict[str, Any]:
        """What a layer will take."""
        tiles = self.tiles(layer)
        return {
            "layer": layer.name,
            "bands": layer.names,
            "dtype": layer.pixels.dtype,
            "tiles": len(tiles),
            "tile_side": layer.choose_side(self.options.most_side),
            "requests": len(tiles),
            "bytes": sum(count_request_bytes(tile, layer.dtypes) for tile in tiles),
        }

    def fetch(self, layer: ExportLayer, earth: Session) -> dict[str, Any]:
        """One layer, from the question to the finished file."""
        order = self.order(layer, earth)
        path = self.path(layer.name)
        if self.is_there(path, order.sha256):
            order.parts.clear()  # a run that was killed in its last moment leaves them
            return {"layer": layer.name, "path": str(path), "already_there": True}
        return (
            order.fetch_to_file(self.tiles(layer))
            if order.destination.is_fetchable
            else order.export_remotely()
        )

    def order(self, layer: ExportLayer, earth: Session) -> LayerDownload:
        """A layer with its expression and hash, ready to be asked for."""
        image = layer.recipe.image(self.grid)
        expression = encode_expression(image)
        sha256 = compute_settings_hash(expression, self.form(layer))
        form = replace(self.form(layer), tags=make_tags(layer, sha256))
        facts = make_origin_fields(earth, layer, expression, sha256)
        destination = self.options.destination
        return LayerDownload(layer, image, form, facts, earth, destination, self.out, self.options.most_side)

    def is_there(self, path: Path, sha256: str) -> bool:
        """Whether a finished file was made with the same settings; one of other settings is not overwritten."""
        made = read_settings_hash(path)
        if made is None or self.options.overwrite:
            return False
        if made != sha256:
            raise InputError(
                f"{path} exists and was made with other settings; use --overwrite or another --out"
            )
        log.info(f"{path} is already there, made with the same settings")
        return True

    def warp(self, settlement: SettlementMap) -> dict[str, Any]:
        """The settlement map from files, on the same grid."""
        layer = make_label_layer(ESM, settlement.marking, Period(ESM.first, ESM.last or ESM.first))
        sha256 = compute_settings_hash({"settlement": settlement.sha256}, self.form(layer))
        path = self.path(layer.name)
        if self.is_there(path, sha256):
            return {"layer": layer.name, "path": str(path), "already_there": True}
        form = replace(self.form(layer), tags=make_tags(layer, sha256))
        settlement.write(form, path)
        facts = {"geoseg:sha256": sha256, "geoseg:recipe": dict(settlement.metadata)}
        write_item(path.with_suffix(".json"), make_item(layer, form, LayerScenes(), facts))
        return {"layer": layer.name, "path": str(path), "requests": 0}


def estimate_exports(exports: Sequence[Export], request: ExportRequest) -> dict[str, Any]:
    """What the exports would take. Asks Earth Engine only about assets that are in no catalogue."""
    with open_connection(exports, request if request.asset else ExportRequest(request.period)) as earth:
        layers = request.layers(earth) if earth else request.known_layers()
        return summarize_exports(exports, lambda export: [export.estimate(layer) for layer in layers])


def run_exports(exports: Sequence[Export], request: ExportRequest) -> dict[str, Any]:
    """Export everything asked for, on each grid."""
    with open_connection(exports, request) as earth:
        return summarize_exports(exports, lambda export: list(fetch_layers(export, request, earth)))


def summarize_exports(
    exports: Sequence[Export], layers: Callable[[Export], list[dict[str, Any]]]
) -> dict[str, Any]:
    """The outcome for programs: each grid, and what became of its layers."""
    return {"exports": [{**describe_export(export), "layers": layers(export)} for export in exports]}


def fetch_layers(export: Export, request: ExportRequest, earth: Session | None) -> Iterator[dict[str, Any]]:
    """Fetch layer by layer; the map from files comes first, for it costs no request and may be refused."""
    prepare_folder(export, request)
    for line in request.date_warnings:
        log.warning(line)
    if request.settlement:
        yield export.warp(request.settlement)
    if earth:
        for layer in request.layers(earth):
            yield export.fetch(layer, earth)


def describe_export(export: Export) -> dict[str, Any]:
    """An export's grid, for the summary."""
    grid = export.grid
    return {
        "out": str(export.out),
        "crs": format_crs(grid.crs),
        "width": grid.width,
        "height": grid.height,
        "transform": list(grid.transform[:6]),
    }


@contextmanager
def open_connection(exports: Sequence[Export], request: ExportRequest) -> Iterator[Session | None]:
    """A session, if anything is asked of Earth Engine."""
    transfer = exports[0].options
    if not request.needs_earth_engine:
        yield None
        return
    with open_session(transfer.access, transfer.workers, RetryPolicy(transfer.hours)) as earth:
        yield earth


def prepare_folder(export: Export, request: ExportRequest) -> None:
    """Make the folder, and say early if it cannot hold what comes."""
    try:
        export.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {export.out} cannot be made a folder: {error.strerror}") from None
    if not export.options.destination.is_direct:
        return
    needed = sum(export.estimate(layer)["bytes"] for layer in request.known_layers())
    free = shutil.disk_usage(export.out).free
    if needed > free:
        log.warning(
            f"{export.out} has {free / 1e9:.1f} GB free; up to {needed / 1e9:.1f} GB may be needed on the way"
        )
