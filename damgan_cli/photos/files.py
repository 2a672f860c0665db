"""Find the image files in a folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from damgan_cli.errors import ImageFileError
from damgan_cli.photos.formats import EXTENSIONS
from damgan_cli.runtime.paths import exists, is_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def list_images(
    folder: Path, exclude: Iterable[Path] = (), extensions: Collection[str] = EXTENSIONS
) -> list[Path]:
    """All photos (files with one of ``extensions``) under ``folder``, at any depth, sorted by relative path.

    Left out are hidden files and folders, what is, or lies in, one of ``exclude``, and folders that are
    symbolic links (they may lead in a circle). Raises ImageFileError if ``folder`` is no folder, or if
    a folder in it may not be read.
    """
    folder = Path(folder)
    if not is_folder(folder):
        kind = "is a file, not a folder" if exists(folder) else "does not exist"
        raise ImageFileError(f"The folder {folder} {kind}.")
    hidden = set()
    for path in exclude:
        with contextlib.suppress(OSError):  # what does not exist need not be left out
            hidden.add(_identity(path.stat()))
    found: list[Path] = []
    _collect(folder, hidden, extensions, found)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _collect(
    folder: Path, hidden: set[tuple[int, int]], extensions: Collection[str], found: list[Path]
) -> None:
    inodes = {inode for _, inode in hidden}
    try:
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(".")]
    except OSError as problem:
        raise ImageFileError(
            f"The folder {folder} cannot be read ({problem.strerror}).",
            "Allow reading it, or move it away: photos in it would be left out unnoticed.",
        ) from None
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and Path(entry.name).suffix.lower() not in extensions:
            continue
        if entry.inode() in inodes or entry.is_symlink():  # a cheap question before stat()
            with contextlib.suppress(OSError):  # a broken link: reading it will tell
                if _identity(entry.stat()) in hidden:
                    continue
        if is_folder:
            _collect(folder / entry.name, hidden, extensions, found)
        elif not os.path.isdir(entry):  # noqa: PTH112  # entry.is_dir() raises for a link to itself
            found.append(folder / entry.name)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
