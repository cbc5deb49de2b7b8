"""Giving memory back: buffers as large as strips return to the system when they are freed, not to the allocator."""

from __future__ import annotations

import ctypes
import platform

# glibc's name for the size from which a buffer gets pages of its own, and a size between a patch and a strip.
M_MMAP_THRESHOLD = -3
LARGE_BYTES = 4 * 2**20


def return_large_buffers() -> None:
    """Keep glibc from raising its threshold as it goes, which would keep some 200 MB more in use."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
