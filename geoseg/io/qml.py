"""Styles of QGIS in .qml files: one lies beside all files of a stem, so a vector layer and a raster may have to share it."""

from __future__ import annotations

import re
from pathlib import Path

from geoseg.errors import InputError

STYLE_SUFFIX = ".qml"
RASTER_PART = re.compile(r"[ \t]*<pipe>.*</pipe>\s*(?:<blendMode>\d+</blendMode>\s*)?", re.DOTALL)
VECTOR_MARK = "<renderer-v2"
END = "</qgis>"


def join_styles(style: str, there: str) -> str:
    """A style beside which stays what the style that is there says of a layer of the other kind; the same in both orders."""
    vector, raster = (
        (style, find_raster_part(there)) if VECTOR_MARK in style else (there, find_raster_part(style))
    )
    if VECTOR_MARK not in vector or not raster:
        return style
    return RASTER_PART.sub("", vector).replace(END, raster + END)


def find_raster_part(style: str) -> str:
    """What a style says of a raster; nothing if it is one of a vector layer alone."""
    found = RASTER_PART.search(style)
    return found[0] if found else ""


def read_style(path: Path) -> str:
    """The style in a .qml file; empty if there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
