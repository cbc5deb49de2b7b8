"""Strips of raw pixels become strips of finished answers, on one device, with test-time augmentation where asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
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

    @property
    def streams(self) -> int:
        return self.runtime.streams

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


GPU_BATCH = 64
CACHED_PIXELS = 2**16
"""So many at a time that what is made of them on the way stays in a core's cache."""
BATCHES_AHEAD = 2
"""For each stream: the one it works on, and one that waits for it."""


@dataclass(frozen=True, eq=False)
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


Start = Callable[[Callable[[], Array]], Callable[[], Array]]
"""Sets out to do a call; the result waits for what the call returns."""


@dataclass(frozen=True)
class PatchBatch:
    """Some patches of a row, by their columns, and what waits for the answer to them."""

    pixels: StripPixels
    patch_row: int
    columns: Sequence[int]
    wait: Callable[[], Array]

    def patches(self) -> Iterator[tuple[int, Array]]:
        yield from zip(self.columns, self.wait(), strict=True)


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
        """The answers to consecutive strips, each as soon as its last row of patches is joined."""
        with closing(self.start_batches(strips, token)) as batches:
            yield from (
                make_answer(pixels.strip, self.count_known_pixels(pixels), arrive())
                for pixels, arrive in run_ahead(self.join_batches(batches), self.strips_ahead)
            )

    @property
    def strips_ahead(self) -> int:
        """On a GPU the next strip is under way while one is handed out; on a CPU a finished strip waits for nothing."""
        return 0 if self.runtime.device.name == "cpu" else 1

    def count_known_pixels(self, pixels: StripPixels) -> int:
        first_row, _ = self.plan.rows_read(pixels.patch_rows)
        top = pixels.strip.row - first_row
        return int(np.count_nonzero(pixels.valid[top : top + pixels.strip.height]))

    def join_batches(
        self, batches: Iterable[PatchBatch]
    ) -> Iterator[tuple[StripPixels, Callable[[], NDArray[np.uint8]]]]:
        """The strips' own rows, classes and below them probabilities; they are on their way from the device."""
        device, finished = self.runtime.device, list[Array]()
        blender = Blender(self.plan, self.decision.channels, device)
        for (pixels, patch_row), row in groupby(batches, attrgetter("pixels", "patch_row")):
            rows = blender.add(patch_row, chain.from_iterable(map(PatchBatch.patches, row)))
            start, stop = self.plan.rows_finished(patch_row)
            if start >= pixels.strip.row:
                top, _ = self.plan.rows_read(pixels.patch_rows)
                finished.append(self.encode_rows(rows, device.upload(pixels.valid[start - top : stop - top])))
            if patch_row == pixels.patch_rows[-1]:
                yield pixels, device.download(device.xp.concatenate(finished, 1))
                finished.clear()

    def start_batches(self, strips: Iterable[StripPixels], token: CancelToken) -> Generator[PatchBatch]:
        """The batches of all strips in order, each with an answer that is under way.

        On a CPU with several streams some more are under way than are asked for, so that none lies idle while finished ones
        are joined, nor between strips.
        """
        streams = self.runtime.streams
        if streams == 1:
            yield from self.make_batches(strips, token, compute_now)
            return
        pool = ThreadPoolExecutor(streams)
        try:
            started = self.make_batches(strips, token, lambda call: pool.submit(call).result)
            yield from run_ahead(started, BATCHES_AHEAD * streams)
        finally:
            pool.shutdown(cancel_futures=True)

    def make_batches(
        self, strips: Iterable[StripPixels], token: CancelToken, start: Start
    ) -> Iterator[PatchBatch]:
        """Cut strips into batches and start each; a row of patches without a known pixel has one that is empty."""
        for pixels in strips:
            image = self.upload(pixels)
            for patch_row in pixels.patch_rows:
                rows, seen = self.cut_row(patch_row, image, pixels)
                for first in range(0, max(1, len(seen)), self.batch):
                    token.check()
                    columns = seen[first : first + self.batch]
                    wait = start(partial(self.probabilities, rows, columns)) if columns else tuple
                    yield PatchBatch(pixels, patch_row, columns, wait)

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

    def cut_row(self, patch_row: int, image: Array, pixels: StripPixels) -> tuple[Array, list[int]]:
        """The rows that a row of patches looks at, and those of its columns that hold a known pixel."""
        plan = self.plan
        first_row, _ = plan.rows_read(pixels.patch_rows)
        top = patch_row * plan.stride
        rows = image[:, top - first_row : top - first_row + plan.patch]
        if top + plan.patch > plan.height:
            mirrored = reflect_indices(top, top + plan.patch, plan.height) - first_row
            rows = image[:, self.runtime.device.upload(mirrored)]
        seen = plan.find_seen_patches(pixels.valid[top - first_row : top - first_row + plan.patch])
        return rows, seen.tolist()

    def probabilities(self, rows: Array, columns: Sequence[int]) -> Array:
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
        layers = device.xp.empty(
            (1 + len(probabilities), *known.shape), dtype=device.xp.uint8, device=device.name
        )
        step = known.shape[0] if device.name != "cpu" else max(1, CACHED_PIXELS // known.shape[1])
        for row in range(0, known.shape[0], step):
            rows = slice(row, row + step)
            self.encode_into(layers[:, rows], probabilities[:, rows], known[rows])
        return layers

    def encode_into(self, layers: Array, probabilities: Array, known: Array) -> None:
        xp = self.runtime.device.xp
        known = known & ~xp.isnan(probabilities).any(0)
        layers[0] = self.decision(probabilities)
        probabilities *= PROBABILITY_STEPS
        with np.errstate(invalid="ignore"):
            layers[1:] = xp.round(probabilities, out=probabilities)
        layers[...] = xp.where(known, layers, NODATA)


def compute_now(call: Callable[[], Array]) -> Callable[[], Array]:
    answer = call()
    return lambda: answer


def run_ahead(items: Iterable[T], number: int) -> Iterator[T]:
    """The same items, but so many more of them are made already whenever one is handed out."""
    made: deque[T] = deque()
    for item in items:
        made.append(item)
        if len(made) > number:
            yield made.popleft()
    yield from made


def make_answer(strip: Strip, known: int, layers: NDArray[np.uint8]) -> StripAnswer:
    answered = int(np.count_nonzero(layers[0] != NODATA))
    return StripAnswer(strip, layers[0], layers[1:], known, known - answered)


def find_largest_batch(runtime: Runtime, plan: Plan, bands: int, dtype: str) -> int:
    """How many patches at a time: on a GPU as many as its free memory holds, up to a row of them; else one in each stream."""
    device = runtime.device
    if not device.name.startswith("cuda"):
        return 1
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
