"""Less waiting before the first photo."""

from __future__ import annotations

import contextlib
import gc
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import torch within this, in a program that is ours from start to end.

    Nothing of a library that is being imported is garbage, yet the collector looks through all of it several
    times on the way, and once more when Python exits: together a third of the time that torch takes.
    """
    # Threads of OpenMP by default wait for each other at full speed, which keeps whoever they wait for from
    # running: on busy cores that made one photo take 3 s instead of 0.1 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
