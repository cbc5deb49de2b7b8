"""Batches: patches read by worker processes, sent to the device as they are and made ready there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geoseg.errors import GeosegError
from geoseg.learn.patches.augment import Recipe, draw, varied
from geoseg.learn.patches.emphasis import boundary_weights
from geoseg.learn.patches.radiometry import site_range
from geoseg.learn.patches.sites import Patch, Site
from geoseg.model.card import Scaling
from geoseg.model.normalisation import Normalisation


class Patches(Protocol):
    """Numbered patches of some sites."""

    @property
    def sites(self) -> tuple[Site, ...]: ...

    def __getitem__(self, number: int) -> tuple[int, Patch]: ...


@dataclass(frozen=True)
class Batch:
    """Raw patches and what is needed to make them ready: everything on the same device, one entry a patch first."""

    numbers: Tensor
    sites: Tensor
    values: Tensor
    classes: Tensor
    valid: Tensor
    weight: Tensor
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
class Ready:
    """What a network is trained with: inputs (patch, band, row, col), labels and weights (patch, row, col)."""

    inputs: Tensor
    labels: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Kitchen:
    """Makes batches ready on their device: scaled, varied, normalised; what is unknown looks like the mean."""

    scaling: Scaling
    recipe: Recipe
    seed: int
    side: int
    ignore: int

    def __call__(self, batch: Batch) -> Ready:
        bands = batch.values.shape[1]
        images = self.scaled(batch)
        planes = torch.stack([batch.classes.float(), batch.valid.float(), batch.weight], 1)
        if self.recipe != Recipe():
            drawn = draw(self.recipe, self.seed, batch.numbers.tolist(), bands)
            images, planes = varied(images, planes, drawn, self.side)
        known = planes[:, 1] > 0.5
        labels = torch.where(known, planes[:, 0], float(self.ignore)).to(torch.uint8)
        mean, std = (on(values, bands, images.device) for values in (self.scaling.mean, self.scaling.std))
        return Ready((images - mean) / std * known[:, None], labels, planes[:, 2])

    def scaled(self, batch: Batch) -> Tensor:
        """Values from 0 to 1, unknown ones at the mean."""
        low, high = (limit[:, :, None, None] for limit in (batch.low, batch.high))
        scaled = (batch.values.float() - low) / (high - low)
        scaled = torch.where(batch.clip[:, None, None, None], scaled.clamp(0, 1), scaled)
        mean = on(self.scaling.mean, scaled.shape[1], scaled.device)
        return torch.where(batch.valid[:, None], scaled, mean)


def on(values: Sequence[float], bands: int, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1).expand(1, bands, 1, 1)


class Shelf(Dataset[Any]):
    """Patches by number, as torch's loader wants them."""

    def __init__(self, patches: Patches, scaling: Scaling, ignore: int, with_weights: bool) -> None:
        self.patches, self.scaling = patches, scaling
        self.ignore, self.with_weights = ignore, with_weights
        self.ranges: dict[int, Normalisation] = {}
        dtypes = {site.image.dtype for site in patches.sites}
        self.dtype = np.uint8 if dtypes == {"uint8"} else np.float32

    def __getitem__(self, number: int) -> Any:
        try:
            return self.entry(number)
        except GeosegError as error:  # a worker's exception would arrive as a page of text
            return error

    def entry(self, number: int) -> dict[str, Any]:
        site, patch = self.patches[number]
        scale = self.range_of(site)
        flat = np.ones(patch.classes.shape, np.float32)
        return {
            "numbers": number,
            "sites": site,
            "values": patch.values.astype(self.dtype),
            "classes": patch.classes,
            "valid": patch.valid,
            "weight": boundary_weights(patch.classes, self.ignore) if self.with_weights else flat,
            "low": np.array(scale.low, np.float32),
            "high": np.array(scale.high, np.float32),
            "clip": scale.clip,
        }

    def range_of(self, site: int) -> Normalisation:
        """How a site's values are scaled: found when its first patch is drawn, since large sets have many sites."""
        if site not in self.ranges:
            self.ranges[site] = site_range(self.scaling, self.patches.sites[site])
        return self.ranges[site]


def collated(entries: list[Any]) -> Any:
    failed = next((entry for entry in entries if isinstance(entry, GeosegError)), None)
    if failed is not None:
        return failed
    return {name: torch.from_numpy(np.stack([entry[name] for entry in entries])) for name in entries[0]}


def batches(
    shelf: Shelf, numbers: Sequence[Sequence[int]], workers: int, device: torch.device
) -> Iterator[Batch]:
    """The patches of each row of numbers as a batch on the device, read ahead by worker processes."""
    loader = DataLoader(
        shelf,
        batch_sampler=[list(row) for row in numbers],
        num_workers=workers,
        collate_fn=collated,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
    )
    for collected in loader:
        if isinstance(collected, GeosegError):
            raise collected
        yield Batch(**collected).to(device)
