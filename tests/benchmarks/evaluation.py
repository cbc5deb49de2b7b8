"""Time and peak memory of `geoseg evaluate` against the size of the scene.

    python tests/benchmarks/evaluation.py [--quick]

A made-up town against itself: every footprint finds its partner. Pixels are read strip by strip; footprints stay in
memory, so the last column tells what each of them takes. Each run is a process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine, table
from town import write_town

SIZES = [(4096, 8192), (16384, 8192), (32768, 8192)]
QUICK = [(2048, 4096), (8192, 4096)]
EVALUATE = "from geoseg.cli.evaluate import command; command()"


def run(mask: Path) -> tuple[float, float, int]:
    """Peak memory in MiB, seconds and footprints of one run."""
    start = time.monotonic()
    command = [sys.executable, "-c", EVALUATE, str(mask), str(mask), "--quiet", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    summary = json.loads(process.stdout.read())
    _, _, usage = os.wait4(process.pid, 0)
    buildings = summary["regions"]["building"][0]["true"]
    return usage.ru_maxrss / 1024, time.monotonic() - start, buildings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small scenes only")
    rows: list[tuple[str, ...]] = []
    first: tuple[float, int] | None = None
    for height, width in QUICK if parser.parse_args().quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            write_town(Path(folder, "town.tif"), height, width)
            peak, seconds, buildings = run(Path(folder, "town.tif"))
        first = first or (peak, buildings)
        more = (peak - first[0]) * 1024 / max(1, buildings - first[1])
        rows.append(
            (
                f"{width:,} x {height:,}", f"{buildings:,}", f"{peak:.0f}", f"{seconds:.1f}",
                f"{height * width / 1e6 / seconds:.1f}", f"{more:.1f}" if buildings > first[1] else "",
            )
        )  # fmt: skip
    print(machine())
    print(
        table(("columns x rows", "footprints", "peak MiB", "seconds", "Mpx/s", "KiB per further one"), rows)
    )


if __name__ == "__main__":
    main()
