"""Building footprints and trustworthy areas from large GeoTIFFs.

    import geoseg

    result = geoseg.infer("scene.tif", "buildings.gpkg", min_area_m2=12)
    result.buildings        # a GeoDataFrame, read when it is asked for
    result.area_m2

Everything is loaded when it is first used, so that the import itself costs next to nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

HOMES = {
    "Card": "geoseg.models.card",
    "GeosegError": "geoseg.errors",
    "InputError": "geoseg.errors",
    "calibrate": "geoseg.api",
    "compare": "geoseg.api",
    "evaluate": "geoseg.api",
    "infer": "geoseg.api",
    "open_model": "geoseg.api",
    "plot": "geoseg.api",
    "prepare": "geoseg.api",
    "publish": "geoseg.api",
    "sample": "geoseg.api",
    "stats": "geoseg.api",
    "train": "geoseg.api",
    "vectorize": "geoseg.api",
}

__all__ = sorted(HOMES)  # noqa: PLE0605 - `__init__.pyi` names them for editors


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
