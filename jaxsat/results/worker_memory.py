"""Memory of a worker: kept by its process, not given back to the system between programs."""

from __future__ import annotations

import ctypes
import os

STAYS_FREE = 2**30  # bytes that are free at the top of the heap and stay
LARGEST = 2**25  # bytes; what is larger than this, glibc always takes from the system
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt


def keep_memory() -> None:
    """Undo what Dask's nanny does to its workers, where the C library is glibc.

    The nanny sets MALLOC_TRIM_THRESHOLD_ to 64 kB, which also stops glibc from learning which sizes are often needed: each
    array of XLA is then taken from the system anew, page by page, and work takes a third to twice as long.
    """
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, STAYS_FREE)
        mallopt(_MMAP_THRESHOLD, LARGEST)
