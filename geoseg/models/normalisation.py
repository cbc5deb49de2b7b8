"""From raw values to network inputs: one gain and offset a band for the whole scene, never per patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.models.card import Card, Scaling


@dataclass(frozen=True)
class Normalisation:
    """Per band: values are cut to `low` to `high` where asked, then become `value * gain + offset`."""

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    clip: bool

    @property
    def neutral(self) -> tuple[float, ...]:
        """The raw value of each band that the network sees as its mean: what unknown pixels are filled with."""
        return tuple(-offset / gain for gain, offset in zip(self.gain, self.offset, strict=True))


class Normaliser:
    """Brings raw values (patch, band, row, col) in float32 to a network's scale: numpy arrays, or what `upload` makes of them."""

    def __init__(
        self, normalisation: Normalisation, upload: Callable[[NDArray[Any]], Any] = np.asarray
    ) -> None:
        self.clip = normalisation.clip
        self.gain, self.offset, self.low, self.high = (
            upload(np.array(values, np.float32)[:, None, None])
            for values in (normalisation.gain, normalisation.offset, normalisation.low, normalisation.high)
        )

    def __call__(self, raw: Any) -> Any:
        values = raw.clip(self.low, self.high) if self.clip else raw
        return values * self.gain + self.offset


def make_fixed_normalisation(card: Card) -> Normalisation:
    """The card's own range, the same for every scene."""
    count = len(card.bands)
    return make_normalisation(
        card.scaling, (card.scaling.low,) * count, (card.scaling.high,) * count, clip=False
    )


def fit_scene_normalisation(
    card: Card, values: NDArray[Any], valid: NDArray[np.bool_], scene: str
) -> Normalisation:
    """The normalisation of one scene, from a look at the whole of it, (band, row, col), at low resolution."""
    scaling = card.scaling
    known = values[:, valid]
    if not known.size:
        raise InputError(f"{scene}: holds no valid pixel; every pixel is nodata, transparent or masked")
    foreign = is_foreign(known, scaling)
    if scaling.stretch == "always" or (scaling.stretch == "when-foreign" and foreign):
        low, high = np.percentile(known, scaling.percentiles, axis=1)
        high = np.where(high > low, high, low + 1)
        return make_normalisation(scaling, tuple(low.tolist()), tuple(high.tolist()), clip=True)
    if foreign:
        raise InputError(
            f"{scene}: values from {known.min():g} to {known.max():g}, but the model {card.name} expects "
            f"{scaling.low:g} to {scaling.high:g}; rescale the scene first, e.g. with gdal_translate -scale"
        )
    return make_fixed_normalisation(card)


def is_foreign(known: NDArray[Any], scaling: Scaling) -> bool:
    """Whether values cannot be on the card's scale.

    Their bulk reaches beyond it by more than half its length (11-bit imagery for bytes; a few white clouds above the
    scale of reflectance do not count), or all stay in its first twentieth (reflectance for bytes, bytes for reflectance).
    """
    span = scaling.high - scaling.low
    if known.max() < scaling.low + span / 20:
        return True
    least, most = scaling.low - span / 2, scaling.high + span / 2
    if least <= known.min() and known.max() <= most:  # percentiles take a while, and lie between these
        return False
    lowest, highest = np.percentile(known, scaling.percentiles)
    return bool(highest > most or lowest < least)


def make_normalisation(
    scaling: Scaling, low: tuple[float, ...], high: tuple[float, ...], clip: bool
) -> Normalisation:
    span = np.subtract(high, low)
    mean, std = np.broadcast_to(scaling.mean, span.shape), np.broadcast_to(scaling.std, span.shape)
    gain = 1 / (span * std)
    offset = -(np.array(low) / span + mean) / std
    return Normalisation(tuple(gain.tolist()), tuple(offset.tolist()), low, high, clip)
