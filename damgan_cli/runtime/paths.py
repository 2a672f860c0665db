"""Questions about paths that a user gave: an answer or one clear error, never an OSError.

``Path.is_dir()`` and ``Path.exists()`` raise for names that are too long and in folders one may not enter;
what they raise for differs by version of Python.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from damgan_cli.errors import ImageFileError

STREAM = Path("-")
"""Stands for stdin where a photo or mask is to be read, for stdout where a result is to be written."""

_ANOTHER = "Choose another output place."


def exists(path: Path) -> bool:
    """Whether there is something at ``path``; a link to nowhere is nothing."""
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder, or a link to one."""
    return os.path.isdir(path)  # noqa: PTH112


def is_stream(path: Path) -> bool:
    """Whether ``path`` can be read only once: stdin, or a pipe such as the shell's ``<(command)``."""
    try:
        mode = path.stat().st_mode if path != STREAM else stat.S_IFIFO
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def is_file(path: Path) -> bool:
    """Whether ``path`` is a regular file, or a link to one."""
    return os.path.isfile(path)  # noqa: PTH113


def same(path: Path, other: Path) -> bool:
    """Whether both mean one file or folder, which need not exist yet."""
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return os.path.realpath(path) == os.path.realpath(other)


def lies_in(path: Path, folder: Path) -> bool:
    """Whether ``path`` is inside of ``folder``, at any depth; neither need exist."""
    real, outer = os.path.realpath(path), os.path.realpath(folder)
    return real != outer and real.startswith(os.path.join(outer, ""))  # noqa: PTH118


def check_file_can_be_written(path: Path) -> None:
    """Raise ImageFileError if it is plain that no file can be written at ``path``.

    Asked before the work is done whose result is to go there. Missing folders count as fine: they are made.
    """
    check_name(check_folder_can_be_written(path.parent, path), path)
    if is_folder(path):
        raise ImageFileError(f"Cannot write {path}: it is a folder.", "Give the name of a file.")


def check_folder_can_be_written(folder: Path, target: Path | None = None) -> Path:
    """Raise ImageFileError if it is plain that nothing can be written in ``folder``.

    ``target`` is what the message names, by default ``folder`` itself. Returns the innermost folder on the
    way that exists.
    """
    target = target or folder
    if target == STREAM:
        raise ImageFileError(
            "- (stdout) is not possible here.", "Give a name; ./- is spelled out for one like this."
        )
    place = folder.absolute()
    existing = next(path for path in (place, *place.parents) if os.path.lexists(path))
    for part in place.relative_to(existing).parts:
        _check_length(existing / part, target)  # the system would stop at the first that is missing
    _check_length(place, target)
    if not is_folder(existing):
        raise ImageFileError(f"Cannot write {target}: {existing} is a file, not a folder.", _ANOTHER)
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ImageFileError(f"Cannot write {target}: {existing} may not be written to.", _ANOTHER)
    return existing


def check_name(existing: Path, target: Path) -> None:
    """Raise ImageFileError if no file can have the name of ``target``; ``existing`` as returned above."""
    _check_length(existing / target.name, target)
    _check_length(target, target)


def _check_length(path: Path, target: Path) -> None:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise ImageFileError(f"Cannot write {target} ({reason}).", "Choose another name.") from None
