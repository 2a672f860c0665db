"""Independent jobs on several processor cores, results in order."""

from __future__ import annotations

import os
import signal
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

import cv2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

_FEW = 64
_CHUNK = 8


def in_order(
    function: Callable[[_Job], _Result], jobs: Sequence[_Job], workers: int | None = None
) -> Iterator[_Result]:
    """Yield ``function(job)`` for each job, in order, computed on ``workers`` processes.

    ``workers`` is by default the number of cores this process may use; for fewer than 64 jobs, which would
    be done before processes have started, only a given number starts any. ``function`` and jobs must be
    picklable; the processes' warnings are issued here. Leaving early stops the work after the jobs at hand.
    """
    if workers is None:
        workers = cores() if len(jobs) >= _FEW else 1
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(function, jobs)
        return
    # "spawn" is the same on every system, and safe beside the threads of OpenCV and torch.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _prepare)
    try:
        chunk = max(1, min(_CHUNK, len(jobs) // workers))
        for result, issued in pool.map(partial(_recorded, function), jobs, chunksize=chunk):
            for warning in issued:
                warnings.warn(warning, stacklevel=2)
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _recorded(function: Callable[[_Job], _Result], job: _Job) -> tuple[_Result, list[Warning]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(job)
    return result, [one.message for one in caught if isinstance(one.message, Warning)]


def cores() -> int:
    """How many processor cores this process may use: its share of the machine's under torchrun."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux: what containers and schedulers allow
        count = len(os.sched_getaffinity(0))
    return max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _prepare() -> None:
    cv2.setNumThreads(1)  # the processes are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
