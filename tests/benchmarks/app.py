"""Seconds from the click to the map for a large upload, and from a move of the slider to new polygons at 5,000 buildings.

    python tests/benchmarks/app.py [--side 4000]

A real server and a real Chromium, on the processors that this process may use (`taskset -c 0,1` gives it two). CPU seconds
are those of the server and its processes: on a busy machine they tell more than the clock. For the slider, the probability
that the run kept is replaced by one of houses in rows, since no scene at hand has 5,000.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from inference import write_scene
from machine import machine, table
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from app_server import ask_map, find_buildings, open_browser, open_page, serve_app, upload, wait_until_still

HOUSE_STEP = 56
MOVES = {"a step of the slider": ["ArrowLeft"] * 5, "a jump by nine steps": ["PageDown"] * 3}
LOOK_S = 2.0
"""How long a person looks at a map before the next move; meanwhile the app makes the maps that one step leads to."""


def draw_houses(side: int) -> NDArray[np.uint8]:
    """Probability, boundary and distance of turned rectangles with soft edges, one in each square of 56 pixels."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:HOUSE_STEP, :HOUSE_STEP].astype(np.float32) - HOUSE_STEP / 2
    values = np.zeros((3, side, side), np.float32)
    for row in range(0, side - HOUSE_STEP + 1, HOUSE_STEP):
        for col in range(0, side - HOUSE_STEP + 1, HOUSE_STEP):
            turn, half = random.uniform(0, np.pi), random.uniform(8, 18, 2)
            along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
            inside = np.minimum(half[0] - np.abs(along), half[1] - np.abs(across))
            edge = inside + random.normal(0, 0.3, inside.shape)
            probability = random.uniform(0.6, 1) / (1 + np.exp(-edge))
            distance = np.clip(edge / half.min(), 0, 1)
            values[:, row : row + HOUSE_STEP, col : col + HOUSE_STEP] = (
                probability,
                np.exp(-(edge**2) / 4),
                distance,
            )
    return np.rint(values * 250).astype(np.uint8)


def replace_outputs(folder: Path, side: int) -> None:
    """Put drawn houses in the place of what the network told of a scene."""
    houses = draw_houses(side)
    for name in ("outputs.tif", "probability.tif"):
        with rasterio.open(folder / name) as dataset:
            profile, names = (
                {**dataset.profile, "driver": "GTiff", "compress": "deflate"},
                dataset.descriptions,
            )
        with rasterio.open(folder / name, "w", **profile) as dataset:
            dataset.write(houses[: dataset.count])
            dataset.descriptions, dataset.scales = names, (1 / 250,) * dataset.count


@contextmanager
def count_seconds(into: list[tuple[float, float]]) -> Iterator[None]:
    """Seconds of the clock, and CPU seconds of the processes that this one started and theirs."""
    clock, before = time.perf_counter(), sum_cpu_seconds()
    yield
    into.append((time.perf_counter() - clock, sum_cpu_seconds() - before))


def sum_cpu_seconds() -> float:
    """What the servers among this process's children, and the processes that they started, have used so far."""
    parents, ticks, servers = {}, {}, set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        number, parents[process.name], ticks[process.name] = (
            process.name,
            fields[1],
            sum(map(int, fields[11:13])),
        )
        if int(fields[1]) == os.getpid() and "geoseg" in command:
            servers.add(number)
    used = sum(ticks[each] for each in ticks if each in servers or parents[each] in servers)
    return used / os.sysconf("SC_CLK_TCK")


def move_slider(page: Any, key: str) -> None:
    """Press a key, and wait until the map shows the new polygons."""
    version = page.locator(".geoseg-map").evaluate("root => root.geoseg.version")
    page.get_by_role("slider", name="Threshold").press(key)
    page.wait_for_function(
        """before => {
            const find = (node) => node.querySelector('.geoseg-map') || [...node.querySelectorAll('*')]
                .filter((each) => each.shadowRoot).map((each) => find(each.shadowRoot)).find(Boolean);
            return find(document).geoseg.version !== before;
        }""",
        arg=version,
    )


def look(page: Any) -> None:
    wait_until_still(page)
    time.sleep(LOOK_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4000)
    side = parser.parse_args().side
    first: list[tuple[float, float]] = []
    moves: dict[str, list[tuple[float, float]]] = {name: [] for name in MOVES}
    with TemporaryDirectory() as name, serve_app(Path(name)) as address, open_browser() as browser:
        scene = Path(name, "scene.tif")
        write_scene(scene, side)
        with open_page(browser, address, (1280, 1200)) as page:
            upload(page, scene)
            page.get_by_text(f"scene: {side:,} x {side:,}").wait_for()
            wait_until_still(page)
            with count_seconds(first):
                find_buildings(page)
            (kept,) = Path(name).glob("geoseg-app-*/session-*/run-*/probability.tif")
            time.sleep(LOOK_S)
            replace_outputs(kept.parent, side)
            (kept.parent / "plain.tif").unlink(missing_ok=True)
            move_slider(page, "PageUp")  # beyond the maps that were made before
            look(page)
            for what, keys in MOVES.items():
                for key in keys:
                    with count_seconds(moves[what]):
                        move_slider(page, key)
                    look(page)
            buildings = ask_map(page, "view.count()")
    print(f"{machine()}; {side} x {side} pixels, {buildings:,} buildings")
    rows = {"click to map": first, **moves}
    print(table(("", "seconds", "CPU seconds"), [(what, *summarize(each)) for what, each in rows.items()]))


def summarize(seconds: Sequence[tuple[float, float]]) -> Iterator[str]:
    """The medians."""
    return (f"{median(each):.2f}" for each in zip(*seconds, strict=True))


if __name__ == "__main__":
    main()
