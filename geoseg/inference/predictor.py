"""Strips of raw pixels become strips of finished answers, on one device, with test-time augmentation where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.blend import Blender
from geoseg.inference.options import Augmentation
from geoseg.inference.threads import CancelToken
from geoseg.models.backends.base import Array, Device, DeviceMemoryError, Runtime
from geoseg.raster.coding import NODATA, PROBABILITY_STEPS
from geoseg.raster.plan import Plan, Strip, reflect_indices

T = TypeVar("T")

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
    def device(self) -> Device:
        return self.runtime.device

    def __call__(self, raw: Array) -> Array:
        xp, views = self.device.xp, VIEWS[self.augmentation]
        answers = [undo_view(xp, self.runtime(show_view(xp, raw, *view)), *view) for view in views]
        return xp.mean(xp.stack(answers), 0)


def show_view(xp: Any, patches: Array, turns: int, mirrored: bool) -> Array:
    turned = xp.rot90(patches, turns, (2, 3)) if turns else patches
    return xp.flip(turned, (3,)) if mirrored else turned


def undo_view(xp: Any, patches: Array, turns: int, mirrored: bool) -> Array:
    turned = xp.flip(patches, (3,)) if mirrored else patches
    return xp.rot90(turned, -turns, (2, 3)) if turns else turned


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

    The channels are those of the classes, and after them the separators. `known` pixels of the scene were looked at, and
    `unanswered` ones of them got no number (NaN) from the model: they are unknown.
    """

    strip: Strip
    classes: NDArray[np.uint8]
    probabilities: NDArray[np.uint8]
    known: int
    unanswered: int


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

    def __call__(self, probabilities: Array) -> Array:
        if self.outputs == 1:
            return probabilities[0] >= self.threshold
        return probabilities[: self.outputs].argmax(0)


