"""Calls for worker processes, in a module that a fresh process can import."""

from __future__ import annotations

import os
import signal
import sys
import time

from geoseg.errors import InputError
from geoseg.parallel import WorkerPool


def slowly(number: int) -> tuple[int, int]:
    time.sleep(0.05 * (3 - number % 3))
    return number, os.getpid()


def fail() -> tuple[int, int]:
    raise InputError("told by a worker")


def interrupted() -> tuple[int, int]:
    os.kill(os.getpid(), signal.SIGINT)
    return 0, 0


def killed() -> tuple[int, int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0, 0


def use_two_workers() -> None:
    """What a process does that tests end; each of its workers prints a line once it is at work."""
    with WorkerPool[int](2) as workers:
        for _ in range(2):
            workers.submit(print_and_wait)
        list(workers.take_rest())


def print_and_wait() -> int:
    sys.stdout.write("working\n")
    sys.stdout.flush()
    time.sleep(60)
    return 0
