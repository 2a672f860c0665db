"""Photos as they arrive in a folder: each once it is completely written, and once only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from damgan_cli.photos.files import list_images
from damgan_cli.runtime.paths import is_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

PAUSE = 1.0
"""Seconds between looks."""
STILL = 2.0
"""Seconds for which size and time of a file do not change once it is written."""

_Stamp = tuple[int, int]  # bytes, and when it was changed


def arrivals(
    folder: Path,
    masks: Path | None = None,
    exclude: Sequence[Path] = (),
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[list[Path]]:
    """Look again and again for photos in ``folder`` at any depth; yields those that are new, and complete.

    A file is complete when it holds something and has not changed for `STILL` seconds; one that changes later
    comes again. With a folder of ``masks`` a photo comes once its mask is complete. What lies in one of
    ``exclude`` does not count. It never ends; an empty list says that nothing was new.
    """
    steady: dict[Path, tuple[_Stamp, float]] = {}
    given: dict[Path, _Stamp] = {}
    away = [*exclude, *([masks] if masks else [])]
    while True:
        now = clock()
        photos = list_images(folder, away)
        ready = {path: stamp for path in photos if (stamp := _settled(path, steady, now))}
        if masks is not None and is_folder(masks):
            there = {
                mask.relative_to(masks).with_suffix("")
                for mask in list_images(masks)
                if _settled(mask, steady, now)
            }
            ready = {
                path: stamp
                for path, stamp in ready.items()
                if path.relative_to(folder).with_suffix("") in there
            }
        new = [path for path, stamp in ready.items() if given.get(path) != stamp]
        given.update({path: ready[path] for path in new})
        yield new
        sleep(PAUSE)


def _settled(path: Path, steady: dict[Path, tuple[_Stamp, float]], now: float) -> _Stamp | None:
    """Size and time of a file if it has not changed for a while; ``steady`` remembers since when."""
    try:
        status = path.stat()
    except OSError:  # gone again, or a link to nowhere
        steady.pop(path, None)
        return None
    stamp = status.st_size, status.st_mtime_ns
    before, since = steady.get(path, (None, now))
    if before != stamp:
        steady[path] = stamp, now
        return None
    return stamp if stamp[0] and now - since >= STILL else None
