"""Strips of raw pixels become strips of finished answers, on one device, with test-time augmentation where asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.errors import GeosegError
from geoseg.inference.blend import Blender
from geoseg.inference.threads import check_cancelled
from geoseg.models.backends.base import Runtime
from geoseg.raster.coding import NODATA, PROBABILITY_STEPS
from geoseg.raster.plan import Plan, Strip, reflect_indices

Augmentation = Literal["none", "flips", "d4"]

# (quarter turns, then mirrored left to right)
VIEWS: dict[Augmentation, Sequence[tuple[int, bool]]] = {
    "none": [(0, False)],
    "flips": [(0, False), (0, True), (2, False), (2, True)],
    "d4": [(turns, mirrored) for turns in range(4) for mirrored in (False, True)],
}


@dataclass(frozen=True)
class AugmentedRuntime:
    """A runtime that looks at each patch in several ways."""

    runtime: Runtime
    augmentation: Augmentation

    @property
    def device(self) -> torch.device:
        return self.runtime.device

    def __call__(self, raw: Tensor) -> Tensor:
        views = VIEWS[self.augmentation]
        answers = [undo_transform(self.runtime(transform_patches(raw, *view)), *view) for view in views]
        return torch.stack(answers).mean(0)


def transform_patches(patches: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = patches.rot90(turns, (2, 3)) if turns else patches
    return turned.flip(3) if mirrored else turned


def undo_transform(patches: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = patches.flip(3) if mirrored else patches
    return turned.rot90(-turns, (2, 3)) if turns else turned


CPU_BATCH, GPU_BATCH = 8, 64


@dataclass(frozen=True)
class StripPixels:
    """What the patches of a strip look at: raw values (band, row, col) and which pixels (row, col) are known.

    The first strip of a run that begins inside the scene brings the row of patches above it as well.
    """

    strip: Strip
    patch_rows: range
    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class StripAnswer:
    """The finished rows of a strip: classes (row, col), and every channel (channel, row, col) in 250ths.

    The channels are those of the classes, and after them the separators.
    """

    strip: Strip
    classes: NDArray[np.uint8]
    probabilities: NDArray[np.uint8]


@dataclass(frozen=True)
class Decision:
    """How probabilities (channel, row, col) become classes (row, col).

    The first `outputs` channels are about classes and decide; `carried` more, the separators, only go along.
    """

    outputs: int
    threshold: float
    carried: int = 0

    @property
    def channels(self) -> int:
        return self.outputs + self.carried

    def __call__(self, probabilities: Tensor) -> Tensor:
        if self.outputs == 1:
            return (probabilities[0] >= self.threshold).to(torch.uint8)
        return probabilities[: self.outputs].argmax(0).to(torch.uint8)


@dataclass(frozen=True)
class Predictor:
    """Runs a model over a scene, strip after strip. Unknown pixels look to it like `neutral`."""

    runtime: Runtime
    plan: Plan
    decision: Decision
    neutral: tuple[float, ...]
    batch: int

    def run(self, strips: Iterable[StripPixels]) -> Iterator[StripAnswer]:
        """The answers to consecutive strips. On a GPU the next strip is under way while one is handed out."""
        blender = Blender(self.plan, self.decision.channels, self.runtime.device)
        pending: PendingAnswer | None = None
        for pixels in strips:
            begun = PendingAnswer(pixels.strip, self.begin(pixels, blender))
            if pending:
                yield pending.finish()
            pending = begun
        if pending:
            yield pending.finish()

    def begin(self, pixels: StripPixels, blender: Blender) -> Tensor:
        """Classes and, below them, probabilities of a strip's rows, on the device."""
        image = self.upload(pixels)
        known = torch.from_numpy(pixels.valid).to(self.runtime.device, non_blocking=True)
        first_row, _ = self.plan.rows_read(pixels.patch_rows)
        answers = []
        for patch_row in pixels.patch_rows:
            rows = blender.add(patch_row, self.patches(patch_row, image, pixels, first_row))
            start, stop = self.plan.rows_finished(patch_row)
            if start >= pixels.strip.row:
                answers.append(self.encode_rows(rows, known[start - first_row : stop - first_row]))
        return torch.cat(answers, dim=1)

    def upload(self, pixels: StripPixels) -> Tensor:
        """The strip on the device, widened to the right for the last patches, unknown pixels made neutral."""
        values = torch.from_numpy(pixels.values)
        on_gpu = self.runtime.device.type == "cuda"
        image = (values.pin_memory() if on_gpu else values).to(self.runtime.device, non_blocking=True)
        if not pixels.valid.all():
            valid = torch.from_numpy(pixels.valid).to(self.runtime.device)
            image = torch.where(valid, image, self.make_neutral_values(pixels.values.dtype))
        width = (self.plan.patch_cols - 1) * self.plan.stride + self.plan.patch
        if width == self.plan.width:
            return image
        columns = torch.from_numpy(reflect_indices(self.plan.width, width, self.plan.width)).to(
            self.runtime.device
        )
        return torch.cat([image, image.index_select(2, columns)], dim=2)

    def make_neutral_values(self, dtype: np.dtype[Any]) -> Tensor:
        """The neutral values (band, 1, 1) in the type of the pixels."""
        neutral = np.array(self.neutral)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            neutral = neutral.round().clip(limits.min, limits.max)
        return torch.from_numpy(neutral.astype(dtype)[:, None, None]).to(self.runtime.device)

    def patches(
        self, patch_row: int, image: Tensor, pixels: StripPixels, first_row: int
    ) -> Iterator[tuple[int, Tensor]]:
        """The predicted patches of a row, by column; patches without a known pixel are left out."""
        plan = self.plan
        top = patch_row * plan.stride
        rows = image[:, top - first_row : top - first_row + plan.patch]
        if top + plan.patch > plan.height:
            mirrored = reflect_indices(top, top + plan.patch, plan.height) - first_row
            rows = image.index_select(1, torch.from_numpy(mirrored).to(image.device))
        seen = plan.find_seen_patches(pixels.valid[top - first_row : top - first_row + plan.patch])
        for start in range(0, len(seen), self.batch):
            check_cancelled()
            columns = seen[start : start + self.batch].tolist()
            yield from zip(columns, self.probabilities(rows, columns), strict=True)

    def probabilities(self, rows: Tensor, columns: list[int]) -> Tensor:
        lefts = [column * self.plan.stride for column in columns]
        return self.runtime(torch.stack([rows[:, :, left : left + self.plan.patch] for left in lefts]))

    def encode_rows(self, probabilities: Tensor, known: Tensor) -> Tensor:
        """Classes, then each probability in 250ths, as bytes; unknown pixels are nodata."""
        layers = torch.empty((1 + len(probabilities), *known.shape), dtype=torch.uint8, device=known.device)
        layers[0] = self.decision(probabilities)
        layers[1:] = probabilities.mul_(PROBABILITY_STEPS).round_()
        return layers.masked_fill_(~known, NODATA)


