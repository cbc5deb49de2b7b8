"""An export from beginning to end: one grid, every layer on it, a record beside each file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import ee
import shapely

from gee import batch, provenance
from gee.area import Area
from gee.catalogue import ESM, SENTINEL2_LATTICE_M, Imagery, Label
from gee.download import Download, Statistics
from gee.expressions import Look, Marking, Period
from gee.geotiff import Form, assemble, made_of, short
from gee.lattice import touches
from gee.layers import UNLISTED, Asset, Layer, Survey, imagery_layer, label_layer, looks_layer
from gee.parts import Parts
from gee.patience import Patience
from gee.session import Access, Session, session
from gee.settlement import Settlement
from gee.tiles import Appetite, plan, request_bytes
from geoseg.errors import InputError
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import Grid, Window, crs_name

MOST_PIXELS = 10_000_000_000
MANY_TILES = 500


@dataclass(frozen=True)
class Wish:
    """What is to be exported: a picture, labels, or any asset."""

    period: Period
    source: Imagery | None = None
    look: Look | None = None
    labels: tuple[Label, ...] = ()
    marking: Marking = field(default_factory=Marking)
    settlement: Settlement | None = None
    asset: Asset | None = None
    counts_looks: bool = False
    given_scale_m: float | None = None

    def known_layers(self) -> list[Layer]:
        """The layers that need no question to Earth Engine to be known."""
        layers = []
        if self.source and self.look:
            layers.append(imagery_layer(self.source, self.look))
            if self.counts_looks:
                layers.append(looks_layer(self.source, self.look))
        return layers + [label_layer(label, self.marking, self.period) for label in self.labels]

    def layers(self, earth: Session) -> list[Layer]:
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


@dataclass(frozen=True)
class Manner:
    """How it is to be fetched."""

    access: Access
    destination: batch.Destination
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
        if self.is_direct and self.grid.height * self.grid.width > MOST_PIXELS:
            raise InputError(
                f"{self.area.name} makes {short(self.grid)}, more than can sensibly be fetched tile by tile; use "
                "--via gcs, a larger --scale, or a smaller area"
            )

    @property
    def is_direct(self) -> bool:
        return self.manner.destination.via == "direct"

    @property
    def comes_here(self) -> bool:
        """Whether the result can be fetched, rather than lie where only the user can reach it."""
        return self.manner.destination.via in {"direct", "gcs"}

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
        survey = layer.recipe.survey(earth, self.grid, self.narrator)
        return order.bring(survey) if self.comes_here else order.leave_there(survey)

    def order(self, layer: Layer, earth: Session) -> Fetching:
        """A layer with its expression and hash, ready to be asked for."""
        image = layer.recipe.image(self.grid)
        expression = provenance.expression_of(image)
        sha256 = provenance.settings_hash(expression, self.form(layer))
        form = replace(self.form(layer), tags=provenance.tags(layer, sha256))
        facts = provenance.origin_facts(earth, layer, expression, sha256)
        return Fetching(self, layer, earth, image, form, facts)

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


@dataclass(frozen=True)
class Fetching:
    """One layer being fetched."""

    export: Export
    layer: Layer
    earth: Session
    image: ee.Image
    form: Form
    facts: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        return str(self.facts["geoseg:sha256"])

    @property
    def parts(self) -> Parts:
        """The tiles on their way, under the hash of what they show."""
        via = "" if self.export.is_direct else f".{self.export.manner.destination.via}"
        return Parts(self.export.out / f"{self.layer.name}.{self.sha256[:12]}{via}.parts")

    @property
    def task(self) -> batch.Task:
        return batch.Task(self.image, self.form, self.layer.name, self.sha256, self.export.manner.destination)

    def bring(self, survey: Survey) -> dict[str, Any]:
        """Fetch the layer and leave it as one file with its record."""
        path = self.export.path(self.layer.name)
        with self.parts.locked():
            taken = self.download() if self.export.is_direct else self.by_bucket()
            record = provenance.item(self.layer, self.form, survey, {**self.facts, "geoseg:requests": taken})
            provenance.write_item(path.with_suffix(".json"), record)
            assemble(self.parts.finished(), self.form, path)
        self.parts.clear()
        return {"layer": self.layer.name, "path": str(path), "sha256": self.sha256, **taken}

    def download(self) -> dict[str, Any]:
        """Every tile over the area."""
        tiles = self.export.tiles(self.layer)
        if len(tiles) > MANY_TILES:
            self.export.narrator.warn(
                f"{self.layer.name} takes {len(tiles)} requests; Earth Engine exports large areas faster by itself: "
                "--via gcs or --via drive"
            )
        return asdict(self.tile_by_tile(tiles))

    def tile_by_tile(self, tiles: Sequence[Window]) -> Statistics:
        """Fetch these tiles, telling the progress."""
        total = sum(tile.height * tile.width for tile in tiles) / 1e6
        appetite = Appetite(self.layer.first_side)
        with self.export.narrator.task(self.layer.name, total, "MP") as progress:
            order = Download(self.earth, self.image, self.form, self.parts, appetite, progress)
            return order.run(tiles)

    def by_bucket(self) -> dict[str, Any]:
        """Let Earth Engine export to a bucket, and bring the files from there."""
        self.finished_task()
        batch.fetch(self.earth, self.task, self.parts)
        return {"files": len(self.parts.finished())}

    def finished_task(self) -> str:
        """The batch task of this layer, started if need be and followed to its end."""
        name = batch.start(self.earth, self.task)
        self.export.narrator.say(
            f"{self.layer.name}: task {self.task.description} goes on at Earth Engine even if you stop here; the "
            "same command finds it again"
        )
        batch.watch(self.earth, name, self.export.narrator)
        return name

    def leave_there(self, survey: Survey) -> dict[str, Any]:
        """Let Earth Engine export to where only the user can reach, and say what to do next."""
        name = self.finished_task()
        where = self.export.manner.destination.where(self.task.stem)
        record = provenance.item(self.layer, self.form, survey, self.facts)
        record["assets"]["data"]["href"] = where
        provenance.write_item(self.export.path(self.layer.name).with_suffix(".json"), record)
        next_step = (
            f"download {self.task.stem}*.tif from Drive into {self.export.out}, then: geoseg infer {self.export.out}"
            if self.export.manner.destination.via == "drive"
            else f"geoseg export --asset {self.export.manner.destination.to.rstrip('/')}/{self.task.stem}"
        )
        self.export.narrator.say(f"{self.layer.name} is in {where}. Next: {next_step}")
        return {"layer": self.layer.name, "where": where, "operation": name}


def dry_run(exports: Sequence[Export], wish: Wish) -> dict[str, Any]:
    """What the exports would take. Asks Earth Engine only about assets that are in no catalogue."""
    with connection(exports, wish if wish.asset else Wish(wish.period)) as earth:
        layers = wish.layers(earth) if earth else wish.known_layers()
        return {
            "exports": [
                {**described(export), "layers": [export.estimate(layer) for layer in layers]}
                for export in exports
            ]
        }


def run(exports: Sequence[Export], wish: Wish) -> dict[str, Any]:
    """Export everything wished for, on each grid."""
    with connection(exports, wish) as earth:
        return {
            "exports": [
                {**described(export), "layers": list(layers_of(export, wish, earth))} for export in exports
            ]
        }


def layers_of(export: Export, wish: Wish, earth: Session | None) -> Iterator[dict[str, Any]]:
    """Fetch layer by layer; the map from files comes first, for it costs no request and may be refused."""
    prepare_folder(export, wish)
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
    with session(manner.access, manner.workers, Patience(manner.hours), narrator) as earth:
        yield earth


def prepare_folder(export: Export, wish: Wish) -> None:
    """Make the folder, and say early if it cannot hold what comes."""
    try:
        export.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {export.out} cannot be made a folder: {error.strerror}") from None
    if not export.is_direct:
        return
    needed = sum(export.estimate(layer)["bytes"] for layer in wish.known_layers())
    free = shutil.disk_usage(export.out).free
    if needed > free:
        export.narrator.warn(
            f"{export.out} has {free / 1e9:.1f} GB free; up to {needed / 1e9:.1f} GB may be needed on the way"
        )
