"""Calls for worker processes, in a module that a fresh process can import."""

from __future__ import annotations

import os
import signal
import time

from geoseg.errors import InputError


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
