"""Batches: patches read by worker processes, sent to the device, and augmented and normalised there."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geoseg.datasets.reading.sites import Patch, Site, find_site_normalisation
from geoseg.errors import GeosegError
from geoseg.models.card import Scaling
from geoseg.models.normalisation import Normalisation
from geoseg.raster.grid import Window
from geoseg.training.patches.augmentation import AugmentationRecipe, augment_images, draw_params
from geoseg.training.patches.pose import Pose, lay_image, lay_labels
from geoseg.training.patches.targets import SeparationTargets, compute_boundary_weights, compute_separation

log = logging.getLogger(__name__)

BATCHES_AHEAD = 4
"""Batches that each worker process reads ahead."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps shared memory
BAND_BYTES, TARGET_BYTES = 4, 16
"""What a patch takes for a pixel at most: for a band, and for classes, weights and targets."""


class PatchSource(Protocol):
    """Numbered patches of some sites: which site each is of, what is read for it, and how it lies there."""

    @property
    def sites(self) -> tuple[Site, ...]: ...

    @property
    def side(self) -> int: ...

    def place(self, number: int) -> tuple[int, Window]: ...

    def pose(self, number: int) -> Pose: ...


@dataclass(frozen=True)
class Batch:
    """Raw patches and what is needed to make them ready: everything on the same device, one entry a patch first."""

    numbers: Tensor
    sites: Tensor
    values: Tensor
    classes: Tensor
    valid: Tensor
    weight: Tensor
    boundary: Tensor
    distance: Tensor
    low: Tensor
    high: Tensor
    clip: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def to(self, device: torch.device) -> Batch:
        return Batch(**{name: tensor.to(device, non_blocking=True) for name, tensor in vars(self).items()})

    def pieces(self, count: int) -> Iterator[Batch]:
        """The batch in so many parts."""
        cut = {name: tensor.chunk(count) for name, tensor in vars(self).items()}
        for i in range(len(cut["numbers"])):
            yield Batch(**{name: parts[i] for name, parts in cut.items()})


@dataclass(frozen=True)
class PreparedBatch:
    """What a network is trained with: inputs (patch, band, row, col), and for each pixel (patch, row, col) its label,
    its weight, and what tells buildings apart (`SeparationTargets`).
    """

    inputs: Tensor
    labels: Tensor
    weight: Tensor
    boundary: Tensor
    distance: Tensor


@dataclass(frozen=True)
class BatchTransform:
    """Makes batches ready on their device: scaled, varied, normalised; what is unknown looks like the mean."""

    scaling: Scaling
    recipe: AugmentationRecipe
    seed: int

    def __call__(self, batch: Batch) -> PreparedBatch:
        bands = batch.values.shape[1]
        images = self.scale_values(batch)
        if self.recipe != AugmentationRecipe():
            images = augment_images(
                images, draw_params(self.recipe, self.seed, batch.numbers.tolist(), bands)
            )
        mean, std = (
            expand_bands(values, bands, images.device) for values in (self.scaling.mean, self.scaling.std)
        )
        inputs = (images - mean) / std * batch.valid[:, None]
        return PreparedBatch(inputs, batch.classes, batch.weight, batch.boundary, batch.distance)

    def scale_values(self, batch: Batch) -> Tensor:
        """Values from 0 to 1, unknown ones at the mean."""
        low, high = (limit[:, :, None, None] for limit in (batch.low, batch.high))
        scaled = (batch.values.float() - low) / (high - low)
        scaled = torch.where(batch.clip[:, None, None, None], scaled.clamp(0, 1), scaled)
        mean = expand_bands(self.scaling.mean, scaled.shape[1], scaled.device)
        return torch.where(batch.valid[:, None], scaled, mean)


def expand_bands(values: Sequence[float], bands: int, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1).expand(1, bands, 1, 1)


@dataclass(frozen=True)
class ExtraTargets:
    """What is worked out for each pixel beside its class."""

    weights: bool = False
    separation: bool = False


