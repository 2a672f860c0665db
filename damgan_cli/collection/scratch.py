"""A folder for what is being worked on, which is removed at the end, or by the next run after a SIGKILL."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

# Windows has none; there a killed run's folder stays.
fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

_NAME = "damgan-collection-"


class Scratch:
    """A new folder in the system's folder for temporary files (TMPDIR), locked as long as it is in use."""

    def __init__(self) -> None:
        """Raises OSError."""
        self.folder = Path(tempfile.mkdtemp(prefix=_NAME))
        self._held = os.open(self.folder / "new", os.O_CREAT | os.O_RDWR, 0o600)
        if fcntl is not None:
            _remove_strays()
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (self.folder / "new").rename(self.folder / "lock")  # from here on it can be found

    def close(self) -> None:
        """Remove it with all that is in it."""
        os.close(self._held)
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_strays() -> None:
    """Remove the folders of runs that were killed: their locks are free."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_NAME}*/lock"):
        with contextlib.suppress(OSError):
            held = os.open(lock, os.O_RDWR)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(held)
