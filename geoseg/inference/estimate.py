"""What a prediction will take, before it is begun: memory, disk and time."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from geoseg.errors import InputError
from geoseg.inference.job import Job
from geoseg.inference.resume import Journal
from geoseg.models.backends.base import Runtime
from geoseg.models.backends.host import count_streams
from geoseg.parallel import find_memory_bytes
from geoseg.progress import list_names

# A Python process with GDAL, an engine, a network and what makes footprints, and what PyTorch adds to it (both measured).
BASE_BYTES = 550 * 2**20
TORCH_BYTES = 300 * 2**20
LAYER_BYTES = 200
"""A pixel, in full precision: 195 for `default`, 199 for `sentinel2-builtup`, in patches of 1,536 and of 3,072 pixels."""
CLASS_BYTES = 0.1
"""A pixel's class on disk, packed; probabilities hardly shrink."""
STRIPS_IN_FLIGHT = 4
MEASURED_PATCHES = 2


@dataclass(frozen=True)
class Estimate:
    """Rough figures: peak memory and temporary disk in bytes, time in seconds."""

    memory_bytes: int
    disk_bytes: int
    seconds: float
    patches: int = 0
    strips: int = 0
    missing: tuple[int, ...] = ()
    """The strips that earlier runs and shares of the work have left to be done, numbered from 1 on."""

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        return asdict(self)

    def __str__(self) -> str:
        memory, disk, time_taken = self.sizes
        return (
            f"Memory  {memory} at most\nDisk    {disk} at most, while working\n"
            f"Time    about {time_taken}{self._list_missing()}"
        )

    @property
    def sizes(self) -> tuple[str, str, str]:
        """Memory, disk and time, as people read them."""
        return (
            f"{self.memory_bytes / 2**30:.1f} GiB",
            f"{self.disk_bytes / 2**30:.2f} GiB",
            str(timedelta(seconds=round(self.seconds))),
        )

    def _list_missing(self) -> str:
        """A line on what is there already, if anything is."""
        there = self.strips - len(self.missing)
        if not there:
            return ""
        names = f"; missing: {list_names(list(map(str, self.missing)))}" if self.missing else ""
        return f"\nStrips  {there:,} of {self.strips:,} are there{names}"


class PatchTimer:
    """Times the network on a patch or two of each kind, however many scenes are made of them."""

    def __init__(self) -> None:
        self.timed: dict[tuple[tuple[int, ...], str], float] = {}

    def estimate_seconds(self, job: Job) -> float:
        """How long the network will take for a whole scene."""
        shape, dtype = (1, len(job.scene.bands), job.plan.patch, job.plan.patch), job.scene.dtype
        if (shape, dtype) not in self.timed:
            runtime = job.open_runtime(job.kinds[0])
            self.timed[shape, dtype] = time_patch(runtime, shape, dtype) / runtime.streams
        return self.timed[shape, dtype] * job.plan.patches / len(job.kinds)


def estimate_job(job: Job, journal: Journal, timer: PatchTimer) -> Estimate:
    """Work out the sizes and the time; what the journal holds need not be done."""
    strips = job.plan.strips
    missing = tuple(strip.index + 1 for strip in strips if not journal.files(strip).exist)
    seconds = timer.estimate_seconds(job) * len(missing) / len(strips)
    return Estimate(estimate_memory(job), estimate_disk(job), seconds, job.plan.patches, len(strips), missing)


def estimate_memory(job: Job) -> int:
    plan, width = job.plan, job.scene.grid.width
    outputs = job.decision.channels
    rows = min(job.scene.grid.height, plan.strip_patch_rows * plan.stride + plan.overlap)
    raw = rows * width * (len(job.scene.bands) * np.dtype(job.scene.dtype).itemsize + 1)
    answer = rows * width * (outputs + 1)
    canvas = plan.patch * width * outputs * 4
    base = BASE_BYTES + (TORCH_BYTES if job.kinds[0].engine == "torch" else 0)
    return base + estimate_network_memory(job) + STRIPS_IN_FLIGHT * (raw + answer) + 2 * canvas


def estimate_network_memory(job: Job) -> int:
    """What the layers of a network take of the machine's memory while it looks at a patch in each stream."""
    kind, patch = job.kinds[0], job.plan.patch
    if kind.device != "cpu":
        return 0
    streams = 1 if kind.engine == "torch" else count_streams(patch, job.raw_patches.many)
    return streams * patch * patch * LAYER_BYTES // (1 if kind.precision == "fp32" else 2)


def refuse_too_large_job(job: Job, processes: int = 1) -> None:
    """Refuse a job that this machine cannot do in so many processes, before they take all of its memory."""
    needed, there = estimate_memory(job) * processes, find_memory_bytes()
    if there is not None and needed > there:
        grid = job.scene.grid
        if processes > 1:
            raise InputError(
                f"`workers` {processes}: need {needed / 2**30:.1f} GiB of memory for {grid.width:,} columns, and this machine has "
                f"{there / 2**30:.1f} GiB; use fewer"
            )
        raise InputError(
            f"{job.scene.name}: {grid.width:,} columns in patches of {job.plan.patch:,} pixels need {needed / 2**30:.1f} GiB of "
            f"memory, and this machine has {there / 2**30:.1f} GiB; use a smaller `patch`, a larger `gsd`, or fewer "
            "or narrower images at a time"
        )


def estimate_disk(job: Job) -> int:
    """At most: every strip stored once beside the output and once in it."""
    return int(job.scene.grid.height * job.scene.grid.width * 2 * (job.decision.channels + CLASS_BYTES))


def time_patch(runtime: Runtime, shape: tuple[int, ...], dtype: str, least_seconds: float = 0.0) -> float:
    """The seconds that a patch takes, over some patches, and so many that they take `least_seconds` together."""
    device = runtime.device
    patch = device.upload(np.zeros(shape, dtype))
    device.download(runtime(patch))()
    start, done = time.perf_counter(), 0
    while done < MEASURED_PATCHES or time.perf_counter() - start < least_seconds:
        device.download(runtime(patch))()
        done += 1
    return (time.perf_counter() - start) / done
