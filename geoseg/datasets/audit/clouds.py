"""Which pixels look like cloud, by one simple rule, which the audit's page states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.bands import find_rgb_bands

BRIGHT_BYTE = 200
BRIGHT_REFLECTANCE = 0.3
"""Thick cloud reflects a third of the light and more, bare soil and most roofs less (Sentinel-2's own mask asks for 0.35)."""
REFLECTANCE_SCALE = 10_000
LARGEST_DECIMAL = 2.0
"""Decimals up to here are reflectance as such; larger ones are multiplied with 10,000, as whole numbers are."""
WHITENESS = 0.15
"""How far red, green and blue may differ, as a share of the brightest, to count as white."""

CLOUD_RULE = (
    f"red, green and blue are all bright (bytes: {BRIGHT_BYTE} and more; other values: a reflectance of "
    f"{BRIGHT_REFLECTANCE:g} and more) and differ by at most {WHITENESS:.0%} of the brightest. White roofs, snow and sand "
    "count, too; thin cloud does not."
)


def find_cloud(values: NDArray[np.generic], bands: Sequence[str]) -> NDArray[np.bool_]:
    """Which pixels (row, col) of an image (band, row, col) look like cloud."""
    seen = np.nan_to_num(values[list(find_rgb_bands(bands))].astype(np.float32))
    brightest, darkest = seen.max(axis=0), seen.min(axis=0)
    cloudy: NDArray[np.bool_] = (darkest >= find_bright_level(values)) & (
        brightest - darkest <= WHITENESS * brightest
    )
    return cloudy


def find_bright_level(values: NDArray[np.generic]) -> float:
    """The value from which a band is bright."""
    if values.dtype == np.uint8:
        return BRIGHT_BYTE
    as_such = values.dtype.kind == "f" and np.nanmax(values, initial=0) <= LARGEST_DECIMAL
    return BRIGHT_REFLECTANCE * (1 if as_such else REFLECTANCE_SCALE)
