"""What a worker process does before and around a task: it looks whether it can, and takes its share of the machine."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import TypeVar

from filelock import FileLock, Timeout

from geoseg import __version__
from geoseg.cluster.place import SharedPlace
from geoseg.errors import GeosegError
from geoseg.inference.loaded import LoadedModel, load_model
from geoseg.inference.options import PredictOptions
from geoseg.io.trust import trust_files
from geoseg.models.backends.base import RuntimeKind
from geoseg.models.runtime import find_devices
from geoseg.models.store import find_model
from geoseg.parallel import count_cores
from geoseg.progress import silence

T = TypeVar("T")
R = TypeVar("R")

THREADS = "OMP_NUM_THREADS"
NANNYS_THREADS = "1"
"""What Dask's nanny sets where nobody said anything: a worker on a large machine would compute with one thread."""
TASK_LOCK = Lock()
"""An engine has one caller at a time; a Dask worker may have several threads."""


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker says of itself: how it would run a model, or why it cannot."""

    kind: RuntimeKind | None = None
    fingerprint: str = ""
    problem: str = ""


def describe_worker(version: str, options: PredictOptions | None) -> WorkerFacts:
    """Look whether this worker can do the work, and how."""
    try:
        if version != __version__:
            raise GeosegError(
                f"has geoseg {__version__}, not {version}; install the same version on all machines"
            )
        if options is None:
            return WorkerFacts()
        with silence():
            loaded = load_model(
                find_model(options.model), replace(options, device=claim_device(options.device))
            )
        return WorkerFacts(loaded.kinds[0], loaded.model.fingerprint)
    except GeosegError as error:
        return WorkerFacts(problem=str(error))


def run_task(place: SharedPlace, neighbours: int, call: Callable[[T], R], task: T) -> R:
    """Do a task in this process, which shares its machine with so many workers, itself counted."""
    with TASK_LOCK, silence(), trust_files() if place.is_trusted else nullcontext():
        place.check()
        set_threads(place.threads or choose_threads(neighbours))
        try:
            return call(task)
        except Exception as error:
            # What led to it may not survive the way to another process: errors of GDAL do not, and would take it along.
            error.__cause__ = error.__context__ = None
            raise


def choose_threads(neighbours: int) -> int:
    """How many threads a worker computes with: what its environment says, else its share of the cores."""
    asked = os.environ.get(THREADS, NANNYS_THREADS)
    if asked != NANNYS_THREADS and asked.isdecimal():
        return int(asked)
    return max(1, count_cores() // max(1, neighbours))


def set_threads(number: int) -> None:
    os.environ[THREADS] = str(number)


@lru_cache(maxsize=2)
def recall_model(options: PredictOptions, fingerprint: str) -> LoadedModel:
    """A model, opened once in this process as long as it stays the same."""
    del fingerprint
    return load_model(find_model(options.model), replace(options, device=claim_device(options.device)))


@cache
def claim_device(request: str) -> str:
    """The one device that this process works on, as long as it lives; workers of a machine take its GPUs one each."""
    devices = find_devices(request)
    return devices[0] if len(devices) == 1 else devices[claim_number(len(devices))]


def claim_number(count: int) -> int:
    """A number below `count` that no other worker of this machine has, if there is one left."""
    for number in range(count):
        lock = FileLock(name_lock(number), timeout=0, thread_local=False)
        with suppress(Timeout):
            lock.acquire()
            HELD.append(lock)
            return number
    return os.getpid() % count


HELD: list[FileLock] = []
"""The system lifts them when the process ends."""


def name_lock(number: int) -> Path:
    """A lock of this user for a GPU among those that this process sees."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    # Eight long names, or those of parts of a GPU with their slashes, are no name of a file.
    digest = hashlib.sha256(seen.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"geoseg-{user}-gpu-{digest}-{number}.lock"


def list_problems(facts: Sequence[tuple[str, WorkerFacts]]) -> list[str]:
    """What keeps workers from working, each with its address."""
    return [f"worker {address}: {each.problem}" for address, each in facts if each.problem]
