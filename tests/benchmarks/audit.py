"""How long the search for shared ground takes, and how much memory, for a set as large as crowdAI's.

    python tests/benchmarks/audit.py [IMAGES ...]

Looks of images are made up, as the audit would have gathered them: thumbnails of rolling ground and a hundred landmarks
each. One image in ten is a copy pixel by pixel, one in ten another picture again (mirrored, with noise), one in ten a crop.
Sizes default to 4,387, 17,546 and 70,185, each four times the one before; crowdAI has 280,741.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import machine, table
from scipy import ndimage

from geoseg.datasets.audit.findings import GroundSearch
from geoseg.datasets.audit.landmarks import Landmarks
from geoseg.datasets.audit.records import AuditRecord, ImageFeatures
from geoseg.datasets.audit.thumbnails import THUMB, Thumbs, quantize_thumbnail

SIZES = (4_387, 17_546, 70_185)
MARKS = 100
ORIGINAL, COPY, AGAIN, CROP = range(4)
CHANCE = (0.7, 0.1, 0.1, 0.1)


def thumbs(count: int, chance: np.random.Generator) -> Thumbs:
    rough = chance.normal(size=(count, THUMB, THUMB)).astype(np.float32)
    smooth = ndimage.gaussian_filter(rough, (0, 2, 2)) * 8 + rough * 0.3
    return quantize_thumbnail(
        (smooth - smooth.mean((1, 2), keepdims=True)) / smooth.std((1, 2), keepdims=True)
    )


def marks(chance: np.random.Generator) -> Landmarks:
    places = chance.integers(12, 288, (2, MARKS)).astype(np.int32)
    return Landmarks(places[0], places[1], chance.integers(0, 1 << 63, MARKS).astype(np.uint64))


def variant(kind: int, traces: ImageFeatures, chance: np.random.Generator) -> ImageFeatures:
    """The traces of the same ground in another image."""
    if kind == AGAIN:
        noisy = traces.thumb[:, ::-1] + chance.normal(0, 3, traces.thumb.shape)
        return ImageFeatures(np.clip(noisy, -127, 127).astype(np.int8), marks(chance), None)
    seen = traces.landmarks.rows > 150
    own = traces.landmarks
    shown = Landmarks(own.rows[seen] - np.int32(60), own.cols[seen], own.words[seen])
    return ImageFeatures(thumbs(1, chance)[0], shown, None)


def search(count: int, folder: Path) -> tuple[float, float, Counter[str], int]:
    """Seconds to take images in, seconds to find, what was found, and how many pairs there are to find."""
    chance = np.random.default_rng(1)
    kinds = chance.choice(4, count, p=CHANCE)
    kinds[0] = ORIGINAL
    ground, looks, planted, spent = GroundSearch(folder), [], 0, 0.0
    recent: list[ImageFeatures] = []
    for index, kind in enumerate(kinds.tolist()):
        if index % 4096 == 0:
            made = thumbs(4096, chance)
        digest = (index if kind != COPY else max(0, index - 1)).to_bytes(16, "little")
        if kind in (ORIGINAL, COPY):
            traces = ImageFeatures(made[index % 4096], marks(chance), None)
        else:
            traces = variant(kind, recent[chance.integers(len(recent))], chance)
        planted += kind in (AGAIN, CROP)
        recent = [*recent[-200:], traces] if kind == ORIGINAL else recent
        looks.append(AuditRecord(shape=(300, 300), digest=digest))
        start = time.perf_counter()
        ground.add(index, looks[-1], traces)
        spent += time.perf_counter() - start
    start = time.perf_counter()
    found = ground.found(looks)
    return spent, time.perf_counter() - start, Counter(pair.kind for pair in found), planted


def main() -> None:
    rows = []
    for count in [int(size) for size in sys.argv[1:]] or SIZES:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with TemporaryDirectory() as folder:
            adding, finding, found, planted = search(count, Path(folder))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append(
            (
                f"{count:,}", f"{adding:.1f}", f"{finding:.1f}", f"{1e6 * (adding + finding) / count:.0f}",
                f"{memory:,.0f}", f"{(memory * 1024 - before) / count:.1f}", f"{found['identical']:,}",
                f"{found['near-duplicate'] + found['same ground']:,} of {planted:,}",
            )
        )  # fmt: skip
    header = (
        "images",
        "take in s",
        "find s",
        "µs/image",
        "peak MiB",
        "KiB/image",
        "identical",
        "other pairs found",
    )
    print(machine())
    print(table(header, rows))


if __name__ == "__main__":
    main()
