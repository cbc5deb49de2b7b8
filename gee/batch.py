"""Batch tasks: Earth Engine exports a large area by itself; the task is started once, watched and its files fetched."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ee
import rasterio
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage

from gee.errors import AlreadyStartedError, FlakyError
from gee.geotiff import GeoTiffFormat, TileFolder
from gee.session import Session
from geoseg.errors import GeosegError, InputError
from geoseg.progress import track
from geoseg.raster.grid import Window

FILE_SIDE = 8192
SHARD_SIDE = 256
FIRST_POLL_S = 10.0
LONGEST_POLL_S = 60.0
DEAD = {"FAILED", "CANCELLED", "CANCELLING"}
SHARD_NAME = re.compile(r"-(\d{10})-(\d{10})\.tif$")


@dataclass(frozen=True)
class Destination:
    """Where Earth Engine is to put a result: a Drive folder, a bucket (and prefix), or an asset folder."""

    via: str
    to: str

    def __post_init__(self) -> None:
        if self.via == "gcs" and not self.bucket:
            raise InputError("--via gcs needs a bucket: --to BUCKET or --to BUCKET/FOLDER")
        if self.via == "asset" and not self.to.startswith("projects/"):
            raise InputError("--via asset needs a folder of assets: --to projects/YOUR-PROJECT/assets/FOLDER")
        if self.via == "drive" and "/" in self.to:
            raise InputError(f"--to {self.to}: Drive takes the name of one folder, without slashes")

    @property
    def is_direct(self) -> bool:
        """Whether tiles are fetched one by one, without a batch task."""
        return self.via == "direct"

    @property
    def is_fetchable(self) -> bool:
        """Whether a result can be fetched, rather than lie where only the user can reach it."""
        return self.via in {"direct", "gcs"}

    def asset(self, name: str) -> str:
        """A result's id among the user's assets."""
        return f"{self.to.rstrip('/')}/{name}"

    @property
    def folder(self) -> str:
        """The Drive folder."""
        return self.to or "geoseg"

    @property
    def bucket(self) -> str:
        return self.to.partition("/")[0]

    def prefix(self, name: str) -> str:
        """What a result's files in the bucket begin with."""
        folder = self.to.partition("/")[2].strip("/")
        return f"{folder}/{name}" if folder else name

    def where(self, name: str) -> str:
        """A result's place in words."""
        return {
            "drive": f"the Drive folder {self.folder}, files {name}*.tif",
            "gcs": f"gs://{self.bucket}/{self.prefix(name)}*.tif",
            "asset": f"the asset {self.asset(name)}",
        }[self.via]


@dataclass(frozen=True)
class BatchTask:
    """One layer as a batch task. Its name holds the hash of its settings, so the same task is found again."""

    image: ee.Image
    form: GeoTiffFormat
    name: str
    sha256: str
    destination: Destination
    file_side: int = FILE_SIDE

    @property
    def description(self) -> str:
        return f"geoseg-{self.name}-{self.sha256[:12]}"

    @property
    def stem(self) -> str:
        """What the result is called at its destination."""
        return f"{self.name}-{self.sha256[:12]}"

    def request_id(self, attempt: int) -> str:
        """The same for the same settings, so that a task is never started twice."""
        return f"geoseg-{self.sha256[:40]}-{attempt}"

    def request(self) -> Mapping[str, Any]:
        """The task as Earth Engine's interface takes it."""
        grid = self.form.grid
        common: dict[str, Any] = {
            "image": self.image,
            "description": self.description,
            "crs": grid.crs.to_string() if grid.crs.to_authority() else grid.crs.to_wkt("WKT1_GDAL"),
            "crsTransform": list(grid.transform[:6]),
            "dimensions": f"{grid.width}x{grid.height}",
            "maxPixels": max(grid.width * grid.height, 1),
        }
        config: Mapping[str, Any] = self.exported(common).config
        return config

    def exported(self, common: Mapping[str, Any]) -> Any:
        """The client's own form of the task."""
        if self.destination.via == "asset":
            asset = self.destination.asset(self.stem)
            policy = {".default": "mean" if self.form.is_picture else "mode"}
            return ee.batch.Export.image.toAsset(**common, assetId=asset, pyramidingPolicy=policy)
        files: dict[str, Any] = {
            "fileDimensions": self.file_side,
            "shardSize": SHARD_SIDE,
            "formatOptions": {"cloudOptimized": True, "noData": self.form.pixels.nodata},
        }
        if self.destination.via == "drive":
            return ee.batch.Export.image.toDrive(
                **common, **files, folder=self.destination.folder, fileNamePrefix=self.stem
            )
        prefix = self.destination.prefix(self.stem)
        return ee.batch.Export.image.toCloudStorage(
            **common, **files, bucket=self.destination.bucket, fileNamePrefix=prefix
        )


def start_task(session: Session, task: BatchTask) -> str:
    """The name of the operation that makes this layer: one already under way or done, else a new one."""
    earlier = [
        operation for operation in list_operations(session) if read_description(operation) == task.description
    ]
    alive = [operation for operation in earlier if read_state(operation) not in DEAD]
    if alive:
        return str(alive[0]["name"])
    request = task.request()
    try:
        started = session.call_with_retries(
            lambda: ee.data.exportImage(task.request_id(len(earlier)), dict(request))
        )
    except AlreadyStartedError:
        return find_started_task(session, task)
    return str(started["name"])


