"""One layer on its way from Earth Engine, tile by tile or through a batch task, and the STAC item beside its file.

Tiles that are refused as too large are cut smaller, what may help is asked again, and every tile is kept as soon as it is there.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ee
import shapely

from gee.batch import FILE_SIDE, BatchTask, Destination, fetch_task_files, start_task, watch_task
from gee.errors import TooLargeError
from gee.expressions import encode_grid
from gee.geotiff import HASH_TAG, GeoTiffFormat, TileFolder, assemble_tiles, check_tile
from gee.grid import (
    SMALLEST_SIDE,
    TileSizer,
    compute_lonlat_bounds,
    compute_lonlat_footprint,
    find_unfinished,
)
from gee.layers import ExportLayer, LayerScenes
from gee.session import Session
from geoseg import __version__
from geoseg.errors import GeosegError
from geoseg.io.atomic import replace_text
from geoseg.progress import track
from geoseg.raster.grid import Grid, Window, format_crs

log = logging.getLogger(__name__)

Progress = Callable[[float], None]


@dataclass
class DownloadStatistics:
    """What it took: kept with the result."""

    requests: int = 0
    splits: int = 0
    resumed: int = 0


@dataclass
class TileDownload:
    """One layer on its way: what is asked of whom, in what form, and where tiles are kept."""

    session: Session
    image: ee.Image
    form: GeoTiffFormat
    parts: TileFolder
    sizer: TileSizer
    progress: Progress

    def run(self, tiles: Iterable[Window]) -> DownloadStatistics:
        """Fetch every tile that is not there yet."""
        finished = self.parts.finished()
        statistics = DownloadStatistics(resumed=len(finished))
        wanted = list(tiles)
        waiting = deque(piece for tile in wanted for piece in find_unfinished(tile, finished))
        for piece in set(finished).difference(wanted):
            self.sizer.side = min(self.sizer.side, max(piece.height, piece.width))
        self.progress(count_megapixels(wanted) - count_megapixels(waiting))
        with ThreadPoolExecutor(self.session.limiter.most, "tile") as pool:
            try:
                self.drain(waiting, pool, statistics)
            except BaseException:
                self.session.retries.stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
        return statistics

    def drain(self, waiting: deque[Window], pool: ThreadPoolExecutor, statistics: DownloadStatistics) -> None:
        """Keep as many tiles under way as the limiter may let in, until none is left."""
        under_way: dict[Future[None], Window] = {}
        while waiting or under_way:
            while waiting and len(under_way) < self.session.limiter.most:
                window = waiting.popleft()
                if self.sizer.exceeds(window):
                    waiting.extendleft(reversed(list(self.sizer.cut(window))))
                    continue
                under_way[pool.submit(self.fetch, window)] = window
                statistics.requests += 1
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                statistics.splits += self.settle(future, under_way.pop(future), waiting)

    def settle(self, future: Future[None], window: Window, waiting: deque[Window]) -> bool:
        """Count a tile as done, or put its pieces in line; whether it had to be cut."""
        try:
            future.result()
        except TooLargeError as refusal:
            if max(window.height, window.width) <= SMALLEST_SIDE:
                raise GeosegError(
                    f"{refusal}; even {window.width} x {window.height} pixels are too much for one request: use "
                    "--via gcs or --via drive, fewer --bands, or a shorter period"
                ) from None
            self.sizer.refused(window)
            waiting.extendleft(reversed(list(self.sizer.cut(window))))
            return True
        self.progress(count_megapixels([window]))
        return False

    def fetch(self, window: Window) -> None:
        """Ask for one tile until it is right, and keep it."""
        form = self.form.window(window)
        request = make_pixel_request(self.image, form)

        def ask() -> bytes:
            content = self.session.pixels(request)
            check_tile(content, form)
            return content

        self.parts.keep(window, self.session.retries.call_with_retries(ask))


def make_pixel_request(image: ee.Image, form: GeoTiffFormat) -> dict[str, Any]:
    """The question for one tile: an explicit grid, so that no pixel shifts."""
    return {
        "expression": image,
        "fileFormat": "GEO_TIFF",
        "bandIds": [band.name for band in form.bands],
        "grid": encode_grid(form.grid),
    }


def count_megapixels(windows: Iterable[Window]) -> float:
    return sum(window.height * window.width for window in windows) / 1e6


STAC_VERSION = "1.1.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)
TABLE_TYPE = "text/csv"
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"


def encode_expression(image: ee.Image) -> Mapping[str, Any]:
    """What Earth Engine is asked to compute; the same in every run."""
    encoded: Mapping[str, Any] = ee.serializer.encode(image, for_cloud_api=True)
    return encoded


def compute_settings_hash(expression: Mapping[str, Any], form: GeoTiffFormat) -> str:
    """One hash over everything that decides a layer's pixels."""
    settings = [
        expression,
        encode_grid(form.grid),
        [band.name for band in form.bands],
        asdict(form.pixels),
    ]
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def make_item(
    layer: ExportLayer, form: GeoTiffFormat, survey: LayerScenes, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The STAC item of a finished layer."""
    source = layer.source
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": layer.name,
        "geometry": json.loads(shapely.to_geojson(compute_lonlat_footprint(form.grid))),
        "bbox": compute_lonlat_bounds(form.grid),
        "links": [{"rel": "about", "href": source.page, "title": source.title}] if source.asset else [],
        "properties": {
            "title": source.title,
            "datetime": None,
            "start_datetime": survey.start or f"{source.first}T00:00:00Z",
            "end_datetime": survey.end or f"{source.last or source.first}T00:00:00Z",
            "license": source.licence.code,
            "geoseg:attribution": source.licence.attribution,
            "geoseg:source": source.asset,
            "geoseg:scenes": list(survey.scenes),
            "processing:software": {"geoseg": __version__, "earthengine-api": ee.__version__},
            **make_projection_fields(form.grid),
            **facts,
        },
        "assets": {"data": make_item_asset(layer, form)},
    }


def make_projection_fields(grid: Grid) -> dict[str, Any]:
    """Where the pixels lie, in the words of STAC."""
    code = (
        {"proj:code": format_crs(grid.crs)} if grid.crs.to_authority() else {"proj:wkt2": grid.crs.to_wkt()}
    )
    return {**code, "proj:transform": list(grid.transform[:6]), "proj:shape": list(grid.shape)}


def make_item_asset(layer: ExportLayer, form: GeoTiffFormat) -> dict[str, Any]:
    """The file itself and its bands."""
    return {
        "href": f"./{layer.name}.tif",
        "type": COG_TYPE,
        "roles": ["data"] if layer.is_picture else ["data", "labels"],
        "bands": [
            {
                "name": band.name,
                **({"eo:common_name": band.common_name} if band.common_name else {}),
                "data_type": form.pixels.dtype,
                "nodata": form.pixels.nodata,
                "raster:scale": form.pixels.scale,
                "raster:offset": 0,
            }
            for band in form.bands
        ],
    }


def make_origin_fields(
    session: Session, layer: ExportLayer, expression: Mapping[str, Any], sha256: str
) -> dict[str, Any]:
    """Whom was asked for what. Never who asked."""
    return {
        "geoseg:sha256": sha256,
        "geoseg:recipe": dict(layer.recipe.metadata),
        "geoseg:endpoint": session.url,
        "geoseg:project": session.project,
        "geoseg:expression": dict(expression),
    }


def make_tags(layer: ExportLayer, sha256: str) -> dict[str, str]:
    """What the GeoTIFF itself says."""
    return {HASH_TAG: sha256, "TIFFTAG_COPYRIGHT": layer.source.licence.attribution}


def write_item(path: Path, content: Mapping[str, Any]) -> None:
    """Write the record, whole or not at all."""
    replace_text(path, json.dumps(content, indent=2))


MANY_TILES = 500


@dataclass(frozen=True)
class LayerDownload:
    """A layer with its expression and its facts, ready to be asked for."""

    layer: ExportLayer
    image: ee.Image
    form: GeoTiffFormat
    facts: Mapping[str, Any]
    earth: Session
    destination: Destination
    out: Path
    most_side: int | None = None

    @property
    def sha256(self) -> str:
        return str(self.facts["geoseg:sha256"])

    @property
    def path(self) -> Path:
        """The finished file."""
        return self.out / f"{self.layer.name}.tif"

    @property
    def parts(self) -> TileFolder:
        """The tiles on their way, under the hash of what they show."""
        return TileFolder(self.out / f"{self.layer.name}.{self.sha256[:12]}.{self.destination.via}.parts")

    @property
    def task(self) -> BatchTask:
        side = self.most_side or FILE_SIDE
        return BatchTask(self.image, self.form, self.layer.name, self.sha256, self.destination, side)

    def fetch_to_file(self, tiles: Sequence[Window]) -> dict[str, Any]:
        """Fetch the layer and leave it as one file with its record."""
        survey = self.find_scenes()
        with self.parts.locked():
            taken = (
                asdict(self.fetch_tiles(tiles)) if self.destination.is_direct else self.fetch_from_bucket()
            )
            self.record(survey, f"./{self.path.name}", {"geoseg:requests": taken})
            assemble_tiles(self.parts.finished(), self.form, self.path)
        self.parts.clear()
        return {"layer": self.layer.name, "path": str(self.path), "sha256": self.sha256, **taken}

    def find_scenes(self) -> LayerScenes:
        """What the layer is made of; refuses what would be empty."""
        return self.layer.recipe.find_scenes(self.earth, self.form.grid)

    def record(self, survey: LayerScenes, href: str, facts: Mapping[str, Any] = {}) -> None:
        """Write the record beside the file."""
        item = make_item(self.layer, self.form, survey, {**self.facts, **facts})
        item["assets"]["data"] |= {"href": href, "type": TABLE_TYPE if href.endswith(".csv") else COG_TYPE}
        write_item(self.path.with_suffix(".json"), item)

    def fetch_tiles(self, tiles: Sequence[Window]) -> DownloadStatistics:
        """Fetch these tiles, telling the progress."""
        if len(tiles) > MANY_TILES:
            log.warning(
                f"{self.layer.name} takes {len(tiles)} requests; Earth Engine exports large areas faster by itself: "
                "--via gcs or --via drive"
            )
        sizer = TileSizer(self.layer.choose_side(self.most_side))
        with track(self.layer.name, count_megapixels(tiles), "MP") as progress:
            return TileDownload(self.earth, self.image, self.form, self.parts, sizer, progress).run(tiles)

    def fetch_from_bucket(self) -> dict[str, Any]:
        """Let Earth Engine export to a bucket, and bring the files from there."""
        self.run_task()
        fetch_task_files(self.earth, self.task, self.parts)
        return {"files": len(self.parts.finished())}

    def run_task(self) -> str:
        """The batch task of this layer, started if need be and followed to its end."""
        name = start_task(self.earth, self.task)
        log.info(
            f"{self.layer.name}: task {self.task.description} goes on at Earth Engine even if you stop here; the "
            "same command finds it again"
        )
        watch_task(self.earth, name)
        return name

    def export_remotely(self) -> dict[str, Any]:
        """Let Earth Engine export to where only the user can reach, and say what to do next."""
        survey = self.find_scenes()
        name = self.run_task()
        where = self.destination.where(self.task.stem)
        self.record(survey, where)
        log.info(f"{self.layer.name} is in {where}. Next: {self.next_step}")
        return {"layer": self.layer.name, "where": where, "operation": name}

    @property
    def next_step(self) -> str:
        """What the user does with a result that lies elsewhere."""
        if self.destination.via == "asset":
            return f"geoseg export --asset {self.destination.asset(self.task.stem)}"
        return f"download {self.task.stem}*.tif into {self.out}, then: geoseg infer {self.out}"
