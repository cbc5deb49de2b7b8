"""Which raw values a model will expect, found out from what it is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoseg.learn.patches.sites import Site
from geoseg.learn.settings import Settings
from geoseg.model.card import Card, Scaling
from geoseg.model.normalisation import Normalisation, normalisation, scene_normalisation

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MOST_LOOKED_AT = 100
PHOTO = ("red", "green", "blue")


def scaling_for(settings: Settings, bands: Sequence[str], sites: Sequence[Site]) -> Scaling:
    """The scaling of a new model: as asked, else bytes as they are, and other images by their own percentiles."""
    bytes_among = any(site.image.dtype == "uint8" for site in sites)
    if settings.high:
        low, high, stretch = settings.low, settings.high, "when-foreign"
    elif bytes_among:
        low, high, stretch = 0.0, 255.0, "when-foreign"
    else:
        (low, high), stretch = pooled_range(some(sites)), "always"
    chosen = stretch if settings.stretch == "auto" else settings.stretch
    bare = Scaling(low, high, stretch=chosen)  # type: ignore[arg-type]
    if settings.weights != "none" and tuple(bands) == PHOTO:
        return Scaling(low, high, IMAGENET_MEAN, IMAGENET_STD, bare.stretch)
    mean, std = mean_and_std(bare, some(sites))
    return Scaling(low, high, mean, std, bare.stretch)


def some(sites: Sequence[Site]) -> Sequence[Site]:
    """As many sites as it takes to know what all look like, evenly spread."""
    return sites[:: -(-len(sites) // MOST_LOOKED_AT)]


def pooled_range(sites: Sequence[Site]) -> tuple[float, float]:
    looks = [site.image.look() for site in sites]
    known = np.concatenate([values[:, valid].ravel()[::7] for values, valid in looks])
    low, high = np.percentile(known, (1, 99))
    return float(low), float(high if high > low else low + 1)


def mean_and_std(scaling: Scaling, sites: Sequence[Site]) -> tuple[tuple[float, ...], tuple[float, ...]]:
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
