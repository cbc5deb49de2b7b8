"""Which raw values a model will expect, found out from what it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geoseg.bandnames import PHOTO
from geoseg.errors import InputError
from geoseg.learn.encoders import photo_scaling
from geoseg.learn.patches.sites import Site
from geoseg.learn.settings import Settings
from geoseg.model.card import Card, Scaling
from geoseg.model.folder import find_model
from geoseg.model.normalisation import Normalisation, normalisation, scene_normalisation

MOST_LOOKED_AT = 100
BYTES = (0.0, 255.0)

Range = tuple[float, float]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]


def scaling_for(settings: Settings, bands: Sequence[str], sites: Sequence[Site]) -> Scaling:
    """The scaling of a new model: as asked, else bytes as they are, and other images by their own percentiles."""
    low, high = value_range(settings, sites)
    as_asked = settings.low is not None or settings.high is not None
    stretch = settings.stretch
    if stretch == "auto":
        stretch = "when-foreign" if as_asked or hold_bytes(sites) else "always"
    bare = Scaling(low, high, stretch=stretch)
    mean, std = statistics_for(settings, bands) or mean_and_std(bare, some(sites))
    return replace(bare, mean=mean, std=std)


def value_range(settings: Settings, sites: Sequence[Site]) -> Range:
    """The raw values that become 0 and 1. One that is not asked for is that of bytes, or that of nearly all the data."""
    if settings.low is not None and settings.high is not None:
        return settings.low, settings.high
    least, most = BYTES if hold_bytes(sites) else pooled_range(some(sites))
    if settings.low is not None and settings.low >= most:
        raise InputError(f"--low {settings.low:g}: the data end at {most:g}; give --high as well")
    if settings.high is not None and settings.high <= least:
        raise InputError(f"--high {settings.high:g}: the data begin at {least:g}; give --low as well")
    return (
        least if settings.low is None else settings.low,
        most if settings.high is None else settings.high,
    )


def hold_bytes(sites: Sequence[Site]) -> bool:
    return any(site.image.dtype == "uint8" for site in sites)


def statistics_for(settings: Settings, bands: Sequence[str]) -> Statistics | None:
    """Mean and spread that the weights to start from expect, on the scale from 0 to 1; None if they expect none."""
    if settings.start_from:
        card = find_model(settings.start_from).card
        return (card.scaling.mean, card.scaling.std) if card.bands == tuple(bands) else None
    if settings.from_scratch or tuple(bands) != PHOTO:
        return None
    return photo_scaling(settings.encoder)


def some(sites: Sequence[Site]) -> Sequence[Site]:
    """As many sites as it takes to know what all look like, evenly spread."""
    return sites[:: -(-len(sites) // MOST_LOOKED_AT)]


def pooled_range(sites: Sequence[Site]) -> Range:
    looks = [site.image.look() for site in sites]
    known = np.concatenate([values[:, valid].ravel()[::7] for values, valid in looks])
    low, high = np.percentile(known, (1, 99))
    return float(low), float(high if high > low else low + 1)


def mean_and_std(scaling: Scaling, sites: Sequence[Site]) -> Statistics:
    """Mean and spread of each band over all sites, on the scale from 0 to 1."""
    seen = []
    for site in sites:
        values, valid = site.image.look()
        ranges = site_range(scaling, site)
        known = values[:, valid][:, ::7].astype(np.float64)
        low, high = (np.array(limits)[:, None] for limits in (ranges.low, ranges.high))
        scaled = (known - low) / (high - low)
        seen.append(scaled.clip(0, 1) if ranges.clip else scaled)
    pooled = np.concatenate(seen, axis=1)
    mean, std = pooled.mean(axis=1), np.maximum(pooled.std(axis=1), 1e-3)
    return tuple(float(round(m, 4)) for m in mean), tuple(float(round(s, 4)) for s in std)


def site_range(scaling: Scaling, site: Site) -> Normalisation:
    """How the values of a site are brought to the scale from 0 to 1."""
    plain = Scaling(scaling.low, scaling.high, stretch=scaling.stretch)
    values, valid = site.image.look()
    bands = len(values)
    if not valid.any():
        return normalisation(plain, (plain.low,) * bands, (plain.high,) * bands, clip=False)
    return scene_normalisation(bandless_card(plain, bands), values, valid, site.item.image)


def bandless_card(scaling: Scaling, bands: int) -> Card:
    """A card that says no more than how raw values are scaled."""
    from geoseg.landclass import LandClass

    classes = (LandClass("background", "#000000"), LandClass("other", "#ffffff"))
    return Card("training", tuple(map(str, range(bands))), classes, 1.0, (1.0, 1.0), scaling=scaling)
