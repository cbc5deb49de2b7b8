"""The Python that knows QGIS, which is not the one that tests run in."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

PYTHON = os.environ.get("GEOSEG_QGIS_PYTHON", "/usr/bin/python3")


def ask_qgis(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    surroundings.pop("PYTHONPATH", None)
    return subprocess.run(
        [PYTHON, *arguments], check=False, capture_output=True, text=True, env=surroundings, timeout=120
    )


@cache
def is_qgis_there() -> bool:
    return Path(PYTHON).exists() and ask_qgis(["-c", "import qgis.core"]).returncode == 0
