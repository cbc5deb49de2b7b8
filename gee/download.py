"""Fetching a layer tile by tile: cut smaller when refused, asked again when it may help, kept as soon as it is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import ee

from gee.faults import TooLargeError
from gee.geotiff import Form, check_tile
from gee.parts import Parts
from gee.session import Session
from gee.tiles import SMALLEST_SIDE, Appetite, unfinished
from geoseg.errors import GeosegError
from geoseg.raster.grid import Grid, Window

Progress = Callable[[float], None]


@dataclass
class Statistics:
    """What it took: kept with the result."""

    requests: int = 0
    splits: int = 0
    resumed: int = 0


@dataclass
class Download:
    """One layer on its way: what is asked of whom, in what form, and where tiles are kept."""

    session: Session
    image: ee.Image
    form: Form
    parts: Parts
    appetite: Appetite
    progress: Progress

    def run(self, tiles: Iterable[Window]) -> Statistics:
        """Fetch every tile that is not there yet."""
        finished = self.parts.finished()
        statistics = Statistics(resumed=len(finished))
        wanted = list(tiles)
        waiting = deque(piece for tile in wanted for piece in unfinished(tile, finished))
        for piece in set(finished).difference(wanted):
            self.appetite.side = min(self.appetite.side, max(piece.height, piece.width))
        self.progress(megapixels(wanted) - megapixels(waiting))
        with ThreadPoolExecutor(self.session.gate.most, "tile") as pool:
            try:
                self.drain(waiting, pool, statistics)
            except BaseException:
                self.session.patience.stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
        return statistics

    def drain(self, waiting: deque[Window], pool: ThreadPoolExecutor, statistics: Statistics) -> None:
        """Keep as many tiles under way as the gate may let in, until none is left."""
        under_way: dict[Future[None], Window] = {}
        while waiting or under_way:
            while waiting and len(under_way) < self.session.gate.most:
                window = waiting.popleft()
                if self.appetite.exceeds(window):
                    waiting.extendleft(reversed(list(self.appetite.cut(window))))
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
            self.appetite.refused(window)
            waiting.extendleft(reversed(list(self.appetite.cut(window))))
            return True
        self.progress(megapixels([window]))
        return False

    def fetch(self, window: Window) -> None:
        """Ask for one tile until it is right, and keep it."""
        form = self.form.window(window)
        request = pixel_request(self.image, form)

        def ask() -> bytes:
            content = self.session.pixels(request)
            check_tile(content, form)
            return content

        self.parts.keep(window, self.session.patience.insist(ask))


def pixel_request(image: ee.Image, form: Form) -> dict[str, Any]:
    """The question for one tile: an explicit grid, so that no pixel shifts."""
    return {
        "expression": image,
        "fileFormat": "GEO_TIFF",
        "bandIds": [band.name for band in form.bands],
        "grid": pixel_grid(form.grid),
    }


def pixel_grid(grid: Grid) -> dict[str, Any]:
    """A grid as Earth Engine's REST interface writes it."""
    transform = grid.transform
    authority = grid.crs.to_authority()
    crs = {"crsCode": ":".join(authority)} if authority else {"crsWkt": grid.crs.to_wkt("WKT1_GDAL")}
    return {
        "dimensions": {"width": grid.width, "height": grid.height},
        "affineTransform": {
            "scaleX": transform.a,
            "shearX": transform.b,
            "translateX": transform.c,
            "shearY": transform.d,
            "scaleY": transform.e,
            "translateY": transform.f,
        },
        **crs,
    }


def megapixels(windows: Iterable[Window]) -> float:
    return sum(window.height * window.width for window in windows) / 1e6
