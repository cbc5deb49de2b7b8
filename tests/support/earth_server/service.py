"""Earth Engine's REST interface on this computer, with its limits, its texts and its faults; and a bucket beside it.

Built from what ships inside earthengine-api: the discovery document and the list of algorithms. The bytes that a
request counts, the refusals' texts and the shape of answers follow the service. Not modelled: rights, paging of
anything but operations, compute units, and how the service itself encodes a GeoTIFF.
"""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.parse
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

import numpy as np
from affine import Affine
from rasterio.io import MemoryFile

from earth_server.evaluate import Evaluator, Gridded, Picture, RefusedError, Where, decoded
from earth_server.world import Asset, world

MOST_BYTES = 50_331_648
MOST_SIDE = 32_768
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
STATUS |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
TOO_MANY = (
    "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."
)


@cache
def shipped(name: str) -> str:
    return (files("ee") / "tests" / name).read_text()


def discovery() -> bytes:
    """The shipped document, as the service itself words it today."""
    text = shipped("cloud_api_discovery_document.json").replace("v1alpha", "v1")
    document = json.loads(text)
    listing = document["resources"]["projects"]["resources"]["algorithms"]["methods"]["list"]
    listing["parameters"]["parent"] = listing["parameters"].pop("project")
    listing["path"] = listing["path"].replace("+project", "+parent")
    listing["parameterOrder"] = ["parent"]
    return json.dumps(document).encode()