def find_started_task(session: Session, task: BatchTask) -> str:
    """The operation that an earlier, lost answer started."""
    for operation in list_operations(session):
        if read_description(operation) == task.description and read_state(operation) not in DEAD:
            return str(operation["name"])
    raise GeosegError(
        f"Earth Engine has started {task.description} before but does not list it; see the task list at "
        "https://code.earthengine.google.com/tasks"
    )


def list_operations(session: Session) -> list[Mapping[str, Any]]:
    """Every batch task of the project, the newest first."""
    listed: list[Mapping[str, Any]] = session.call_with_retries(ee.data.listOperations)
    return sorted(
        listed, key=lambda operation: str(read_metadata(operation).get("createTime", "")), reverse=True
    )


def read_metadata(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an operation tells of itself; one that has only just been taken in may tell nothing yet."""
    metadata: Mapping[str, Any] = operation.get("metadata", {})
    return metadata


def read_description(operation: Mapping[str, Any]) -> str:
    return str(read_metadata(operation).get("description", ""))


def read_state(operation: Mapping[str, Any]) -> str:
    return str(read_metadata(operation).get("state", "PENDING"))


def get_operation(session: Session, name: str) -> Mapping[str, Any]:
    """How an operation stands."""
    operation: Mapping[str, Any] = session.call_with_retries(lambda: ee.data.getOperation(name))
    return operation


def watch_task(session: Session, name: str) -> Mapping[str, Any]:
    """Follow an operation to its end; a failed one says why."""
    poll_s, done = FIRST_POLL_S, 0.0
    with track("Earth Engine", 100, "%") as advance:
        while not (operation := get_operation(session, name)).get("done"):
            progress = 100 * float(read_metadata(operation).get("progress", 0))
            advance(progress - done)
            done = progress
            session.retries.pause(
                session.retries.draw.uniform(0.5, 1) * poll_s, f"{name} is {read_state(operation)}"
            )
            poll_s = min(LONGEST_POLL_S, poll_s * 1.5)
        advance(100 - done)
    if error := operation.get("error"):
        raise GeosegError(
            f"Earth Engine could not finish {read_description(operation)}: {error.get('message', read_state(operation))}; "
            "the same command starts it again"
        )
    return operation


def fetch_task_files(session: Session, task: BatchTask, parts: TileFolder) -> None:
    """Bring the files of a finished task from its bucket, each whole or not at all."""
    where = task.destination.where(task.stem)
    try:
        files = list_files(session, task.destination, task.stem)
        if not files:
            raise GeosegError(f"{where} is empty, although the task is done")
        for file in files:
            fetch_file(session, file, parts)
    except (GoogleAPIError, GoogleAuthError) as error:
        raise GeosegError(f"{where} cannot be fetched: {error}") from None
    covered = sum(tile.height * tile.width for tile in parts.finished())
    if covered != task.form.grid.height * task.form.grid.width:
        raise GeosegError(f"{where} does not cover the grid: files are missing")


def list_files(session: Session, destination: Destination, stem: str) -> list[storage.Blob]:
    """The files of a result in its bucket."""
    client = make_bucket_client(session)
    return list(client.list_blobs(destination.bucket, prefix=destination.prefix(stem)))


def fetch_file(session: Session, file: storage.Blob, parts: TileFolder) -> None:
    """Bring one file, unless it is there from an earlier run."""
    corner = parse_corner(file.name)
    if all((tile.row, tile.col) != corner for tile in parts.finished()):
        keep_file(session.retries.call_with_retries(lambda: download_blob(file)), corner, parts)


def make_bucket_client(session: Session) -> storage.Client:
    """A client of Cloud Storage, anonymous where an emulator stands in for it."""
    is_emulated = bool(os.environ.get("STORAGE_EMULATOR_HOST"))
    credentials = AnonymousCredentials() if is_emulated else session.identity.credentials  # type: ignore[no-untyped-call]
    return storage.Client(project=session.project, credentials=credentials)


def download_blob(blob: storage.Blob) -> bytes:
    """A file's bytes, as long as the bucket says it is."""
    try:
        content: bytes = blob.download_as_bytes()
    except (ConnectionError, TimeoutError) as error:
        raise FlakyError(f"{blob.name} was lost on the way: {error}") from error
    if blob.size is not None and len(content) != blob.size:
        raise FlakyError(f"{blob.name} came as {len(content)} of {blob.size} bytes")
    return content


def parse_corner(name: str) -> tuple[int, int]:
    """The first row and column that a result's file holds, by its name."""
    match = SHARD_NAME.search(name)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def keep_file(content: bytes, corner: tuple[int, int], parts: TileFolder) -> None:
    """Keep a fetched file as the tile that it is."""
    with rasterio.MemoryFile(content) as file, file.open() as tile:
        parts.keep(Window(*corner, *tile.shape), content)
