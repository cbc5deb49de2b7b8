"""Derived bands by their usual names, for bands called by colour or as Sentinel-2 calls them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from geoseg.bandnames import named
from geoseg.errors import InputError
from geoseg.model.bands import Formula
from geoseg.model.card import DerivedBand

INDICES = {
    "ndvi": "(nir - red) / (nir + red)",
    "ndti": "(red - green) / (red + green)",
    "red-edge-ndvi": "(nir - rededge) / (nir + rededge)",
    "ndwi": "(green - nir) / (green + nir)",
    "mndwi": "(green - swir) / (green + swir)",
    "ndbi": "(swir - nir) / (swir + nir)",
}


def derived_bands(request: str, bands: Sequence[str]) -> tuple[DerivedBand, ...]:
    """The derived bands a user asks for: names of indices, or `name = formula`, with semicolons between."""
    return tuple(derived_band(part.strip(), request, bands) for part in request.split(";") if part.strip())


def derived_band(part: str, request: str, bands: Sequence[str]) -> DerivedBand:
    name, _, formula = (text.strip() for text in part.partition("="))
    if not formula:
        if name.lower() not in INDICES:
            raise InputError(
                f"--derived {request}: no index {name!r}; known are {', '.join(INDICES)}, or name = formula"
            )
        formula = in_terms_of(INDICES[name.lower()], bands)
    try:
        Formula.parse(formula, bands)
    except ValueError as error:
        raise InputError(f"--derived {request}: {error}") from error
    return DerivedBand(name, formula)


def in_terms_of(formula: str, bands: Sequence[str]) -> str:
    """A formula of colours in the names that the bands have here."""
    return re.sub(r"[a-z]+", lambda found: named(found[0], bands) or found[0], formula)