@dataclass(frozen=True)
class Predictor:
    """Runs a model over a scene, strip after strip. Unknown pixels look to it like `neutral`."""

    runtime: Runtime
    plan: Plan
    decision: Decision
    neutral: tuple[float, ...]
    batch: int

    def run(self, strips: Iterable[StripPixels], token: CancelToken) -> Iterator[StripAnswer]:
        """The answers to consecutive strips. On a GPU the next strip is under way while one is handed out."""
        device = self.runtime.device
        blender = Blender(self.plan, self.decision.channels, device)
        pending: tuple[Strip, int, Callable[[], NDArray[np.uint8]]] | None = None
        for pixels in strips:
            known = self.count_known_pixels(pixels)
            begun = pixels.strip, known, device.download(self.begin(pixels, blender, token))
            if pending:
                yield make_answer(*pending)
            pending = begun
        if pending:
            yield make_answer(*pending)

    def count_known_pixels(self, pixels: StripPixels) -> int:
        first_row, _ = self.plan.rows_read(pixels.patch_rows)
        top = pixels.strip.row - first_row
        return int(np.count_nonzero(pixels.valid[top : top + pixels.strip.height]))

    def begin(self, pixels: StripPixels, blender: Blender, token: CancelToken) -> Array:
        """Classes and, below them, probabilities of a strip's rows, on the device."""
        device = self.runtime.device
        image, known = self.upload(pixels), device.upload(pixels.valid)
        first_row, _ = self.plan.rows_read(pixels.patch_rows)
        answers = []
        for patch_row in pixels.patch_rows:
            patches = self.patches(patch_row, image, pixels, first_row)
            rows = blender.add(patch_row, check_between(patches, token))
            start, stop = self.plan.rows_finished(patch_row)
            if start >= pixels.strip.row:
                answers.append(self.encode_rows(rows, known[start - first_row : stop - first_row]))
        return device.xp.concatenate(answers, 1)

    def upload(self, pixels: StripPixels) -> Array:
        """The strip on the device, widened to the right for the last patches, unknown pixels made neutral."""
        device = self.runtime.device
        image = device.upload(pixels.values)
        if not pixels.valid.all():
            neutral = device.upload(self.make_neutral_values(pixels.values.dtype))
            image = device.xp.where(device.upload(pixels.valid), image, neutral)
        width = (self.plan.patch_cols - 1) * self.plan.stride + self.plan.patch
        if width == self.plan.width:
            return image
        beyond = device.upload(reflect_indices(self.plan.width, width, self.plan.width))
        return device.xp.concatenate([image, image[:, :, beyond]], 2)

    def make_neutral_values(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The neutral values (band, 1, 1) in the type of the pixels."""
        neutral = np.array(self.neutral)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            neutral = neutral.round().clip(limits.min, limits.max)
        return neutral.astype(dtype)[:, None, None]

    def patches(
        self, patch_row: int, image: Array, pixels: StripPixels, first_row: int
    ) -> Iterator[tuple[int, Array]]:
        """The predicted patches of a row, by column; patches without a known pixel are left out."""
        plan = self.plan
        top = patch_row * plan.stride
        rows = image[:, top - first_row : top - first_row + plan.patch]
        if top + plan.patch > plan.height:
            mirrored = reflect_indices(top, top + plan.patch, plan.height) - first_row
            rows = image[:, self.runtime.device.upload(mirrored)]
        seen = plan.find_seen_patches(pixels.valid[top - first_row : top - first_row + plan.patch])
        for start in range(0, len(seen), self.batch):
            columns = seen[start : start + self.batch].tolist()
            yield from zip(columns, self.probabilities(rows, columns), strict=True)

    def probabilities(self, rows: Array, columns: list[int]) -> Array:
        lefts = [column * self.plan.stride for column in columns]
        patches = [rows[:, :, left : left + self.plan.patch] for left in lefts]
        return self.predict(self.runtime.device.xp.stack(patches))[:, : self.decision.channels]

    def predict(self, patches: Array) -> Array:
        """The answers to a batch; to its halves, where another program has taken the GPU's memory meanwhile."""
        half = len(patches) // 2
        try:
            return self.runtime(patches)
        except DeviceMemoryError:
            if not half:
                raise
        answers = [self.predict(patches[:half]), self.predict(patches[half:])]
        return self.runtime.device.xp.concatenate(answers)

    def encode_rows(self, probabilities: Array, known: Array) -> Array:
        """Classes, then each probability in 250ths, as bytes; unknown pixels are nodata. The probabilities are used up.

        What is no number is unknown, too.
        """
        device = self.runtime.device
        xp, shape = device.xp, (1 + len(probabilities), *known.shape)
        layers = xp.empty(shape, dtype=xp.uint8, device=device.name)
        known = known & ~xp.isnan(probabilities).any(0)
        layers[0] = self.decision(probabilities)
        probabilities *= PROBABILITY_STEPS
        with np.errstate(invalid="ignore"):
            layers[1:] = xp.round(probabilities, out=probabilities)
        return xp.where(known, layers, NODATA)


def check_between(items: Iterable[T], token: CancelToken) -> Iterator[T]:
    """The same items, as long as they are wanted."""
    for item in items:
        token.check()
        yield item


def make_answer(strip: Strip, known: int, arrive: Callable[[], NDArray[np.uint8]]) -> StripAnswer:
    layers = arrive()
    answered = int(np.count_nonzero(layers[0] != NODATA))
    return StripAnswer(strip, layers[0], layers[1:], known, known - answered)


def find_largest_batch(runtime: Runtime, plan: Plan, bands: int, dtype: str) -> int:
    """How many patches at a time: on a GPU as many as its free memory holds, up to a row of them; else a few.

    A CPU's engine takes them one by one, but its weights stay in the processor's cache between them.
    """
    device = runtime.device
    if not device.name.startswith("cuda"):
        return min(CPU_BATCH, plan.patch_cols)
    batch = min(GPU_BATCH, plan.patch_cols)
    while True:
        try:
            runtime(device.upload(np.zeros((batch, bands, plan.patch, plan.patch), dtype)))
        except DeviceMemoryError:
            if batch == 1:
                raise
            batch //= 2
        else:
            return batch
