"""What `damgan mask` has to make: which mask goes to which file, checked before anything is written."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.masks.dataset import MaskJob
from damgan_cli.photos.files import list_images
from damgan_cli.photos.pairing import pair_by_relative_path
from damgan_cli.photos.read import displayed_size
from damgan_cli.runtime.paths import STREAM, check_folder_can_be_written, check_name, exists, is_folder

_SHOWN = 10
_MANY = {"text", "scratches", "same"}  # kinds that take several photos by name


def jobs_from(kind: str, places: list[str], out: Path, single: bool) -> list[MaskJob]:
    """One job per file of a folder, per pair of files of two folders, or per photo named.

    Of ``same`` it is one job for all. Raises ImageFileError, MaskError and PairingError.
    """
    roots = [Path(place) for place in places]
    wanted = 2 if kind == "from-diff" else 1
    if not roots or (len(roots) != wanted and kind not in _MANY):
        raise MaskError(
            f"{kind} takes {wanted} file{'s' * (wanted - 1)} or folder{'s' * (wanted - 1)}, "
            f"but {len(roots)} were given.",
            "See the examples in --help.",
        )
    for root in roots:
        if not exists(root):
            raise ImageFileError(f"{root} does not exist.")
    if wanted == 2 and len({is_folder(root) for root in roots}) > 1:
        raise ImageFileError(
            f"Of {places[0]} and {places[1]} one is a file and one a folder.", "Give two of the same."
        )
    if kind == "same" or (len(roots) > 1 and kind in _MANY):
        return _jobs_of_several(kind, roots, out, single)
    if not is_folder(roots[0]):
        target = out if single else out / f"{roots[-1].stem}.png"
        _refuse_sources([target], roots, out)
        return [MaskJob(target, kind, sources=tuple(roots))]
    if single:
        raise MaskError(
            f"Masks from the folder {roots[0]} do not fit into the one file {out}.", "Give a folder with -o."
        )
    named: list[tuple[str, tuple[Path, ...]]]
    if wanted == 2:
        pairs = pair_by_relative_path(roots[0], roots[1], "photos before", "photos after")
        named = [(pair.name, (pair.left, pair.right)) for pair in pairs]
    else:
        files = list_images(roots[0])
        if not files:
            raise ImageFileError(f"There are no images in {roots[0]}.")
        named = [(file.relative_to(roots[0]).with_suffix("").as_posix(), (file,)) for file in files]
    jobs = [MaskJob(out / f"{name}.png", kind, sources=files) for name, files in named]
    refuse_twins([job.path for job in jobs])
    _refuse_sources([job.path for job in jobs], [file for _, files in named for file in files], out)
    return jobs


def _jobs_of_several(kind: str, roots: list[Path], out: Path, single: bool) -> list[MaskJob]:
    folders = [root for root in roots if is_folder(root)]
    if folders and len(roots) > 1:
        raise ImageFileError(
            f"{folders[0]} is a folder, and goes alone.", "Give several photos, or one folder."
        )
    if kind == "same":
        if not single:
            raise MaskError(f"same makes one mask, but {out} is a folder.", "Give a .png file with -o.")
        _refuse_sources([out], roots, out)
        return [MaskJob(out, kind, sources=tuple(roots))]
    if single:
        raise MaskError(f"{len(roots)} masks do not fit into the one file {out}.", "Give a folder with -o.")
    top = Path(os.path.commonpath([root.parent.absolute() for root in roots]))
    targets = [out / root.absolute().relative_to(top).with_suffix(".png") for root in roots]
    refuse_twins(targets)
    _refuse_sources(targets, roots, out)
    return [MaskJob(target, kind, sources=(root,)) for target, root in zip(targets, roots, strict=True)]


def numbered_jobs(
    kinds: list[str], out: Path, single: bool, size: tuple[int, int], count: int
) -> list[MaskJob]:
    """``count`` jobs for masks of ``size`` (width, height), the kinds taking turns. Raises MaskError."""
    width, height = size
    if single and count > 1:
        raise MaskError(f"{count} masks do not fit into the one file {out}.", "Give a folder with -o.")
    if single:
        return [MaskJob(out, kinds[0], 0, width, height)]
    digits = max(5, len(str(count - 1)))
    return [
        MaskJob(out / f"{i:0{digits}}.png", kinds[i % len(kinds)], i, width, height) for i in range(count)
    ]


def jobs_like(kinds: list[str], out: Path, single: bool, like: Path, failed: dict[str, str]) -> list[MaskJob]:
    """One job per photo; photos that cannot be read are noted in ``failed`` and keep their index.

    Raises ImageFileError and MaskError.
    """
    root = like if is_folder(like) else like.parent
    photos = list_images(like) if is_folder(like) else [like]
    if not photos:
        raise ImageFileError(
            f"There are no photos in {like}.", "Give --like a folder with photos, or a photo."
        )
    if single and is_folder(like):
        raise MaskError(
            f"Masks for the folder {like} do not fit into the one file {out}.", "Give a folder with -o."
        )
    targets = [out if single else out / photo.relative_to(root).with_suffix(".png") for photo in photos]
    refuse_twins(targets)
    _refuse_sources(targets, photos, out)
    jobs = []
    for index, (photo, target) in enumerate(zip(photos, targets, strict=True)):
        try:
            width, height = displayed_size(photo)
        except ImageFileError as problem:
            failed[str(photo)] = str(problem)
            continue
        jobs.append(MaskJob(target, kinds[index % len(kinds)], index, width, height))
    if not jobs:
        raise ImageFileError(f"None of the photos in {like} can be read.", next(iter(failed.values())))
    return jobs


def refuse_twins(targets: list[Path]) -> None:
    """Raise MaskError if two masks have one path."""
    twins = [str(path) for path, number in Counter(targets).items() if number > 1]
    if twins:
        raise MaskError(
            f"Photos that differ only in their extension would share a mask: {_some(twins)}.",
            "Rename or separate them.",
        )


def _refuse_sources(targets: list[Path], sources: list[Path], out: Path) -> None:
    own = set(map(os.path.realpath, sources))
    if not own.isdisjoint(map(os.path.realpath, targets)):
        raise MaskError(
            f"Masks in {out} would replace the photos themselves.", "Give another folder with -o."
        )


def refuse_existing(paths: list[Path], overwrite: bool) -> None:
    """Raise MaskError listing the ``paths`` that exist, unless they may be replaced.

    Raises ImageFileError if one of them cannot be written.
    """
    paths = [path for path in paths if path != STREAM]
    folders = {
        folder: check_folder_can_be_written(folder, path)
        for folder, path in {path.parent: path for path in paths}.items()
    }
    for path in paths:
        check_name(folders[path.parent], path)
    existing = [] if overwrite else [str(path) for path in paths if exists(path)]
    if existing:
        raise MaskError(
            f"{len(existing)} of the files to write exist already: {_some(existing)}.",
            "Add --overwrite to replace them, or choose another place with -o.",
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
