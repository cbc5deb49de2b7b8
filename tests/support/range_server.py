"""Serves a folder over HTTP with byte ranges, as cloud storage does.

    python range_server.py FOLDER [--line LATENCY_S RATE] [--fault FAULT FIRST LAST]

A process of its own, because GDAL keeps Python's lock while it opens a web address. With a latency and a rate (bytes a second)
it answers as over a line: each request waits that long, and all answers together go no faster. `/.counts` tells how many
requests and bytes there were. From the FIRST to the LAST request for bytes it is at fault: slow (half a second), dropped (no
answer), cut (half of the bytes), busy (503).
"""

from __future__ import annotations

import argparse
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Lock

PIECE = 65_536
SLOW_S = 0.5
BUFFERED_S = 0.2
"""A sender that comes late sends what it has missed in this time at once, as lines do."""


class Line:
    """What all answers share: so many bytes a second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0
        self._lock = Lock()
        self.requests = self.bytes = 0

    def send(self, size: int) -> None:
        """Wait until so many bytes have gone through."""
        with self._lock:
            self.bytes += size
            self._free_at = max(self._free_at, time.monotonic() - BUFFERED_S) + size / self._rate
        time.sleep(max(0.0, self._free_at - time.monotonic()))


class Ranges(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder: Path
    latency_s = 0.0
    line = Line(float("inf"))
    fault, first_at_fault, last_at_fault = "", 0, 0
    numbers = count(1)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        if self.path == "/.counts":
            self.send_counts()
            return
        self.line.requests += 1
        time.sleep(self.latency_s)
        path = self.folder / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = path.stat().st_size
        first, last = 0, size - 1
        wanted = self.headers.get("Range")
        if wanted:
            start, _, stop = wanted.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(stop or last), last)
        fault = self.find_fault() if with_body and path.suffix in (".tif", ".vrt") else ""
        if fault == "slow":
            time.sleep(SLOW_S)
        if fault == "dropped":
            self.close_connection = True
            return
        if fault == "busy":
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_body:
            self.send_content(path, first, last + 1, fault)

    def send_counts(self) -> None:
        counts = f"{self.line.requests} {self.line.bytes}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(counts)))
        self.end_headers()
        self.wfile.write(counts)

    def send_content(self, path: Path, first: int, stop: int, fault: str) -> None:
        if fault == "cut":
            stop = (first + stop) // 2
            self.close_connection = True
        with path.open("rb") as file:
            file.seek(first)
            while first < stop:
                piece = file.read(min(PIECE, stop - first))
                self.line.send(len(piece))
                self.wfile.write(piece)
                first += len(piece)

    def find_fault(self) -> str:
        """What is wrong with this request, if anything."""
        is_at_fault = self.first_at_fault <= next(self.numbers) <= self.last_at_fault
        return self.fault if is_at_fault else ""

    def log_message(self, *arguments: object) -> None:
        pass


def serve() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--line", nargs=2, type=float, default=(0.0, float("inf")))
    parser.add_argument("--fault", nargs=3, default=("", 0, 0))
    given = parser.parse_args()
    Ranges.folder, (Ranges.latency_s, rate) = given.folder, given.line
    Ranges.line = Line(rate)
    Ranges.fault, *requests = given.fault
    Ranges.first_at_fault, Ranges.last_at_fault = map(int, requests)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
