"""Files that are there whole or not at all, whatever stops the program: Ctrl-C, SIGKILL, a full disk."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from damgan_cli.errors import ImageFileError
from damgan_cli.runtime.paths import STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Windows has none, but there an open file can be neither removed nor renamed.
fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

_TEMPORARY = re.compile(r"\.damgan-[0-9a-f]{32}\.tmp")
_UNLOCKABLE_AGE = (
    3600.0  # seconds, after which a temporary file counts as left behind where locks do not work
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomically(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write ``data`` to a temporary name beside ``path``, then rename.

    With ``sync`` it is on the disk on return, and a crash of the machine leaves the old file or the new one.
    Without, it may leave an empty file: a few milliseconds cheaper, for what can be made again.
    `paths.STREAM` is stdout. Missing folders are made. Raises ImageFileError if the folder or file cannot be
    written; then, and on Ctrl-C, nothing is left behind. What SIGKILL leaves behind is removed by
    `remove_strays`.
    """
    path = Path(path)
    if path == STREAM:
        sys.stdout.buffer.write(data)
        return
    try:
        with replacing(path, sync=sync) as file:
            file.write(data)
    except (FileExistsError, NotADirectoryError):
        raise ImageFileError(
            f"Cannot write {path}: a file stands where the folder {path.parent} is needed.",
            "Choose another output folder, or move that file away.",
        ) from None
    except OSError as problem:
        hint = "Free some space" if problem.errno in _FULL else "Choose another output place"
        raise ImageFileError(f"Cannot write {path} ({problem.strerror or problem}).", f"{hint}.") from None


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = True, only_first: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which becomes ``path`` once all within this has gone well; see `write_atomically`.

    With ``only_first`` what another process has put there meanwhile stays. Raises OSError; then that is
    FileExistsError.
    """
    temporary, held = None, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, held = _create(path.parent)
        # closed before it is renamed, as a network drive may report a full disk only then
        with os.fdopen(os.dup(held), "wb") as file:
            yield file
        if sync:  # before the rename, or the new name may reach the disk before the data does
            os.fsync(held)
        if fcntl is None:
            os.close(held)
            held = None
        if only_first:
            os.link(temporary, path)
        else:
            temporary.replace(path)
            temporary = None
        if sync:
            sync_folder(path.parent)
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if held is not None:
            os.close(held)


def sync_folder(folder: Path) -> None:
    """Bring what was made, renamed and removed in ``folder`` to the disk, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders, some network drives sync none
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def remove_strays(folders: Iterable[Path]) -> int:
    """Remove the temporary files that killed runs left in ``folders``; returns how many there were.

    Only files of our own naming whose writer is gone: a writer holds a lock that ends with its process.
    """
    removed = 0
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    removed += _remove_unless_held(Path(entry.path))
    return removed


def _create(folder: Path) -> tuple[Path, int]:
    """A new temporary file in ``folder``, locked as long as the descriptor that is returned stays open."""
    while True:
        path = folder / f".damgan-{uuid.uuid4().hex}.tmp"
        held = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
        if fcntl is None:
            return path, held
        with contextlib.suppress(OSError):  # some network drives have no locks
            fcntl.flock(held, fcntl.LOCK_EX)
        if os.fstat(held).st_nlink:
            return path, held
        os.close(held)  # taken for a stray and removed before it was locked


def _remove_unless_held(path: Path) -> bool:
    held = None
    try:
        if fcntl is not None:
            held = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:
                if time.time() - os.fstat(held).st_mtime < _UNLOCKABLE_AGE:
                    return False
        path.unlink()
    except OSError:  # another run was quicker, or it may not be touched
        return False
    finally:
        if held is not None:
            os.close(held)
    return True
