"""The search for shared ground finds the same whether it fits in memory or not, and what comparing all with all finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.datasets.audit.landmarks import PARTS, LandmarkMatch, Landmarks, LandmarkSearch, RecordPartitioner
from geoseg.datasets.audit.thumbnails import (
    LIKENESS,
    THUMB,
    TURNS,
    SimilarPair,
    Thumbs,
    find_similar,
    quantize_thumbnail,
)

RECORD = np.dtype([("key", "u4"), ("value", "i8")])


def records(count: int, seed: int) -> NDArray[np.void]:
    made = np.empty(count, RECORD)
    chance = np.random.default_rng(seed)
    made["key"], made["value"] = chance.integers(0, 500, count), chance.integers(0, 1 << 40, count)
    return made


@pytest.mark.parametrize("waiting", [100, 10_000])
def test_parts_keep_all_records_and_keys_together(tmp_path: Path, waiting: int) -> None:
    kept = RecordPartitioner(tmp_path / "parts", RECORD, waiting)
    given = [records(90, seed) for seed in range(20)]
    for each in given:
        kept.add(each, each["key"])
    parts = list(kept.parts())
    assert len(parts) == (PARTS if waiting == 100 else 1)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(np.concatenate(given)))
    homes = [set(part["key"].tolist()) for part in parts]
    assert sum(map(len, homes)) == len(set().union(*homes))
    assert not (tmp_path / "parts").exists() or not list((tmp_path / "parts").iterdir())


def ground(count: int, seed: int) -> Thumbs:
    rough = np.random.default_rng(seed).normal(size=(count, THUMB, THUMB))
    smooth = ndimage.gaussian_filter(rough, (0, 2, 2)) * 8 + rough * 0.3
    even = (smooth - smooth.mean((1, 2), keepdims=True)) / smooth.std((1, 2), keepdims=True)
    return quantize_thumbnail(even.astype(np.float32))


def all_with_all(thumbs: Thumbs) -> dict[tuple[int, int], float]:
    """How alike every two thumbnails are in the best of the eight turns."""
    flat = thumbs.reshape(len(thumbs), -1).astype(float)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    best = np.max(
        [np.reshape(turn.of(flat.reshape(-1, THUMB, THUMB)), flat.shape) @ flat.T for turn in TURNS], axis=0
    )
    return {
        (i, j): best[i, j] for i in range(len(best)) for j in range(i + 1, len(best)) if best[i, j] > LIKENESS
    }


def test_like_images_are_found_among_many_as_by_comparing_all() -> None:
    originals = ground(600, 0)
    chance = np.random.default_rng(1)
    chosen = chance.choice(600, 80, replace=False)
    copies = np.concatenate(
        [TURNS[i % 8].of(originals[index])[None].astype(float) for i, index in enumerate(chosen)]
    )
    noisy = np.clip(copies + chance.normal(0, 4, copies.shape), -127, 127).astype(np.int8)
    thumbs = np.concatenate([originals, noisy])
    found = find_similar(thumbs, np.ones(len(thumbs)))
    expected = all_with_all(thumbs)
    assert len(expected) >= 80
    assert {(each.first, each.second) for each in found} == set(expected)
    for each in found:
        assert each.likeness == pytest.approx(expected[each.first, each.second], abs=1e-5)


def test_images_of_other_shapes_are_not_alike() -> None:
    thumb = ground(1, 0)
    both = np.concatenate([thumb, thumb])
    assert find_similar(both, np.array([1.0, 2.0])) == []
    assert find_similar(both, np.array([2.0, 2.0])) == [SimilarPair(0, 1, pytest.approx(1.0))]
    laid = np.concatenate([thumb, thumb.swapaxes(1, 2)])
    assert find_similar(laid, np.array([2.0, 0.5])) == [SimilarPair(0, 1, pytest.approx(1.0))]
    assert find_similar(thumb, np.ones(1)) == []


def marks(chance: np.random.Generator, count: int = 60) -> Landmarks:
    rows, cols = chance.integers(0, 300, (2, count)).astype(np.int32)
    return Landmarks(rows, cols, chance.integers(0, 1 << 63, count).astype(np.uint64))


@pytest.mark.parametrize("waiting", [500, 1_000_000])
def test_landmarks_in_common_are_found_on_disk_as_in_memory(tmp_path: Path, waiting: int) -> None:
    """Image 40 is a part of image 3, moved; image 41 has one half of each word turned by noise."""
    chance = np.random.default_rng(0)
    images = [marks(chance) for _ in range(40)]
    part = Landmarks(images[3].rows[:30], images[3].cols[:30], images[3].words[:30])
    images.append(part.moved(-30, 12))
    turned = images[7].words ^ np.where(np.arange(60) % 2, np.uint64(1), np.uint64(1 << 40))
    images.append(Landmarks(images[7].rows, images[7].cols, turned))
    search = LandmarkSearch(tmp_path, waiting)
    for owner, each in enumerate(images):
        search.add(owner, each)
    assert search.matches() == [LandmarkMatch(3, 40, 30, -12, 30), LandmarkMatch(7, 41, 0, 0, 60)]


def test_a_word_that_everybody_has_says_nothing(tmp_path: Path) -> None:
    """Thousands of equal landmarks neither take for ever nor link images at scattered offsets."""
    chance = np.random.default_rng(0)
    search = LandmarkSearch(tmp_path)
    for owner in range(200):
        rows, cols = chance.integers(0, 3000, (2, 50)).astype(np.int32)
        search.add(owner, Landmarks(rows, cols, np.full(50, 7, np.uint64)))
    assert search.matches() == []


def test_without_landmarks_nothing_is_found(tmp_path: Path) -> None:
    nothing = Landmarks(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.uint64))
    search = LandmarkSearch(tmp_path)
    search.add(0, nothing)
    assert search.matches() == []
