"""What a program of our own sets up around torch: a quicker start, and memory that is used again."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
_KEPT_BLOCK = 2**27  # bytes; larger ones, like a photo of 50 megapixels, go back to the kernel at once
_KEPT = 2**30


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import torch within this, in a program that is ours from start to end.

    Nothing of a library that is being imported is garbage, yet the collector looks through all of it several
    times on the way, and once more when Python exits: together a third of the time that torch takes.
    """
    # Threads of OpenMP by default wait for each other at full speed, which keeps whoever they wait for from
    # running: on busy cores that made one photo take 3 s instead of 0.1 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def keep_memory() -> None:
    """Have freed memory used again, in a program that is ours from start to end.

    glibc by default takes each large block from the kernel, which clears it page by page as it is first
    written, and gives it back at once: up to a fifth of the generator's time on a CPU, and of a training step
    (docs/performance.md). Now blocks of up to 128 MiB come out of what was freed before, of which up to 1 GiB
    is kept, and torch asks for large pages. Where a user has set malloc's own variables, or where there is
    another C library, nothing is done.
    """
    if any(n in os.environ for n in ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
    mallopt(_M_ARENA_MAX, 1)  # or each thread keeps memory of its own, in pieces of at most 64 MiB
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # for torch, which is imported after this