class PendingAnswer:
    """A strip's answer on its way from the device."""

    def __init__(self, strip: Strip, layers: Tensor) -> None:
        self.strip = strip
        self.arrived = torch.cuda.Event() if layers.is_cuda else None  # type: ignore[no-untyped-call]
        self.layers = layers
        if self.arrived:
            self.layers = torch.empty(layers.shape, dtype=layers.dtype, pin_memory=True)
            self.layers.copy_(layers, non_blocking=True)
            self.arrived.record()

    def finish(self) -> StripAnswer:
        if self.arrived:
            self.arrived.synchronize()
        layers = self.layers.cpu().numpy()
        return StripAnswer(self.strip, layers[0], layers[1:])


def find_largest_batch(runtime: Runtime, plan: Plan, bands: int, dtype: torch.dtype) -> int:
    """How many patches at a time: on a GPU as many as its free memory holds, up to a row of them; else a few.

    A CPU's engine takes them one by one, but its weights stay in the processor's cache between them.
    """
    if runtime.device.type != "cuda":
        return min(CPU_BATCH, plan.patch_cols)
    batch = min(GPU_BATCH, plan.patch_cols)
    while batch >= 1:
        try:
            runtime(torch.zeros((batch, bands, plan.patch, plan.patch), dtype=dtype, device=runtime.device))
            torch.cuda.synchronize(runtime.device)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            batch //= 2
        else:
            return batch
    raise GeosegError(
        f"the GPU's memory does not hold one patch of {plan.patch} pixels; use a smaller --patch"
    )