class PatchDataset(Dataset[Any]):
    """Patches by number, as torch's loader wants them."""

    def __init__(self, patches: PatchSource, scaling: Scaling, ignore: int, wanted: ExtraTargets) -> None:
        self.patches, self.scaling = patches, scaling
        self.ignore, self.wanted = ignore, wanted
        self.ranges: dict[int, Normalisation] = {}
        dtypes = {site.image.dtype for site in patches.sites}
        self.dtype = np.uint8 if dtypes == {"uint8"} else np.float32

    def __getitem__(self, number: int) -> Any:
        try:
            return self.entry(number)
        except GeosegError as error:  # a worker's exception would arrive as a page of text
            return error

    def entry(self, number: int) -> dict[str, Any]:
        index, window = self.patches.place(number)
        scale, side = self.find_normalisation(index), self.patches.side
        patch = self.patches.sites[index].read(window, self.wanted.separation)
        pose = self.patches.pose(number)
        classes, valid, buildings = transform_labels(patch, pose, side, self.ignore)
        separation = (
            SeparationTargets.unknown(classes.shape)
            if buildings is None or not self.wanted.separation
            else compute_separation(buildings, classes != self.ignore)
        )
        return {
            "numbers": number,
            "sites": index,
            "values": convert_dtype(lay_image(self.fill_unknown(patch, scale), pose, side), self.dtype),
            "classes": classes,
            "valid": valid,
            "weight": compute_boundary_weights(classes, self.ignore)
            if self.wanted.weights
            else np.ones(classes.shape, np.float32),
            "boundary": separation.boundary,
            "distance": separation.distance,
            "low": np.array(scale.low, np.float32),
            "high": np.array(scale.high, np.float32),
            "clip": scale.clip,
        }

    @property
    def patch_bytes(self) -> int:
        """What a patch takes at most."""
        return self.patches.side**2 * (BAND_BYTES * len(self.scaling.mean) + TARGET_BYTES)

    def fill_unknown(self, patch: Patch, scale: Normalisation) -> NDArray[np.float32]:
        """The values of a patch; what is unknown shows as the mean, so that nothing else bleeds into what is known."""
        values = patch.values.astype(np.float32)
        if patch.valid.all():
            return values
        low, high = np.array(scale.low), np.array(scale.high)
        neutral = (low + np.array(self.scaling.mean) * (high - low)).astype(np.float32)
        return np.where(patch.valid, values, neutral[:, None, None])

    def find_normalisation(self, site: int) -> Normalisation:
        """How a site's values are scaled: found when its first patch is drawn, since large sets have many sites."""
        if site not in self.ranges:
            self.ranges[site] = find_site_normalisation(self.scaling, self.patches.sites[site])
        return self.ranges[site]


def transform_labels(
    patch: Patch, pose: Pose, side: int, ignore: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Classes, which pixels are known, and buildings of a patch as it lies; what the image does not show has no class."""
    planes = [patch.classes, patch.valid, *([] if patch.buildings is None else [patch.buildings])]
    classes, valid, *buildings = lay_labels(planes, pose, side)
    known = valid > 0.5
    return (
        np.where(known, classes, ignore).astype(np.uint8),
        known,
        buildings[0].astype(np.int32) if buildings else None,
    )


def convert_dtype(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    return values.round().clip(0, 255).astype(np.uint8) if dtype == np.uint8 else values


def collate_entries(entries: list[Any]) -> Any:
    failed = next((entry for entry in entries if isinstance(entry, GeosegError)), None)
    if failed is not None:
        return failed
    return {name: torch.from_numpy(np.stack([entry[name] for entry in entries])) for name in entries[0]}


def read_batches(
    dataset: PatchDataset, numbers: Sequence[Sequence[int]], workers: int, device: torch.device
) -> Iterator[Batch]:
    """The patches of each row of numbers as a batch on the device, read ahead by worker processes."""
    if not numbers:
        return
    workers = fit_workers(workers, dataset.patch_bytes * max(map(len, numbers)))
    loader = DataLoader(
        dataset,
        batch_sampler=[list(row) for row in numbers],
        num_workers=workers,
        collate_fn=collate_entries,
        prefetch_factor=BATCHES_AHEAD if workers else None,
        pin_memory=device.type == "cuda",
    )
    for collected in loader:
        if isinstance(collected, GeosegError):
            raise collected
        yield Batch(**collected).to(device)


@lru_cache
def fit_workers(workers: int, batch_bytes: int) -> int:
    """As many worker processes as can hand over their batches: what does not fit into shared memory would hang, or crash."""
    possible = min(workers, count_shared_batches(batch_bytes) // BATCHES_AHEAD) if workers else 0
    if possible < workers:
        log.warning(
            f"Shared memory holds the batches of {possible} of {workers} worker processes; more of it makes training faster (in "
            "a container: --shm-size 2g)"
        )
    return possible


def count_shared_batches(batch_bytes: int) -> int:
    """How many batches shared memory has room for, as far as the system tells."""
    try:
        torch.empty(batch_bytes, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.exists() else sys.maxsize
    except (RuntimeError, OSError):
        return 0
    return free // batch_bytes