@dataclass
class Request:
    """One request that came in, and how it was answered."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any
    status: int = 0
    started: float = 0.0

    @property
    def grid(self) -> tuple[int, int, int, int]:
        """Column and row of the first pixel in the world, width and height of a pixel request."""
        grid, transform = self.body["grid"], self.body["grid"]["affineTransform"]
        left = round(transform["translateX"] / transform["scaleX"])
        top = round(transform["translateY"] / transform["scaleY"])
        return left, top, grid["dimensions"]["width"], grid["dimensions"]["height"]

    @property
    def tree(self) -> Any:
        return decoded(self.body["expression"])


@dataclass
class Fault:
    """What goes wrong with the next requests whose path matches."""

    pattern: str
    times: int = 1
    status: int = 0
    message: str = "An internal error has occurred"
    headers: dict[str, str] = field(default_factory=dict)
    how: str = "answer"
    skip: int = 0


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    how: str = "answer"


class EarthServer:
    """The service: what it knows, what it allows, what it has seen."""

    def __init__(self) -> None:
        self.assets: dict[str, Asset] = world()
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.most_pixels = 10**12
        self.concurrency = 10**6
        self.latency_s = 0.0
        self.tokens: set[str] | None = None
        self.refuses_tokens = False
        self.restricted = False
        self.in_flight = self.peak = 0
        self.largest_request = 0
        self.operations: dict[str, dict[str, Any]] = {}
        self.request_ids: dict[str, str] = {}
        self.replays_fail = True
        self.hidden_operations = 0
        self.polls_until_done = 2
        self.export_error = ""
        self.page_size = 500
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()
        handler = type("Handler", (Handler,), {"earth": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def fault(self, pattern: str, **what: Any) -> None:
        self.faults.append(Fault(pattern, **what))

    def seen(self, pattern: str) -> list[Request]:
        return [request for request in self.requests if re.search(pattern, request.path)]

    @property
    def pixel_requests(self) -> list[Request]:
        return self.seen("computePixels")

    def tile_grids(self) -> list[tuple[int, int, int, int]]:
        """The grids of all tiles that were given out."""
        return [request.grid for request in self.pixel_requests if request.status == 200]

    def answer(self, request: Request) -> Answer:
        """What is answered, after faults and limits."""
        with self.lock:
            self.requests.append(request)
            fault = self.due_fault(request)
        if fault and fault.status:
            return self.error(fault.status, fault.message, fault.headers)
        if fault and fault.how == "drop":
            return Answer(0, b"", how="drop")
        if not self.is_known(request):
            return self.error(401, "Request had invalid authentication credentials.")
        try:
            answer = self.routed(request)
        except RefusedError as refusal:
            return self.error(refusal.status, str(refusal))
        except Exception as error:  # noqa: BLE001 - a fault of the server's own must not look like one of the service
            return self.error(400, f"test server: {type(error).__name__}: {error}")
        answer.how = fault.how.removesuffix("_after") if fault else "answer"
        if self.restricted:
            answer.headers["X-Earth-Engine-Quota-Status"] = "parallelism_restricted=true"
        return answer

    def due_fault(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, request.path):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def is_known(self, request: Request) -> bool:
        if (
            self.tokens is None
            or request.path in {"/token", "/$discovery/rest"}
            or "/storage/" in request.path
        ):
            return True
        return request.headers.get("authorization", "").removeprefix("Bearer ") in self.tokens

    def error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
        body = {"error": {"code": status, "message": message, "status": STATUS.get(status, "UNKNOWN")}}
        return Answer(status, json.dumps(body).encode(), dict(headers or {}))

    def routed(self, request: Request) -> Answer:
        for pattern, answer in ROUTES:
            if match := re.fullmatch(pattern, request.path):
                result = answer(self, request, *match.groups())
                return result if isinstance(result, Answer) else Answer(200, as_bytes(result))
        raise RefusedError(f"test server: no such path {request.path}", 404)

    def token(self, request: Request) -> Any:
        if self.refuses_tokens:
            return Answer(
                400, b'{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}'
            )
        number = len(self.seen("/token"))
        if self.tokens is not None:
            self.tokens = {f"tok-{number}"}
        return {"access_token": f"tok-{number}", "expires_in": 3600, "token_type": "Bearer"}

    def asset(self, request: Request, name: str) -> Any:
        asset_id = urllib.parse.unquote(name).removeprefix("projects/earthengine-public/assets/")
        if asset_id not in self.assets:
            raise RefusedError(f"Asset '{asset_id}' not found.", 404)
        return {"type": self.assets[asset_id].kind, "name": name, "id": asset_id}

    def compute_value(self, request: Request, project: str) -> Any:
        return {"result": Evaluator(self.assets).value(request.body["expression"])}

    def compute_pixels(self, request: Request, project: str) -> Any:
        with self.lock:
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
            crowded = self.in_flight > self.concurrency
        try:
            if crowded:
                raise RefusedError(TOO_MANY, 429)
            time.sleep(self.latency_s)
            return Answer(200, self.tile(request), {"Content-Type": "image/tiff"})
        finally:
            with self.lock:
                self.in_flight -= 1

    def tile(self, request: Request) -> bytes:
        picture = Evaluator(self.assets).value(request.body["expression"])
        names = request.body["bandIds"]
        for name in names:
            if name not in picture.bands:
                raise RefusedError(f"Image.select: Band pattern '{name}' did not match any bands.")
        left, top, width, height = request.grid
        self.check_limits(picture, names, width, height)
        grid = request.body["grid"]["affineTransform"]
        transform = Affine(grid["scaleX"], 0, grid["translateX"], 0, grid["scaleY"], grid["translateY"])
        where = pixels_at(left, top, width, height, abs(grid["scaleX"]))
        return encoded(picture, names, where, transform, request.body["grid"].get("crsCode"))

    def check_limits(self, picture: Picture, names: list[str], width: int, height: int) -> None:
        counted = width * height * sum(np.dtype(picture.types[name]).itemsize + 1 for name in names)
        if counted > MOST_BYTES:
            raise RefusedError(
                f"Total request size ({counted} bytes) must be less than or equal to {MOST_BYTES} bytes."
            )
        if max(width, height) > MOST_SIDE:
            raise RefusedError(
                f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {MOST_SIDE}."
            )
        if width * height > self.most_pixels:
            raise RefusedError("User memory limit exceeded.")
        self.largest_request = max(self.largest_request, counted)

    def start_export(self, request: Request, project: str) -> Any:
        body = request.body
        if body["requestId"] in self.request_ids:
            if self.replays_fail:
                raise RefusedError("A different Operation was already started with the given request_id.")
            return self.operations[self.request_ids[body["requestId"]]]
        name = f"{project}/operations/OP{len(self.operations):022d}"
        self.request_ids[body["requestId"]] = name
        self.operations[name] = {
            "name": name,
            "metadata": {
                "state": "PENDING",
                "type": "EXPORT_IMAGE",
                "description": body["description"],
                "createTime": f"2026-01-01T00:00:{len(self.operations):02d}Z",
            },
            "request": body,
            "polls": 0,
        }
        return self.public(self.operations[name])

    def public(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in operation.items() if key not in {"request", "polls"}}

    def operation(self, request: Request, name: str) -> Any:
        operation = self.operations[name]
        operation["polls"] += 1
        metadata = operation["metadata"]
        if operation.get("done"):
            return self.public(operation)
        metadata["state"] = "RUNNING"
        metadata["progress"] = min(1.0, operation["polls"] / (self.polls_until_done + 1))
        if operation["polls"] > self.polls_until_done:
            operation["done"] = True
            if self.export_error:
                metadata["state"] = "FAILED"
                operation["error"] = {"code": 3, "message": self.export_error}
            else:
                metadata["state"] = "SUCCEEDED"
                self.deliver(operation["request"])
        return self.public(operation)

    def list_operations(self, request: Request, project: str) -> Any:
        listed = list(self.operations.values())
        if self.hidden_operations > 0:
            self.hidden_operations -= 1
            listed = []
        start = int(request.query.get("pageToken", ["0"])[0])
        page = listed[start : start + self.page_size]
        more = {"nextPageToken": str(start + self.page_size)} if start + self.page_size < len(listed) else {}
        return {"operations": [self.public(operation) for operation in page], **more}

    def deliver(self, body: Mapping[str, Any]) -> None:
        """Put the files of a finished export into the bucket, in the service's own naming."""
        options = body.get("fileExportOptions", {})
        if "cloudStorageDestination" not in options:
            return
        gridded = Evaluator(self.assets).value(body["expression"])
        assert isinstance(gridded, Gridded)
        side = options["geoTiffOptions"]["tileDimensions"]["width"]
        width, height = gridded.size
        transform = Affine(*gridded.transform)
        corners = [(row, col) for row in range(0, height, side) for col in range(0, width, side)]
        prefix = options["cloudStorageDestination"]["filenamePrefix"]
        for row, col in corners:
            left, top = round(transform.c / transform.a) + col, round(transform.f / transform.e) + row
            size = min(side, width - col), min(side, height - row)
            where = pixels_at(left, top, *size, transform.a)
            part = transform @ Affine.translation(col, row)
            content = encoded(gridded.image, list(gridded.image.bands), where, part, gridded.crs)
            suffix = f"-{row:010d}-{col:010d}" if len(corners) > 1 else ""
            self.objects[f"{prefix}{suffix}.tif"] = content

    def list_objects(self, request: Request, bucket: str) -> Any:
        prefix = request.query.get("prefix", [""])[0]
        return {
            "kind": "storage#objects",
            "items": [
                {"name": name, "bucket": bucket, "size": str(len(content)), "generation": "1"}
                for name, content in self.objects.items()
                if name.startswith(prefix)
            ],
        }

    def download_object(self, request: Request, bucket: str, name: str) -> Any:
        content = self.objects.get(urllib.parse.unquote(name))
        if content is None:
            raise RefusedError("No such object", 404)
        return Answer(200, content, {"Content-Type": "image/tiff"})


