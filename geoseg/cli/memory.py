"""What becomes of large buffers once they are freed: they go back to the system, or stay at hand for the next ones."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping

# glibc's name for the size from which a buffer gets pages of its own, and a size between a patch and a strip.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
LARGE_BYTES = 4 * 2**20
KEPT_BYTES = 2**31 - 1


def return_large_buffers() -> None:
    """Keep glibc from raising its threshold as it goes, which would keep some 200 MB more in use."""
    tell_glibc({M_MMAP_THRESHOLD: LARGE_BYTES})


def keep_large_buffers() -> None:
    """Let glibc keep what is freed: training asks for the same buffers at every step, and new ones cost page faults."""
    tell_glibc({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: KEPT_BYTES // 8})


def tell_glibc(values: Mapping[int, int]) -> None:
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for name, value in values.items():
            library.mallopt(name, value)
