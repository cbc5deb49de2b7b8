"""Serves a folder over HTTP with byte ranges, as cloud storage does: python range_server.py FOLDER [LATENCY_S RATE].

A process of its own, because GDAL keeps Python's lock while it opens a web address. With a latency and a rate (bytes a second)
it answers as over a line: each request waits that long, and all answers together go no faster. `/.counts` tells how many
requests and bytes there were.
"""

from __future__ import annotations

import sys
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

PIECE = 65_536
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
    latency_s = 0.0
    line = Line(float("inf"))

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
        path = Path(sys.argv[1]) / self.path.partition("?")[0].lstrip("/")
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
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_body:
            self.send_content(path, first, last + 1)

    def send_counts(self) -> None:
        counts = f"{self.line.requests} {self.line.bytes}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(counts)))
        self.end_headers()
        self.wfile.write(counts)

    def send_content(self, path: Path, first: int, stop: int) -> None:
        with path.open("rb") as file:
            file.seek(first)
            while first < stop:
                piece = file.read(min(PIECE, stop - first))
                self.line.send(len(piece))
                self.wfile.write(piece)
                first += len(piece)

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    if len(sys.argv) > 2:
        Ranges.latency_s, Ranges.line = float(sys.argv[2]), Line(float(sys.argv[3]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    print(server.server_port, flush=True)
    server.serve_forever()
