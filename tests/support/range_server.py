"""Serves a folder over HTTP with byte ranges, as cloud storage does: python range_server.py FOLDER [FAULT FIRST LAST].

A process of its own, because GDAL keeps Python's lock while it opens a web address. From the FIRST to the LAST request for
bytes it is at fault: slow (half a second), dropped (no answer), cut (half of the bytes), busy (503).
"""

from __future__ import annotations

import sys
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

SLOW_S = 0.5
REQUESTS = count(1)


class Ranges(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        path = Path(sys.argv[1]) / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        first, last = 0, len(content) - 1
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
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if with_body:
            body = content[first : last + 1]
            self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
            self.close_connection = fault == "cut"

    def find_fault(self) -> str:
        """What is wrong with this request, if anything."""
        if len(sys.argv) == 2:
            return ""
        fault, first, last = sys.argv[2], *map(int, sys.argv[3:5])
        return fault if first <= next(REQUESTS) <= last else ""

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    print(server.server_port, flush=True)
    server.serve_forever()