ROUTES = (
    (r"/\$discovery/rest", lambda earth, request: Answer(200, discovery())),
    (
        r"/v1/projects/[^/]+/algorithms",
        lambda earth, request: Answer(200, shipped("algorithms.json").encode()),
    ),
    (r"/token", EarthServer.token),
    (r"/v1/(projects/[^/]+)/value:compute", EarthServer.compute_value),
    (r"/v1/(projects/[^/]+)/image:computePixels", EarthServer.compute_pixels),
    (r"/v1/(projects/[^/]+)/image:export", EarthServer.start_export),
    (r"/v1/(projects/[^/]+/operations/.+)", EarthServer.operation),
    (r"/v1/(projects/[^/]+)/operations", EarthServer.list_operations),
    (r"/v1/(projects/[^/]+/assets/.+)", EarthServer.asset),
    (r"/storage/v1/b/([^/]+)/o", EarthServer.list_objects),
    (r"/download/storage/v1/b/([^/]+)/o/(.+)", EarthServer.download_object),
)


def as_bytes(result: Any) -> bytes:
    return json.dumps(result, default=float).encode()


def pixels_at(left: int, top: int, width: int, height: int, pixel_m: float) -> Where:
    return Where(np.arange(left, left + width), np.arange(top, top + height), pixel_m)


def encoded(picture: Picture, names: list[str], where: Where, transform: Affine, crs: str | None) -> bytes:
    """The pixels as a GeoTIFF; masked ones are zero, in the type of the outermost cast."""
    dtypes = [picture.types[name] for name in names]
    assert len(set(dtypes)) == 1, dtypes
    layers = [np.where(valid, values, 0) for values, valid in (picture.bands[name](where) for name in names)]
    height, width = layers[0].shape
    profile = {"width": width, "height": height, "count": len(names), "dtype": dtypes[0], "crs": crs}
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", transform=transform, compress="deflate", zlevel=1, **profile
        ) as file:
            file.write(np.array(layers).astype(dtypes[0]))
        return bytes(memory.getbuffer())


def expected(server: EarthServer, expression: Mapping[str, Any], where: Where) -> dict[str, np.ndarray]:
    """What an expression gives on any pixels: for comparing whole files with."""
    picture = Evaluator(server.assets).value(expression)
    return {name: np.where(*reversed(band(where)), 0) for name, band in picture.bands.items()}


class Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers, whole ones or, where a fault says so, broken ones."""

    earth: EarthServer
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        self.serve()

    def serve(self) -> None:
        split = urllib.parse.urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_json = "json" in self.headers.get("Content-Type", "")
        request = Request(
            self.command,
            split.path,
            urllib.parse.parse_qs(split.query),
            {name.lower(): value for name, value in self.headers.items()},
            json.loads(content) if is_json and content else content,
            started=time.monotonic(),
        )
        answer = self.earth.answer(request)
        request.status = answer.status
        try:
            self.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def send(self, answer: Answer) -> None:
        if answer.how == "drop":
            self.close_connection = True
            self.connection.close()
            return
        body = damaged(answer)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.pop("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(answer.body) if answer.how == "truncate" else len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if answer.how == "truncate":
            self.close_connection = True
            self.connection.close()


def damaged(answer: Answer) -> bytes:
    """The body, spoilt as the fault says."""
    if answer.how == "truncate":
        return answer.body[: len(answer.body) // 2]
    if answer.how == "garbage":
        return zlib.compress(answer.body)
    if answer.how == "small":
        return encoded_elsewhere()
    return answer.body


def encoded_elsewhere() -> bytes:
    """A sound GeoTIFF, but not the one that was asked for."""
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", width=7, height=5, count=1, dtype="uint8") as file:
            file.write(np.ones((1, 5, 7), np.uint8))
        return bytes(memory.getbuffer())
