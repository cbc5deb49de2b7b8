"""What is worked out once per model and machine: converted networks, and the precision found good enough."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache for geoseg; `GEOSEG_CACHE` moves it."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("GEOSEG_CACHE") or user_cache_path("geoseg"))


def write_atomically(path: Path, text: str) -> None:
    """Keep a small text; a cache that cannot be written is no reason to stop."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError:
        return
