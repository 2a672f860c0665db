"""Where results go: places that can be written, and hold no photo that would be lost."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from damgan_cli.errors import ImageFileError, PairingError
from damgan_cli.photos.files import list_images
from damgan_cli.runtime.paths import (
    STREAM,
    check_folder_can_be_written,
    check_name,
    exists,
    is_folder,
    lies_in,
    same,
)

if TYPE_CHECKING:
    from damgan_cli.inpainting.job import Job
    from damgan_cli.inpainting.record import Record

_SHOWN = 10


def check_no_photos_of_input(folder: Path, role: str, source: Path, record: Record) -> None:
    """Raise ImageFileError if ``folder``, where results go, lies in ``source`` and has photos of its own.

    They would be left out of ``source`` without a word, or replaced. What ``record`` knows is ours.
    """
    if not is_folder(folder) or not lies_in(folder, source):
        return
    own = [path for path in list_images(folder) if record.of(path) is None]
    if own:
        names = ", ".join(map(str, own[:3])) + ", ..." * (len(own) > 3)
        raise ImageFileError(
            f"{role} {folder} is a folder of INPUT with photos of its own ({len(own)}: {names}), which would "
            "be left out or replaced.",
            f"Choose a new folder, or one outside of {source}.",
        )


def check_targets(jobs: list[Job]) -> None:
    """Find out before hours of work that results have nowhere to go, or would replace what is needed.

    Folders are looked at once each: there may be thousands of files in them.
    """
    real: dict[Path, Path] = {}

    def true_place(path: Path) -> Path:  # through symbolic links: OUT may hold a link that leads into INPUT
        if path.parent not in real:
            real[path.parent] = Path(os.path.realpath(path.parent))
        return real[path.parent] / path.name

    inputs = {
        true_place(path)
        for job in jobs
        for path in (job.photo, job.mask)
        if path is not None and path != STREAM
    }
    inputs |= {Path(os.path.realpath(path)) for path in inputs if os.path.islink(path)}  # noqa: PTH114
    places: dict[str, list[Path]] = {}
    folders: dict[Path, Path] = {}
    existing: dict[Path, Path] = {}
    for target in (target for job in jobs for target in job.targets if target != STREAM):
        place = true_place(target)
        if place.parent not in folders:
            existing[place.parent] = check_folder_can_be_written(target.parent, target)
            folders[place.parent] = target
        if place in inputs:
            raise ImageFileError(
                f"The output {target} is one of the photos or masks itself.",
                "Choose another place with -o OUT.",
            )
        check_name(existing[place.parent], target)
        if is_folder(target):
            raise ImageFileError(f"Cannot write {target}: it is a folder.", "Choose another output place.")
        places.setdefault(_folded(place), []).append(place)
    for folder, target in folders.items():
        for path in (folder, *folder.parents):
            if any(_one_file([path, file]) for file in places.get(_folded(path), [])):
                raise ImageFileError(
                    f"Cannot write {target}: {path} is to be a file, an output itself.",
                    "Choose another output place.",
                )
    clashes = [paths for paths in places.values() if len(paths) > 1 and _one_file(paths)]
    if clashes:
        listed = "; ".join(" and ".join(map(str, paths)) for paths in clashes[:_SHOWN])
        raise PairingError(
            f"Several photos would be written to one file ({len(clashes)}): {listed}.",
            "Rename them, or choose an output folder whose file system tells capitals from small letters.",
        )


def _folded(path: Path) -> str:
    """Equal for all paths that may mean the same file on some file system."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _one_file(paths: list[Path]) -> bool:
    """Whether paths that differ at most in capitals mean one file where they lie."""
    if len(set(paths)) < len(paths):
        return True
    for folder in paths[0].parents:
        other = folder.with_name(folder.name.swapcase())
        if other != folder and exists(folder):
            return exists(other) and same(folder, other)
    return False
