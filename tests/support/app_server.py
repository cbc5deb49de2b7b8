"""The app as people use it: a server of its own, and pages of a real browser that note what goes wrong.

python tests/support/app_server.py docs/pages/images/app.jpg

makes the picture of the documentation.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
START_S = 120
SLOW_MS = 180_000


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve_app(folder: Path, arguments: Sequence[str] = ()) -> Iterator[str]:
    """The address of a server whose temporary files lie in a folder."""
    port = find_free_port()
    command = [sys.executable, "-m", "geoseg", "app", "--port", str(port), "--no-browser", *arguments]
    environment = os.environ | {
        "TMPDIR": str(folder),
        "TEMP": str(folder),
        "TMP": str(folder),
        "NO_PROXY": "localhost",
    }
    with (
        (folder / "server.log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            wait_for(f"http://localhost:{port}/_stcore/health")
            yield f"http://localhost:{port}"
        finally:
            server.terminate()
            server.wait(30)


def wait_for(address: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(START_S * 4):
        try:
            with opener.open(address, timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    raise TimeoutError(address)


@contextmanager
def open_browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Any, address: str, size: tuple[int, int], scheme: str = "light") -> Iterator[Any]:
    """A page that is open; in the end nothing may have gone wrong, and no request may have left the machine."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
    page.set_default_timeout(SLOW_MS)
    host = urlsplit(address).netloc
    allowed = (f"http://{host}/", f"ws://{host}/", "data:", "blob:")
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(allowed) else wrong.append(asked.url))
    page.on("websocket", lambda socket: None if socket.url.startswith(allowed) else wrong.append(socket.url))
    page.goto(address)
    page.get_by_role("button", name="Find buildings").wait_for()
    yield page
    page.close()
    assert wrong == []


def upload(page: Any, path: Path) -> None:
    """Choose the second source, and give it a file."""
    page.get_by_text("My own image").click()
    page.locator('input[type="file"]').first.set_input_files(str(path))


def find_buildings(page: Any) -> None:
    """Press the button when it can be pressed, and wait for the map."""
    button = page.get_by_role("button", name="Find buildings")
    page.wait_for_function(
        "() => [...document.querySelectorAll('button')].some(b => b.innerText === 'Find buildings' && !b.disabled)"
    )
    button.click()
    page.locator(".geoseg-map canvas").first.wait_for()
    wait_until_still(page)


def wait_until_still(page: Any) -> None:
    """Wait until the page has shown all that it is going to show."""
    page.wait_for_timeout(500)
    page.wait_for_function("() => document.querySelector('.stApp').dataset.testScriptState === 'notRunning'")
    page.wait_for_timeout(500)


def ask_map(page: Any, expression: str) -> Any:
    """What the map says, for an expression of its `view`."""
    return page.locator(".geoseg-map").evaluate(
        f"root => {{ const view = root.geoseg.view; return {expression}; }}"
    )


def click_map(page: Any, *places: tuple[float, float]) -> None:
    """Click shares of the map's width and height."""
    box = page.locator(".geoseg-map .map").bounding_box()
    for across, down in places:
        page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
        page.wait_for_timeout(500)  # so that two are no double click


def make_picture(out: Path) -> None:
    """The example with its map, a region and an open building."""
    from tempfile import TemporaryDirectory

    from PIL import Image

    with (
        TemporaryDirectory() as folder,
        serve_app(Path(folder)) as address,
        open_browser() as browser,
        open_page(browser, f"{address}/?colors=confidence", (1280, 1300)) as page,
    ):
        find_buildings(page)
        page.get_by_role("button", name="Draw a region").click()
        click_map(page, (0.3, 0.25), (0.55, 0.25), (0.55, 0.6), (0.3, 0.6))
        page.keyboard.press("Enter")
        page.get_by_text("Per region").wait_for()
        wait_until_still(page)
        page.locator("h1").scroll_into_view_if_needed()
        click_map(page, (0.28, 0.75))
        page.wait_for_timeout(1000)
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.convert("RGB").save(out, quality=80)


if __name__ == "__main__":
    make_picture(Path(sys.argv[1]))
