"""A run settled before its first step: data, network, card, and how batches become ready. A value that loops read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.errors import InputError
from geoseg.learn.patches.augment import RECIPES, Recipe
from geoseg.learn.patches.batches import Batch, BatchTransform, PatchDataset, Wanted, batches
from geoseg.learn.patches.derived import derived_bands
from geoseg.learn.patches.radiometry import scaling_for
from geoseg.learn.patches.samples import Balance, GridPatches, RandomPatches, class_factors
from geoseg.learn.patches.shared_ground import refuse_shared_ground
from geoseg.learn.patches.sites import Site, open_sites, processors_of_mine, total_counts
from geoseg.learn.settings import MOST_WORKERS, Settings
from geoseg.learn.training.arithmetic import Arithmetic, arithmetic_of
from geoseg.learn.training.loss_sums import LossSum, parse_loss
from geoseg.learn.training.losses import balanced_weights
from geoseg.learn.training.networks import new_network, refuse_unknown
from geoseg.learn.training.processes import Team
from geoseg.learn.training.validation import Examiner
from geoseg.model.bands import Formula
from geoseg.model.card import Card, DerivedBand, Separator
from geoseg.model.folder import find_model
from geoseg.model.network import with_derived_bands
from geoseg.narrator import QUIET, Narrator, listed
from geoseg.prepare.dataset import Dataset, read_dataset


@dataclass(frozen=True)
class Ground:
    """What is learnt from and what is validated on."""

    dataset: Dataset
    training: tuple[Site, ...]
    validation: tuple[Site, ...]


@dataclass(frozen=True)
class Run:
    """Everything that decides a training run."""

    settings: Settings
    ground: Ground
    card: Card
    criterion: LossSum
    class_weights: Tensor | None
    device: torch.device
    team: Team

    @property
    def arithmetic(self) -> Arithmetic:
        return arithmetic_of(self.settings.precision, self.device)

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.settings.augment]

    @property
    def fingerprint(self) -> str:
        """What the run learns from and is judged by, told from any other: what goes on after a stop must be the same."""
        dataset, digest = self.ground.dataset, hashlib.blake2b(digest_size=16)
        digest.update(repr((dataset.bands, dataset.classes, dataset.ignore, self.card.scaling)).encode())
        for site in (*self.ground.training, *self.ground.validation):
            digest.update(
                repr((site.item.split, site.place, site.image.shape)).encode() + site.counts.tobytes()
            )
        return digest.hexdigest()

    def transform(self, recipe: Recipe) -> BatchTransform:
        return BatchTransform(self.card.scaling, recipe, self.settings.seed)

    @property
    def wanted(self) -> Wanted:
        """What the losses need beside the class of each pixel."""
        return Wanted(self.criterion.needs_weights, bool(self.card.separators))

    @property
    def readers(self) -> int:
        """How many processes read patches."""
        if self.settings.workers is not None:
            return self.settings.workers
        return min(MOST_WORKERS, processors_of_mine())

    def patches(self) -> RandomPatches:
        """The patches to learn from."""
        names = [each.name for each in self.card.classes]
        factors = class_factors(self.settings.oversample, names, total_counts(self.ground.training))
        balance = Balance(factors, self.settings.empty, self.settings.place_balance)
        return RandomPatches(
            self.ground.training, self.settings.patch, balance, self.settings.seed, self.recipe
        )

    def batches(self, first_step: int) -> Iterator[Batch]:
        """The batch of each step, or what of it falls to this process."""
        settings = self.settings
        numbers = [
            self.team.share(range(step * settings.batch, (step + 1) * settings.batch))
            for step in range(first_step, settings.steps)
        ]
        return batches(self.patch_dataset(self.patches()), numbers, self.readers, self.device)

    def validation_batches(self, most: int | None = None) -> Iterator[Batch]:
        """Patches to validate on, all or some evenly spread, or what of them falls to this process."""
        patches = GridPatches(self.ground.validation, self.settings.patch)
        chosen = (list(range(len(patches))) if most is None else patches.spread(most))[
            self.team.rank :: self.team.size
        ]
        numbers = [chosen[i : i + self.settings.batch] for i in range(0, len(chosen), self.settings.batch)]
        return batches(self.patch_dataset(patches), numbers, self.readers, self.device)

    def patch_dataset(self, patches: RandomPatches | GridPatches) -> PatchDataset:
        return PatchDataset(patches, self.card.scaling, self.ground.dataset.ignore, self.wanted)

    def examiner(self) -> Examiner:
        places = tuple(site.place for site in self.ground.validation)
        return Examiner(
            self.transform(RECIPES["none"]), self.criterion, self.class_weights, places, self.card.class_channels,
            self.ground.dataset.ignore, self.device, self.team, self.arithmetic,
        )  # fmt: skip

    def new_network(self, narrator: Narrator) -> nn.Module:
        """The untrained network; the same in every process."""
        torch.manual_seed(self.settings.seed)
        return new_network(self.settings, self.card, narrator)

    def behind_card(self, network: nn.Module) -> nn.Module:
        """The network as it takes a scene's own bands."""
        return with_derived_bands(network, self.card).to(self.device)


