"""The data of a run: what is trained and validated on, how its raw values are scaled, and how much each class counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geoseg.datasets.reading.sites import (
    Range,
    Site,
    Statistics,
    compute_mean_and_std,
    compute_pooled_range,
    holds_bytes,
    open_sites,
    pick_sites,
    sum_class_counts,
)
from geoseg.datasets.reading.split_overlap import refuse_shared_ground
from geoseg.datasets.schema import Dataset
from geoseg.errors import InputError
from geoseg.models.card import Card, DerivedBand, Scaling, Separator
from geoseg.models.formulas import Formula
from geoseg.models.store import find_model
from geoseg.progress import list_names
from geoseg.raster.bands import RGB, find_band_name
from geoseg.training.losses import compute_balanced_weights
from geoseg.training.networks import find_photo_scaling
from geoseg.training.options import TrainOptions
from geoseg.training.patches.augmentation import RECIPES

SPECTRAL_INDICES = {
    "ndvi": "(nir - red) / (nir + red)",
    "ndti": "(red - green) / (red + green)",
    "red-edge-ndvi": "(nir - rededge) / (nir + rededge)",
    "ndwi": "(green - nir) / (green + nir)",
    "mndwi": "(green - swir) / (green + swir)",
    "ndbi": "(swir - nir) / (swir + nir)",
}


def parse_derived_bands(request: str, bands: Sequence[str]) -> tuple[DerivedBand, ...]:
    """The derived bands a user asks for: names of indices, or `name = formula`, with semicolons between."""
    return tuple(
        parse_derived_band(part.strip(), request, bands) for part in request.split(";") if part.strip()
    )


def parse_derived_band(part: str, request: str, bands: Sequence[str]) -> DerivedBand:
    name, _, formula = (text.strip() for text in part.partition("="))
    if not formula:
        if name.lower() not in SPECTRAL_INDICES:
            raise InputError(
                f"`derived` {request}: no index {name!r}; known are {', '.join(SPECTRAL_INDICES)}, or name = formula"
            )
        formula = translate_formula(SPECTRAL_INDICES[name.lower()], bands)
    try:
        Formula.parse(formula, bands)
    except ValueError as error:
        raise InputError(f"`derived` {request}: {error}") from error
    return DerivedBand(name, formula)


def translate_formula(formula: str, bands: Sequence[str]) -> str:
    """A formula of colours in the names that the bands have here."""
    return re.sub(r"[a-z]+", lambda found: find_band_name(found[0], bands) or found[0], formula)


def make_first_card(ground: TrainingData, out: Path, settings: TrainOptions) -> Card:
    """What can be said of a model before it is trained."""
    dataset, gsd_m = ground.dataset, settings.gsd or ground.dataset.gsd_m
    start = find_model(settings.start_from).card if settings.start_from else None
    smallest, largest = RECIPES[settings.augment].scale
    reach = (1 / largest, 1 / smallest) if smallest < 1 else (0.8, 1.25)
    return Card(
        name=settings.name or out.name,
        bands=dataset.bands,
        classes=dataset.classes,
        gsd_m=gsd_m,
        gsd_range_m=(round(gsd_m * reach[0], 4), round(gsd_m * reach[1], 4)),
        description=settings.description,
        patch=settings.patch,
        scaling=choose_scaling(settings, dataset.bands, ground.training),
        derived=parse_derived_bands(settings.derived, dataset.bands) or inherit_bands(start, dataset.bands),
        activation="sigmoid" if len(dataset.classes) == 2 else "softmax",
        separators=choose_separators(ground, settings),
        licence=settings.licence or join_licences(start, dataset),
        sources=(*(start.sources if start else ()), describe_source(dataset)),
    )


def find_foreign_resolution(card: Card, settings: TrainOptions) -> list[str]:
    """A complaint about a model to start from that knows no pixels of the size that is trained at."""
    start = find_model(settings.start_from).card if settings.start_from else card
    finest, coarsest = start.gsd_range_m
    if finest <= card.gsd_m <= coarsest:
        return []
    known = f"knows pixels of {finest:g} to {coarsest:g} m, and this run trains at {card.gsd_m:g} m"
    return [f"`start_from` {settings.start_from}: {known}; `gsd` {start.gsd_m:g} trains at the model's own"]


def choose_separators(ground: TrainingData, settings: TrainOptions) -> tuple[Separator, ...]:
    """What the network learns beside the class, to part buildings that touch."""
    tells_apart = any(site.labels.tells_buildings_apart for site in ground.training)
    possible = len(ground.dataset.classes) == 2 and tells_apart
    if settings.separate == "always" and not possible:
        raise InputError(
            f"`separate` always: {ground.dataset.name} needs two classes, and outlines or numbers of single buildings "
            "to learn from"
        )
    return ("boundary", "distance") if possible and settings.separate != "never" else ()


def inherit_bands(start: Card | None, bands: Sequence[str]) -> tuple[DerivedBand, ...]:
    """Derived bands of a model to start from, where the data have what they are made of."""
    try:
        for band in start.derived if start else ():
            Formula.parse(band.formula, bands)
    except ValueError:
        return ()
    return start.derived if start else ()


def join_licences(start: Card | None, dataset: Dataset) -> str:
    """Weights owe to the data, and to the model that they started from."""
    return "; ".join(dict.fromkeys(filter(None, (start.licence if start else "", dataset.licence))))


def describe_source(dataset: Dataset) -> dict[str, str]:
    return {
        "name": dataset.name,
        "licence": dataset.licence,
        "attribution": dataset.attribution,
        "source": dataset.source,
    }


@dataclass(frozen=True)
class TrainingData:
    """What is learnt from and what is validated on."""

    dataset: Dataset
    training: tuple[Site, ...]
    validation: tuple[Site, ...]


def open_training_data(dataset: Dataset, settings: TrainOptions) -> TrainingData:
    if len(dataset.classes) < 2:
        raise InputError(
            f"{dataset.name}: needs two classes, the background first, not {len(dataset.classes)}"
        )
    gsd_m = settings.gsd or dataset.gsd_m
    seams = settings.shows_seams(gsd_m) and not (len(dataset.classes) == 2 and settings.separate != "never")
    training = open_sites(dataset, "train", gsd_m, seams)
    ground = TrainingData(dataset, training, open_sites(dataset, "validation", gsd_m))
    refuse_shared_ground({"train": ground.training, "validation": ground.validation})
    return ground


def find_missing_classes(ground: TrainingData) -> list[str]:
    """Complaints about classes that one of the splits lacks."""
    names = [each.name for each in ground.dataset.classes]
    missing = [
        (split, verb, [name for name, count in zip(names, sum_class_counts(sites), strict=True) if not count])
        for split, verb, sites in (
            ("train", "learnt", ground.training),
            ("validation", "said", ground.validation),
        )
    ]
    return [
        f"no pixel of {list_names(lacking)} is in the {split} split; nothing can be {verb} of that"
        for split, verb, lacking in missing
        if lacking
    ]


def choose_class_weights(settings: TrainOptions, ground: TrainingData) -> Tensor | None:
    """How much each class counts in losses of single pixels."""
    if not settings.class_weights:
        return None
    if settings.class_weights == "auto":
        return torch.tensor(compute_balanced_weights(sum_class_counts(ground.training).tolist()))
    try:
        weights = np.array([float(part) for part in settings.class_weights.split(",")])
    except ValueError as error:
        raise InputError(
            f"`class_weights` {settings.class_weights}: give auto, or numbers such as 1,4"
        ) from error
    count = len(ground.dataset.classes)
    if len(weights) != count or (weights < 0).any() or not 0 < weights.sum() < np.inf:
        raise InputError(
            f"`class_weights` {settings.class_weights}: give {count} numbers of zero or more, not all of them zero"
        )
    return torch.from_numpy(weights).float()


BYTES = (0.0, 255.0)


def choose_scaling(settings: TrainOptions, bands: Sequence[str], sites: Sequence[Site]) -> Scaling:
    """The scaling of a new model: as asked, else bytes as they are, and other images by their own percentiles."""
    low, high = choose_value_range(settings, sites)
    as_asked = settings.low is not None or settings.high is not None
    stretch = settings.stretch
    if stretch == "auto":
        stretch = "when-foreign" if as_asked or holds_bytes(sites) else "always"
    bare = Scaling(low, high, stretch=stretch)
    mean, std = find_expected_statistics(settings, bands) or compute_mean_and_std(bare, pick_sites(sites))
    return replace(bare, mean=mean, std=std)


def choose_value_range(settings: TrainOptions, sites: Sequence[Site]) -> Range:
    """The raw values that become 0 and 1. One that is not asked for is that of bytes, or that of nearly all the data."""
    if settings.low is not None and settings.high is not None:
        return settings.low, settings.high
    least, most = BYTES if holds_bytes(sites) else compute_pooled_range(pick_sites(sites))
    if settings.low is not None and settings.low >= most:
        raise InputError(f"`low` {settings.low:g}: the data end at {most:g}; give `high` as well")
    if settings.high is not None and settings.high <= least:
        raise InputError(f"`high` {settings.high:g}: the data begin at {least:g}; give `low` as well")
    return (
        least if settings.low is None else settings.low,
        most if settings.high is None else settings.high,
    )


def find_expected_statistics(settings: TrainOptions, bands: Sequence[str]) -> Statistics | None:
    """Mean and spread that the weights to start from expect, on the scale from 0 to 1; None if they expect none."""
    if settings.start_from:
        card = find_model(settings.start_from).card
        return (card.scaling.mean, card.scaling.std) if card.bands == tuple(bands) else None
    if settings.from_scratch or tuple(bands) != RGB:
        return None
    return find_photo_scaling(settings.encoder)
