"""Where pixels and polygons come from: files on disk and layers in them, addresses on the web, and the state of a file there."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from geoseg.errors import GeosegError, hide_secrets

WEB_ADDRESS = re.compile(r"(?:/vsicurl/)?(?P<address>https?://.+)", re.IGNORECASE)
PATIENCE_S = 20
WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""Between asking a server again: one that is busy, or a line that breaks, is well after some seconds."""
BUSY_CODES = (429, 500, 502, 503, 504)
REMOTE = re.compile(
    r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs)[/?]|(https?|ftp|s3|gs|az|oss)://", re.IGNORECASE
)
UNPACKED = re.compile(r"/vsi(?:zip|tar|gzip)/|(?:zip|tar|gzip|file)(?:\+file)?://")
PARQUET_SUFFIXES = (".parquet", ".geoparquet")
VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".fgb", *PARQUET_SUFFIXES, ".shp")
STATE_HEADERS = ("ETag", "Last-Modified", "Content-Range", "Content-Length")


T = TypeVar("T")


def is_remote(source: str) -> bool:
    """Whether a source, or the archive that it lies in, is on the web."""
    return REMOTE.search(source) is not None


def call_patiently(
    call: Callable[[], T], may_pass: Callable[[Exception], bool], waits_s: Sequence[float] = WAITS_S
) -> T:
    """What a call gives, which is made again after errors that may pass."""
    for wait_s in waits_s:
        try:
            return call()
        except Exception as error:
            if not may_pass(error):
                raise
            time.sleep(wait_s)
    return call()


def may_server_recover(error: Exception) -> bool:
    """Whether a server was busy, or a line broke; nobody there at all, or a refusal, stays."""
    if isinstance(error, HTTPError):
        return error.code in BUSY_CODES
    reason = getattr(error, "reason", error)
    return isinstance(reason, (ConnectionResetError, TimeoutError, HTTPException))


def read_source_state(source: str) -> list[Any]:
    """What changes when a source does: size and time of a local file, what the server says of one on the web."""
    web, local = WEB_ADDRESS.fullmatch(source), find_local_file(source)
    if web:
        return [hide_secrets(source), *ask_server(web["address"])]
    if local is None:
        return [hide_secrets(source)]
    status = local.stat()
    return [str(local.resolve()), status.st_size, status.st_mtime_ns]


def find_changed_source(sources: Sequence[str], states: Sequence[list[Any]]) -> str | None:
    """The first source that is no longer what it was when its state was read."""
    pairs = zip(sources, states, strict=True)
    return next((source for source, before in pairs if read_source_state(source) != before), None)


@contextmanager
def refuse_changes(sources: Sequence[str]) -> Iterator[None]:
    """Let nothing be made in this block of sources that change meanwhile: old and new pixels would be mixed."""
    states = [read_source_state(source) for source in sources]
    yield
    if changed := find_changed_source(sources, states):
        raise GeosegError(explain_change(changed))


def explain_change(source: str) -> str:
    return f"{source}: changed while it was read; nothing was written, since old and new pixels would be mixed: run again"


def find_local_file(source: str) -> Path | None:
    """The file on disk that a source names, or the archive that it lies in."""
    _, path, _ = split_address(source)
    with suppress(OSError):
        return next((each for each in (Path(path), *Path(path).parents) if each.is_file()), None)
    return None


def split_address(source: str) -> tuple[str, str, str]:
    """How a source is to be unpacked, the path of it on disk, and the file in it that is meant; all but the path may be empty."""
    if os.path.exists(source):  # Path's own raises where a name is too long
        return "", source, ""
    before = UNPACKED.match(source)
    path, mark, inside = source[before.end() if before else 0 :].partition("!")
    return before[0] if before else "", path, mark + inside


def ask_server(address: str) -> Sequence[str]:
    """Size, time and version of a file on the web; nothing where its server does not say.

    One byte is asked for, since signed addresses allow nothing else than reading.
    """
    request = Request(address, headers={"Range": "bytes=0-0"})  # noqa: S310 - checked by WEB_ADDRESS

    def ask() -> Sequence[str]:
        with urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
            return [f"{name}: {answer.headers[name]}" for name in STATE_HEADERS if answer.headers[name]]

    try:
        return call_patiently(ask, may_server_recover)
    except (OSError, HTTPException, ValueError):
        return []


def is_vector_file(source: str) -> bool:
    """Whether a file (or `file:layer`) holds polygons, by its name."""
    return parse_layer_path(source)[0].suffix.lower() in VECTOR_SUFFIXES


def parse_layer_path(source: str) -> tuple[Path, str | None]:
    """The two halves of `file:layer`; the layer is none if the whole is a file."""
    whole, (file, _, layer) = Path(source), source.rpartition(":")
    # The colon of a drive (C:) or an address (https://host:80/) follows no file's name, or a path follows it.
    if whole.exists() or not Path(file).suffix or {"/", "\\"} & set(layer):
        return whole, None
    return Path(file), layer


def list_replaced_files(*layers: object) -> list[str]:
    """The files of some layers that are given, but for GeoPackages: their other layers stay when one is written."""
    files = [parse_layer_path(str(layer))[0] for layer in layers if layer]
    return [str(file) for file in files if file.suffix.lower() != ".gpkg"]


def digest_layer(source: str) -> str:
    """What changes when a layer of a file does, wherever the file lies; what is no file (`grid:1km`) stands for itself."""
    path, layer = parse_layer_path(source)
    if not path.is_file():
        return source
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}:{layer}"


def read_layer_state(source: str) -> list[Any]:
    """What changes when the file of a layer does, which is named as `file` or `file:layer`."""
    return read_source_state(str(parse_layer_path(source)[0]))
