"""The streamed answer against the whole image in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import photo
from numpy.typing import NDArray
from runtimes import ask

from geoseg.inference.predictor import AugmentedRuntime, Decision, Predictor, StripPixels
from geoseg.inference.threads import CancelToken, WorkCancelled
from geoseg.models.backends.base import Array, Device, DeviceMemoryError
from geoseg.models.backends.host import HOST
from geoseg.raster.coding import NODATA
from geoseg.raster.plan import Plan, Strip

Answer = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Pixels = NDArray[np.float32]
Function = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Computed:
    """A runtime whose answer is a plain function of its input."""

    function: Function
    device: Device = HOST
    streams: int = 1

    def __call__(self, raw: Array) -> Array:
        patches = self.device.download(raw)().astype(np.float32) / np.float32(255)
        return self.device.upload(np.ascontiguousarray(self.function(patches)))


def brightness(pixels: Pixels) -> Pixels:
    return pixels.mean(1, keepdims=True)


def blurred(pixels: Pixels) -> Pixels:
    """A one-layer network that sees one pixel around, with zeros beyond its patch as networks have them."""
    bright = brightness(pixels)
    rows, cols = bright.shape[2:]
    padded = np.pad(bright, ((0, 0), (0, 0), (1, 1), (1, 1)))
    around = [padded[:, :, i : i + rows, j : j + cols] for i in range(3) for j in range(3)]
    return np.stack(around).mean(0)


def wrong_at_the_rim(pixels: Pixels) -> Pixels:
    answer = np.zeros_like(pixels[:, :1])
    answer[:, :, 2:-2, 2:-2] = brightness(pixels)[:, :, 2:-2, 2:-2]
    return answer


def three_classes(pixels: Pixels) -> Pixels:
    powers = np.exp(pixels * 6)
    return powers / powers.sum(1, keepdims=True)


def pixels_of(
    plan: Plan, image: NDArray[np.uint8], valid: NDArray[np.bool_], strips: Sequence[Strip]
) -> Iterator[StripPixels]:
    for strip in strips:
        rows = plan.strip_patches(strip)
        if strip is strips[0] and rows.start > 0:
            rows = range(rows.start - 1, rows.stop)
        first, stop = plan.rows_read(rows)
        yield StripPixels(strip, rows, image[:, first:stop].copy(), valid[first:stop].copy())


def streamed(
    function: Function,
    image: NDArray[np.uint8],
    plan: Plan,
    *,
    valid: NDArray[np.bool_] | None = None,
    batch: int = 1,
    streams: int = 1,
    begin: int = 0,
    outputs: int = 1,
    carried: int = 0,
    device: Device = HOST,
) -> Answer:
    """Predict strip by strip, beginning with some strip, and put the answers together."""
    known = np.ones(image.shape[1:], bool) if valid is None else valid
    decision = Decision(outputs, 0.5, carried)
    predictor = Predictor(Computed(function, device, streams), plan, decision, (0.0,) * len(image), batch)
    classes = np.zeros(known.shape, np.uint8)
    probabilities = np.zeros((decision.channels, *known.shape), np.uint8)
    for answer in predictor.run(pixels_of(plan, image, known, plan.strips[begin:]), CancelToken()):
        rows = slice(answer.strip.row, answer.strip.stop_row)
        classes[rows] = answer.classes
        probabilities[:, rows] = answer.probabilities
    return classes, probabilities


def whole(function: Function, image: NDArray[np.uint8], plan: Plan) -> NDArray[np.float64]:
    """The oracle: all patches of the padded image in memory, added up with their weights."""
    height = (plan.patch_rows - 1) * plan.stride + plan.patch
    width = (plan.patch_cols - 1) * plan.stride + plan.patch
    padded = np.pad(image, ((0, 0), (0, height - plan.height), (0, width - plan.width)), mode="reflect")
    total = None
    for top in range(0, height - plan.patch + 1, plan.stride):
        for left in range(0, width - plan.patch + 1, plan.stride):
            patch = padded[None, :, top : top + plan.patch, left : left + plan.patch].astype(np.float32)
            answer = function(patch / np.float32(255))[0].astype(float)
            if total is None:
                total = np.zeros((len(answer), height, width))
            down, across = weights(plan, top, height), weights(plan, left, width)
            total[:, top : top + plan.patch, left : left + plan.patch] += answer * np.outer(down, across)
    assert total is not None
    return total[:, : plan.height, : plan.width]


def weights(plan: Plan, start: int, size: int) -> NDArray[np.float64]:
    """The taper of a patch along one axis, flat where it lies at the edge of the scene."""
    rise = np.concatenate([np.zeros(plan.margin), plan.ramp, np.ones(plan.margin)]).astype(float)
    taper = np.ones(plan.patch)
    if plan.overlap and start > 0:
        taper[: plan.overlap] *= rise
    if plan.overlap and start + plan.patch < size:
        taper[-plan.overlap :] *= 1 - rise
    return taper


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    patch = draw(st.integers(1, 48))
    size = st.integers(1, min(120, 7 * patch))  # a few hundred patches at most
    return Plan(
        height=draw(size),
        width=draw(size),
        patch=patch,
        overlap=draw(st.integers(0, patch // 2)),
        strip_patch_rows=draw(st.integers(1, 6)),
    )


@given(plans(), st.floats(0, 1, width=32))
def test_a_constant_model_gives_a_constant_raster(plan: Plan, constant: float) -> None:
    image = photo(plan.height, plan.width)
    classes, probabilities = streamed(lambda pixels: np.full_like(pixels[:, :1], constant), image, plan)
    assert (probabilities == np.round(np.float32(constant) * np.float32(250))).all()
    assert (classes == (constant >= 0.5)).all()


@given(plans(), st.sampled_from([brightness, blurred, wrong_at_the_rim]), st.integers(1, 5))
def test_the_answer_is_that_of_the_whole_image(plan: Plan, function: Function, batch: int) -> None:
    image = photo(plan.height, plan.width)
    expected = whole(function, image, plan)
    classes, probabilities = streamed(function, image, plan, batch=batch)
    assert np.abs(probabilities - expected * 250).max() <= 0.5 + 1e-3
    certain = np.abs(expected[0] - 0.5) > 1e-6
    assert (classes == (expected[0] >= 0.5))[certain].all()


@given(plans(), st.integers(1, 30), st.integers(0, 5))
def test_strips_resuming_and_batches_change_no_bit(plan: Plan, other_rows: int, batch: int) -> None:
    image = photo(plan.height, plan.width)
    classes, probabilities = streamed(blurred, image, plan, batch=1)
    other = replace(plan, strip_patch_rows=other_rows)
    again = streamed(blurred, image, other, batch=batch + 1)
    assert (again[0] == classes).all()
    assert (again[1] == probabilities).all()
    middle = len(plan.strips) // 2
    resumed = streamed(blurred, image, plan, begin=middle)
    rows = slice(plan.strips[middle].row, None)
    assert (resumed[0][rows] == classes[rows]).all()
    assert (resumed[1][:, rows] == probabilities[:, rows]).all()


@given(plans(), st.integers(2, 5), st.integers(1, 5))
def test_patches_worked_on_at_a_time_change_no_bit(plan: Plan, streams: int, batch: int) -> None:
    image = photo(plan.height, plan.width)

    def late(pixels: Pixels) -> Pixels:
        time.sleep(float(pixels[0, 0, 0, 0]) / 5000)  # a brighter corner keeps a patch longer
        return blurred(pixels)

    alone = streamed(blurred, image, plan)
    together = streamed(late, image, plan, batch=batch, streams=streams)
    np.testing.assert_array_equal(together[0], alone[0])
    np.testing.assert_array_equal(together[1], alone[1])


def test_as_many_patches_are_under_way_as_there_are_streams() -> None:
    meeting = threading.Barrier(3, timeout=20)

    def meet(pixels: Pixels) -> Pixels:
        meeting.wait()
        return brightness(pixels)

    plan = Plan(32, 96, 16, 0, 1)  # two strips of six patches
    streamed(meet, photo(32, 96), plan, streams=3)


def test_an_error_in_a_stream_ends_the_run() -> None:
    def fail(pixels: Pixels) -> Pixels:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        streamed(fail, photo(64, 64), Plan(64, 64, 16, 4, 1), streams=2)


def test_a_run_that_nobody_wants_stops_between_patches() -> None:
    token, asked = CancelToken(), []

    def cancel(pixels: Pixels) -> Pixels:
        asked.append(len(pixels))
        token.cancel()
        return brightness(pixels)

    plan = Plan(200, 200, 8, 2, 1)
    predictor = Predictor(Computed(cancel, streams=2), plan, Decision(1, 0.5), (0.0,) * 3, 1)
    image, known = photo(200, 200), np.ones((200, 200), bool)
    with pytest.raises(WorkCancelled):
        list(predictor.run(pixels_of(plan, image, known, plan.strips), token))
    assert len(asked) < 10


@given(plans(), st.integers(1, 40), st.integers(1, 40))
def test_shifting_the_scene_shifts_the_answer(plan: Plan, down: int, across: int) -> None:
    """Two pixels from its rim a patch is trusted only where its overlap says so: the model sees one pixel around."""
    plan = replace(plan, patch=plan.patch + 8, overlap=max(4, plan.overlap))
    image = photo(plan.height + down, plan.width + across)
    _, here = streamed(blurred, image, replace(plan, height=plan.height + down, width=plan.width + across))
    _, there = streamed(blurred, image[:, down:, across:], plan)
    inside = slice(1, -1)
    assert (np.abs(here[:, down:, across:].astype(int) - there)[:, inside, inside] <= 1).all()


@given(plans())
def test_errors_at_the_rim_of_patches_leave_no_trace(plan: Plan) -> None:
    plan = replace(plan, patch=plan.patch + 8, overlap=max(4, plan.overlap))
    image = photo(plan.height, plan.width)
    classes, _ = streamed(wrong_at_the_rim, image, plan)
    # One pass over the whole scene, widened as the plan widens it.
    one_patch = Plan(plan.height, plan.width, 1, 0, 1)
    everywhere, _ = streamed(brightness, image, one_patch)
    everywhere[:2], everywhere[:, :2] = 0, 0
    reach_down = (plan.patch_rows - 1) * plan.stride + plan.patch - 2
    reach_across = (plan.patch_cols - 1) * plan.stride + plan.patch - 2
    everywhere[reach_down:], everywhere[:, reach_across:] = 0, 0
    assert (classes == everywhere).all()


@given(plans(), st.integers(0, 2**32 - 1))
def test_unknown_pixels_stay_unknown_and_disturb_nobody(plan: Plan, seed: int) -> None:
    random = np.random.default_rng(seed)
    valid = np.kron(random.random((12, 12)) < 0.5, np.ones((10, 10))).astype(bool)[
        : plan.height, : plan.width
    ]
    image = photo(plan.height, plan.width)
    classes, probabilities = streamed(brightness, np.where(valid, image, 99), plan, valid=valid)
    expected, _ = streamed(brightness, image, plan)
    assert (classes[~valid] == NODATA).all()
    assert (probabilities[:, ~valid] == NODATA).all()
    assert (classes[valid] == expected[valid]).all()


def test_unknown_pixels_look_neutral_to_the_model() -> None:
    seen = []

    def watching(pixels: Pixels) -> Pixels:
        seen.append(pixels)
        return brightness(pixels)

    plan = Plan(8, 8, 8, 0, 1)
    valid = np.zeros((8, 8), bool)
    valid[0, 0] = True
    for dtype, expected in (("uint8", 102 / 255), ("uint16", 102 / 255), ("float32", 101.6 / 255)):
        image = photo(8, 8, dtype=dtype)
        predictor = Predictor(Computed(watching), plan, Decision(1, 0.5), (101.6,) * 3, 1)
        list(predictor.run(pixels_of(plan, image, valid, plan.strips), CancelToken()))
        np.testing.assert_allclose(seen[-1][0, :, 1:, 1:], expected, rtol=1e-5, err_msg=dtype)


def test_patches_without_a_known_pixel_are_not_run() -> None:
    runs = []

    def counting(pixels: Pixels) -> Pixels:
        runs.append(len(pixels))
        return brightness(pixels)

    plan = Plan(64, 64, 16, 4, 2)
    valid = np.zeros((64, 64), bool)
    valid[20, 20] = True
    streamed(counting, photo(64, 64), plan, valid=valid)
    assert sum(runs) == 1


def test_classes_are_the_most_probable() -> None:
    plan = Plan(50, 60, 16, 4, 2)
    image = photo(50, 60)
    classes, probabilities = streamed(three_classes, image, plan, outputs=3)
    assert (classes == whole(three_classes, image, plan).argmax(0)).mean() > 0.999
    assert np.abs(probabilities.astype(int).sum(0) - 250).max() <= 2


@given(plans(), st.sampled_from([brightness, blurred, wrong_at_the_rim, three_classes]), st.integers(1, 5))
def test_tensors_are_joined_to_the_same_bits_as_arrays(plan: Plan, function: Function, batch: int) -> None:
    pytest.importorskip("torch")
    from geoseg.models.backends.torch import TorchDevice

    image, outputs = photo(plan.height, plan.width), 3 if function is three_classes else 1
    valid = photo(plan.height, plan.width, 1, seed=1)[0] > 40
    arrays, tensors = (
        streamed(function, image, plan, valid=valid, batch=batch, outputs=outputs, device=device)
        for device in (HOST, TorchDevice("cpu"))
    )
    for array, tensor in zip(arrays, tensors, strict=True):
        np.testing.assert_array_equal(array, tensor)


@pytest.mark.parametrize("outputs", [1, 2])
def test_separators_go_along_and_decide_nothing(outputs: int) -> None:
    plan = Plan(50, 60, 16, 4, 2)
    image = photo(50, 60)
    valid = np.ones((50, 60), bool)
    valid[:5] = False

    def alone(pixels: Pixels) -> Pixels:
        return pixels[:, :outputs]

    def with_separators(pixels: Pixels) -> Pixels:
        return np.concatenate([alone(pixels), np.ones_like(pixels[:, :1]), brightness(pixels)], 1)

    classes, expected = streamed(alone, image, plan, outputs=outputs, valid=valid)
    again, channels = streamed(with_separators, image, plan, outputs=outputs, carried=2, valid=valid)
    np.testing.assert_array_equal(again, classes)
    np.testing.assert_array_equal(channels[:outputs], expected)
    assert (channels[outputs][valid] == 250).all()
    assert (channels[:, ~valid] == NODATA).all()
    np.testing.assert_array_equal(channels[-1], streamed(brightness, image, plan, valid=valid)[1][0])


def test_views_from_all_sides_agree_on_what_has_no_direction() -> None:
    raw = photo(16, 16)[None]
    for views in ("flips", "d4"):
        averaged = ask(AugmentedRuntime(Computed(blurred), views), raw)
        np.testing.assert_allclose(averaged, ask(Computed(blurred), raw), atol=1e-6)


def leaning(pixels: Pixels) -> Pixels:
    return np.roll(brightness(pixels), 1, 3)


def test_views_average_out_what_has_a_direction() -> None:
    raw = photo(16, 16)[None]
    bright = brightness((raw / 255).astype(np.float32))
    expected = np.mean([np.roll(bright, step, axis) for step, axis in ((1, 3), (-1, 3), (1, 2), (-1, 2))], 0)
    np.testing.assert_allclose(ask(AugmentedRuntime(Computed(leaning), "d4"), raw), expected, atol=1e-6)


def test_tensors_are_seen_from_the_same_sides_as_arrays() -> None:
    pytest.importorskip("torch")
    from geoseg.models.backends.torch import TorchDevice

    raw = photo(16, 16)[None]
    arrays, tensors = (
        ask(AugmentedRuntime(Computed(leaning, device), "flips"), raw)
        for device in (HOST, TorchDevice("cpu"))
    )
    np.testing.assert_array_equal(arrays, tensors)


def test_what_is_no_number_is_unknown_and_counted() -> None:
    """A network that answers with NaN where its input is 255."""
    plan = Plan.for_size(40, 50, 16, 4)
    values = photo(40, 50)
    values[:, 5:9, 20:30] = 255

    def fail_at_white(pixels: Pixels) -> Pixels:
        answer = brightness(pixels)
        return np.where(answer == 1, np.float32(np.nan), answer)

    valid = np.ones((40, 50), bool)
    valid[:2] = False
    predictor = Predictor(Computed(fail_at_white), plan, Decision(1, 0.5), (0.0, 0.0, 0.0), 4)
    strips = [
        StripPixels(strip, plan.strip_patches(strip), *cut_rows(plan, strip, values, valid))
        for strip in plan.strips
    ]
    answers = list(predictor.run(strips, CancelToken()))
    classes = np.concatenate([answer.classes for answer in answers])
    probabilities = np.concatenate([answer.probabilities[0] for answer in answers])
    assert (classes[5:9, 20:30] == NODATA).all()
    assert (classes[~valid] == NODATA).all()
    assert np.count_nonzero(classes == NODATA) == 2 * 50 + 4 * 10
    np.testing.assert_array_equal(classes == NODATA, probabilities == NODATA)
    assert sum(answer.known for answer in answers) == valid.sum()
    assert sum(answer.unanswered for answer in answers) == 4 * 10


def cut_rows(
    plan: Plan, strip: Strip, values: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    first, stop = plan.rows_read(plan.strip_patches(strip))
    return values[:, first:stop], valid[first:stop]


ROW = Plan(height=16, width=128, patch=16, overlap=0, strip_patch_rows=1)


@dataclass(frozen=True)
class Cramped:
    """A runtime whose device holds only so many patches at a time."""

    runtime: Computed
    most: int

    @property
    def device(self) -> Device:
        return self.runtime.device

    @property
    def streams(self) -> int:
        return self.runtime.streams

    def __call__(self, raw: Array) -> Array:
        if len(raw) > self.most:
            raise DeviceMemoryError("the GPU's memory does not hold one patch")
        return self.runtime(raw)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 8])
def test_a_batch_that_the_memory_does_not_hold_is_halved(most: int) -> None:
    patches = np.stack([photo(16, 16, seed=seed) for seed in range(8)])
    runtime = Computed(blurred)
    predictor = Predictor(Cramped(runtime, most), ROW, Decision(1, 0.5), (0.0,) * 3, 8)
    np.testing.assert_array_equal(predictor.predict(patches), runtime(patches))


def test_a_memory_that_does_not_hold_one_patch_ends_the_run() -> None:
    predictor = Predictor(Cramped(Computed(blurred), 0), ROW, Decision(1, 0.5), (0.0,) * 3, 8)
    with pytest.raises(DeviceMemoryError, match="does not hold one patch"):
        predictor.predict(photo(16, 16)[None])
