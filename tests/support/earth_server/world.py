"""The world that the test server knows: assets whose pixels are a pure function of where they lie."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Field = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
EVERYWHERE = (-180.0, -85.0, 180.0, 85.0)
UINT8 = {"type": "PixelType", "precision": "int", "min": 0, "max": 255}
UINT16 = {"type": "PixelType", "precision": "int", "min": 0, "max": 65535}
DOUBLE = {"type": "PixelType", "precision": "double"}


@dataclass
class Scene:
    """One image: when, where, and what is said of it. `number` makes its clouds differ from its neighbours'."""

    index: str
    time_ms: int = 0
    number: int = 0
    bounds: tuple[float, float, float, float] = EVERYWHERE
    properties: dict[str, object] = field(default_factory=dict)


@dataclass
class Asset:
    """An image or a collection: bands with their type and field, and scenes."""

    id: str
    bands: dict[str, tuple[dict, Field]]
    scenes: list[Scene]
    kind: str = "IMAGE_COLLECTION"
    scale_m: float = 10.0


def salt(text: str) -> int:
    return zlib.crc32(text.encode()) % 9973


def ramp(name: str, top: int) -> Field:
    """Different at every pixel and band: swapped tiles or a shift by one pixel show at once."""
    return lambda gx, gy, number: (gx * 7 + gy * 13 + salt(name)) % top + 1


def cloudy(gx: np.ndarray, gy: np.ndarray, number: int) -> np.ndarray:
    """Which pixels of a scene are clouded: always two of three scenes."""
    return ((gx // 37 + gy // 41 + number) % 3) != 0


def clouded(name: str) -> Field:
    """Ground, and far too bright where there are clouds."""
    return lambda gx, gy, number: ramp(name, 9973)(gx, gy, number) + 20000 * cloudy(gx, gy, number)


def blocks(top: int, side: int = 8) -> Field:
    """Patches of ground with the same value."""
    return lambda gx, gy, number: (gx // side * 31 + gy // side * 17) % (top + 1)


def picked(codes: tuple[int, ...], side: int = 8) -> Field:
    return lambda gx, gy, number: np.array(codes)[blocks(len(codes) - 1, side)(gx, gy, number)]


def summer(count: int = 3) -> list[Scene]:
    """Scenes a month apart in 2023."""
    first = 1_683_000_000_000
    return [
        Scene(f"S{n}", first + n * 2_592_000_000, n, properties={"CLOUDY_PIXEL_PERCENTAGE": 60.0 - 20 * n})
        for n in range(count)
    ]


S2_BANDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"]


def world() -> dict[str, Asset]:
    """Every asset, anew for each test."""
    s2 = {band: (UINT16, clouded(band)) for band in S2_BANDS}
    scl: Field = lambda gx, gy, n: np.where(cloudy(gx, gy, n), 9, 4)  # noqa: E731
    score: Field = lambda gx, gy, n: np.where(cloudy(gx, gy, n), 0.2, 0.9)  # noqa: E731
    cloud: Field = lambda gx, gy, n: np.where(cloudy(gx, gy, n), 90, 5)  # noqa: E731
    rgb = {band: (UINT8, ramp(band, 250)) for band in "NRGB"}
    whole_year = [Scene("only", 1_514_764_800_000)]
    assets = [
        Asset("COPERNICUS/S2_SR_HARMONIZED", {**s2, "SCL": (UINT8, scl)}, summer()),
        Asset("COPERNICUS/S2_HARMONIZED", {**s2, "B10": (UINT16, clouded("B10"))}, summer()),
        Asset("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", {"cs_cdf": (DOUBLE, score)}, summer()),
        Asset("COPERNICUS/S2_CLOUD_PROBABILITY", {"probability": (UINT8, cloud)}, summer()),
        Asset("Germany/Brandenburg/orthos/20cm", rgb, [Scene("dop", 1_650_000_000_000)], scale_m=0.2),
        Asset("USDA/NAIP/DOQQ", rgb, [Scene("m_1", 1_680_000_000_000), Scene("n_1", 1_690_000_000_000)]),
        Asset(
            "JRC/GHSL/P2023A/GHS_BUILT_S_10m/2018",
            {"built_surface": (UINT16, blocks(100))},
            whole_year,
            "IMAGE",
        ),
        Asset(
            "JRC/GHSL/P2023A/GHS_BUILT_C/2018",
            {"built_characteristics": (UINT8, picked((0, 1, 5, 11, 25, 77)))},
            whole_year,
            "IMAGE",
        ),
        Asset("DLR/WSF/WSF2015/v1", {"settlement": (UINT8, picked((255, 255)))}, whole_year, "IMAGE"),
        Asset("ESA/WorldCover/v200", {"Map": (UINT8, picked((10, 50, 80)))}, whole_year),
        Asset(
            "GOOGLE/DYNAMICWORLD/V1",
            {"built": (DOUBLE, lambda x, y, n: blocks(100)(x, y, n) / 100)},
            summer(),
        ),
        Asset(
            "GOOGLE/Research/open-buildings-temporal/v1",
            {"building_presence": (DOUBLE, lambda x, y, n: blocks(100, 3)(x, y, n) / 100)},
            [Scene("2023", 1_688_083_200_000)],
            scale_m=4.0,
        ),
        Asset(
            "GOOGLE/Research/open-buildings/v3/polygons",
            {"inside": (UINT8, blocks(1, 60))},
            [Scene("p", properties={"confidence": 0.9})],
            "TABLE",
        ),
        Asset("projects/geoseg-test/assets/esm", {"b1": (UINT8, picked((1, 250, 255)))}, whole_year, "IMAGE"),
        Asset(
            "projects/geoseg-test/assets/dem",
            {"elevation": (DOUBLE, lambda x, y, n: gentle(x, y)), "code": (UINT8, blocks(200))},
            whole_year,
            "IMAGE",
        ),
    ]
    return {asset.id: asset for asset in assets}


def gentle(gx: np.ndarray, gy: np.ndarray) -> np.ndarray:
    return (gx % 1000) / 8 + (gy % 1000) / 16
