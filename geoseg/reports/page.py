"""What pages are made of: scripts, styles and templates that stand in them."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def read_asset(name: str) -> str:
    return (files("geoseg.reports") / "assets" / name).read_text(encoding="utf-8")


def write_json(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
