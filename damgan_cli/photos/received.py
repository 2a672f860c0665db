"""Photos and masks that come through a pipe: stdin, a named pipe, the shell's ``<(command)``.

A pipe can be read only once, so what was named on the command line is received once, before any work, and
kept. Pipes that nobody named (in a folder) are not read: they may hang for ever.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from damgan_cli.errors import ImageFileError
from damgan_cli.runtime.paths import STREAM, is_stream

if TYPE_CHECKING:
    from pathlib import Path

_received: dict[Path, bytes] = {}


def receive(path: Path, most: int) -> None:
    """Read what comes through ``path``, `paths.STREAM` (stdin) or a pipe, of at most ``most`` bytes.

    Other paths are left alone. Raises ImageFileError.
    """
    if not is_stream(path):
        return
    try:
        if path == STREAM:
            if sys.stdin is None or not _flows(os.fstat(sys.stdin.fileno()).st_mode):
                raise ImageFileError(
                    f"{path}: stdin is closed, a terminal or a device.",
                    "Send an image there: ... < photo.png",
                )
            data = sys.stdin.buffer.read(most + 1)
        else:
            with path.open("rb") as pipe:
                data = pipe.read(most + 1)
    except (OSError, ValueError) as problem:
        raise ImageFileError(f"{path} cannot be read ({problem}).") from None
    if len(data) > most:
        raise ImageFileError(f"More than {most:,} bytes came through {path}: no image is that large.")
    _received[path] = data


def received(path: Path) -> bytes | None:
    """What came through ``path``; None if it is no pipe that was received."""
    return _received.get(path)


def _flows(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