def open_run(
    path: Path, out: Path, settings: Settings, device: torch.device, team: Team, narrator: Narrator = QUIET
) -> Run:
    """Settle a run, or say in one line why it cannot be."""
    if settings.batch % (team.size * settings.accumulate):
        raise InputError(
            f"--batch {settings.batch}: must be a multiple of {team.size * settings.accumulate}: "
            f"{team.size} processes, each cutting its share in {settings.accumulate}"
        )
    refuse_unknown(settings)
    ground = open_ground(read_dataset(path), settings, narrator)
    card = first_card(ground, out, settings)
    return Run(
        settings,
        ground,
        card,
        parse_loss(settings.loss, card.class_channels == 1),
        class_weights(settings, ground),
        device,
        team,
    )


def open_ground(dataset: Dataset, settings: Settings, narrator: Narrator) -> Ground:
    if len(dataset.classes) < 2:
        raise InputError(
            f"{dataset.name}: needs two classes, the background first, not {len(dataset.classes)}"
        )
    gsd_m = settings.gsd or dataset.gsd_m
    seams = settings.keeps_apart(gsd_m) and not (len(dataset.classes) == 2 and settings.separate != "never")
    training = open_sites(dataset, "train", gsd_m, seams, narrator)
    ground = Ground(dataset, training, open_sites(dataset, "validation", gsd_m, narrator=narrator))
    refuse_shared_ground({"train": ground.training, "validation": ground.validation})
    return ground


def missing_classes(ground: Ground) -> list[str]:
    """Complaints about classes that one of the splits lacks."""
    names = [each.name for each in ground.dataset.classes]
    missing = [
        (split, verb, [name for name, count in zip(names, total_counts(sites), strict=True) if not count])
        for split, verb, sites in (
            ("train", "learnt", ground.training),
            ("validation", "said", ground.validation),
        )
    ]
    return [
        f"no pixel of {listed(lacking)} is in the {split} split; nothing can be {verb} of that"
        for split, verb, lacking in missing
        if lacking
    ]


def first_card(ground: Ground, out: Path, settings: Settings) -> Card:
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
        scaling=scaling_for(settings, dataset.bands, ground.training),
        derived=derived_bands(settings.derived, dataset.bands) or inherited_bands(start, dataset.bands),
        activation="sigmoid" if len(dataset.classes) == 2 else "softmax",
        separators=separators_of(ground, settings),
        licence=settings.licence or all_licences(start, dataset),
        sources=(*(start.sources if start else ()), source_of(dataset)),
    )


def separators_of(ground: Ground, settings: Settings) -> tuple[Separator, ...]:
    """What the network learns beside the class, to part buildings that touch."""
    tells_apart = any(site.labels.tells_buildings_apart for site in ground.training)
    possible = len(ground.dataset.classes) == 2 and tells_apart
    if settings.separate == "always" and not possible:
        raise InputError(
            f"--separate always: {ground.dataset.name} needs two classes, and outlines or numbers of single buildings "
            "to learn from"
        )
    return ("boundary", "distance") if possible and settings.separate != "never" else ()


def inherited_bands(start: Card | None, bands: Sequence[str]) -> tuple[DerivedBand, ...]:
    """Derived bands of a model to start from, where the data have what they are made of."""
    try:
        for band in start.derived if start else ():
            Formula.parse(band.formula, bands)
    except ValueError:
        return ()
    return start.derived if start else ()


def all_licences(start: Card | None, dataset: Dataset) -> str:
    """Weights owe to the data, and to the model that they started from."""
    return "; ".join(dict.fromkeys(filter(None, (start.licence if start else "", dataset.licence))))


def source_of(dataset: Dataset) -> dict[str, str]:
    return {
        "name": dataset.name,
        "licence": dataset.licence,
        "attribution": dataset.attribution,
        "source": dataset.source,
    }


def class_weights(settings: Settings, ground: Ground) -> Tensor | None:
    """How much each class counts in losses of single pixels."""
    if not settings.class_weights:
        return None
    if settings.class_weights == "auto":
        return torch.tensor(balanced_weights(total_counts(ground.training).tolist()))
    try:
        weights = np.array([float(part) for part in settings.class_weights.split(",")])
    except ValueError as error:
        raise InputError(
            f"--class-weights {settings.class_weights}: give auto, or numbers such as 1,4"
        ) from error
    count = len(ground.dataset.classes)
    if len(weights) != count or (weights < 0).any() or not 0 < weights.sum() < np.inf:
        raise InputError(
            f"--class-weights {settings.class_weights}: give {count} numbers of zero or more, not all of them zero"
        )
    return torch.from_numpy(weights).float()
