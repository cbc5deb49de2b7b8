"""Runs calls in worker processes, or in this one, and gives the results in the order of the calls."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from threading import Lock, Thread
from types import ModuleType, TracebackType
from typing import Generic, ParamSpec, TypeVar

from geoseg.errors import GeosegError

P = ParamSpec("P")
T = TypeVar("T")

WAITING_PER_WORKER = 2
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much memory a container may use, in its newer and its older way."""
TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def count_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_threads() -> int:
    """How many threads compute at a time: as `OMP_NUM_THREADS` says, else one a core, whose arithmetic two would share."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(asked) if asked.isdecimal() and int(asked) > 0 else count_cores()


def count_cores() -> int:
    """How many cores this process may use; two processors of one core are siblings."""
    if not hasattr(os, "sched_getaffinity"):
        return count_processors()
    siblings = [TOPOLOGY.format(processor) for processor in os.sched_getaffinity(0)]
    return len({path.read_text() for path in map(Path, siblings) if path.exists()}) or count_processors()


def find_memory_bytes() -> int | None:
    """The memory that this process may use at the very most: the machine's with its swap space, or a container's limit."""
    if sys.platform == "win32":
        return find_windows_memory_bytes()
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + find_swap_bytes()
    except (ValueError, OSError):
        return None
    limits = [int(text) for path in CONTAINER_LIMITS if (text := read_short(path)).isdecimal()]
    return min(machine, *limits) if limits else machine


def find_swap_bytes() -> int:
    """Linux' swap space; macOS makes some as it goes, and nobody knows how much."""
    match = re.search(r"^SwapTotal:\s*(\d+) kB", read_short("/proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def read_short(path: str) -> str:
    """What a small system file says; nothing where it is not there."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def find_windows_memory_bytes() -> int | None:
    """Memory with the paging file, as Windows tells it."""
    status = (ctypes.c_ulonglong * 8)()  # MEMORYSTATUSEX: two numbers of 32 bit, then seven of 64
    status[0] = ctypes.sizeof(status)
    tell = getattr(ctypes, "windll").kernel32.GlobalMemoryStatusEx  # noqa: B009 - not there elsewhere
    return int(status[3]) if tell(ctypes.byref(status)) else None


class StandingWorkers:
    """Worker processes that stay from one piece of work to the next: for work that is over sooner than they start."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._pool: ProcessPoolExecutor | None = None
        self._lock = Lock()

    def start(self, prepare: Callable[[], object]) -> None:
        """Let processes start in the background and prepare themselves, each once."""
        for _ in range(self.number if self._pool is None else 0):
            self.find_pool().submit(prepare)

    def find_pool(self) -> ProcessPoolExecutor:
        """The processes, begun anew where there are none."""
        with self._lock:
            self._pool = self._pool or start_processes(self.number)
            return self._pool

    def close(self) -> None:
        """End the processes; they start again when there is work."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


class WorkerPool(Generic[T]):
    """Runs calls in so many processes, or in those that stand by, and gives the results in the order of the calls.

    0 means in this process. Others start afresh (spawned), without the script that asks for them.
    """

    def __init__(self, workers: int | StandingWorkers) -> None:
        self._waiting: deque[Future[T]] = deque()
        self._standing = workers if isinstance(workers, StandingWorkers) else None
        number = workers.number if isinstance(workers, StandingWorkers) else workers
        self._most_waiting = WAITING_PER_WORKER * number
        self._own = start_processes(number) if number and self._standing is None else None
        self._pool = self._standing.find_pool() if self._standing else self._own

    def __enter__(self) -> WorkerPool[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is not None:
            self._own.shutdown(wait=True, cancel_futures=True)
        for call in self._waiting:
            call.cancel()
        if self._standing is not None and isinstance(error and error.__cause__, BrokenProcessPool):
            self._standing.close()

    def submit(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> None:
        """Ask for a call."""
        if self._pool is None:
            done: Future[T] = Future()
            done.set_result(call(*args, **options))
            self._waiting.append(done)
        else:
            with explain_killed_workers():
                self._waiting.append(self._pool.submit(call, *args, **options))

    def take_ready(self) -> Iterator[T]:
        """Results that are there; waits for the first ones when too many calls are under way."""
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > self._most_waiting):
            yield self._next()

    def take_rest(self) -> Iterator[T]:
        """All results that are still to come."""
        while self._waiting:
            yield self._next()

    def _next(self) -> T:
        with explain_killed_workers():
            return self._waiting.popleft().result()


def start_processes(number: int) -> ProcessPoolExecutor:
    """Processes that leave Ctrl-C to the one that started them, and do not outlive it."""
    return ProcessPoolExecutor(number, mp_context=AfreshContext(), initializer=follow_parent)


class AfreshProcess(SpawnProcess):
    """Begins without the script of the process that starts it, which need not be fit to be run again, as a page of the app."""

    def start(self) -> None:
        with hide_script():
            super().start()


class AfreshContext(SpawnContext):
    """Starts such processes."""

    Process = AfreshProcess


@contextmanager
def hide_script() -> Iterator[None]:
    """Put nothing in the place of the main module inside this block."""
    script, nothing = sys.modules["__main__"], ModuleType("__main__")
    sys.modules["__main__"] = nothing
    try:
        yield
    finally:
        if sys.modules["__main__"] is nothing:  # else Streamlit has begun a page meanwhile
            sys.modules["__main__"] = script


def follow_parent() -> None:
    """Make this worker process end with the one that started it, and no sooner."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()


def end_with_parent() -> None:
    """Wait until the parent is gone, however it ended: its end of a pipe closes, or on Windows its handle tells."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def explain_killed_workers() -> Iterator[None]:
    """Say in one line that a worker process was killed."""
    try:
        yield
    except BrokenProcessPool as error:
        raise GeosegError(
            "a worker process was killed, most likely for want of memory; try fewer `workers`, or `workers` 0"
        ) from error
