"""``damgan mask`` of places: each mask is made in a temporary folder and created where nothing is."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING

from damgan_cli.collection.address import Place, require_obstore
from damgan_cli.collection.listing import by_name, photos_of
from damgan_cli.errors import DamganError, ImageFileError, MaskError, StoreError
from damgan_cli.masks.dataset import MANIFEST, MaskJob, make_files, manifest_text
from damgan_cli.masks.jobs import refuse_twins
from damgan_cli.photos.limits import most_bytes
from damgan_cli.photos.pairing import paired
from damgan_cli.photos.read import displayed_size
from damgan_cli.runtime.processes import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from damgan_cli.masks.dataset import MaskSettings, Record

_SEVERAL = "same"


@dataclass(frozen=True)
class StoredJob:
    """One mask to make."""

    name: str
    """In OUT."""
    kind: str
    index: int = 0
    width: int = 256
    height: int = 256
    """Of one that is not made from its sources, nor like them."""
    sources: tuple[tuple[Place, str], ...] = ()
    like: bool = False
    """Whether only the size of its source counts."""

    @property
    def what(self) -> str:
        """For messages: what it is made from, or its name."""
        return self.sources[0][0].at(self.sources[0][1]) if self.sources else self.name


def refuse_unfit(out: str, like: str | None, options: dict[str, object]) -> None:
    """Raise StoreError or MaskError for what does not go with addresses."""
    require_obstore()
    for option, given in options.items():
        if given:
            raise MaskError(f"{option} does not go with addresses.", "See docs/collections.md.")
    place = Place.of(out)
    if place.on_the_web or out.lower().endswith(".png"):
        raise MaskError(f"{out} is no place for masks.", "OUT is a folder, s3://, gs:// or az://.")
    if like is not None and place.overlaps(Place.of(like)):
        raise MaskError(f"{out} and {like} lie in each other.", "Masks need a place of their own.")


def numbered(jobs: list[MaskJob], out: Path) -> list[StoredJob]:
    """The same jobs for a place instead of the folder ``out``."""
    return [
        StoredJob(job.path.relative_to(out).as_posix(), job.kind, job.index, job.width, job.height)
        for job in jobs
    ]


def jobs_like(kinds: list[str], photos: str) -> list[StoredJob]:
    """A mask for each photo of a place. Raises StoreError, ImageFileError, MaskError."""
    place = Place.of(photos)
    names = list(photos_of(place.names(), place.url))
    jobs = [
        StoredJob(_mask_name(name), kinds[index % len(kinds)], index, sources=((place, name),), like=True)
        for index, name in enumerate(names)
    ]
    return _checked(jobs, photos)


def jobs_from(kind: str, places: list[str]) -> list[StoredJob]:
    """A mask for each photo of a place, or pair of photos of two. Raises StoreError and as `jobs_like`."""
    wanted = 2 if kind == "from-diff" else 1
    if kind == _SEVERAL or len(places) != wanted:
        raise MaskError(
            f"{kind} does not take {len(places)} addresses.",
            "Addresses are for from-diff BEFORE AFTER, and the kinds that take one place of photos; "
            "same is for photos of this machine.",
        )
    first = Place.of(places[0])
    if wanted == 1:
        roots, names = [first], [[name] for name in photos_of(first.names(), first.url)]
    else:
        roots = [first, Place.of(places[1])]
        before, after = map(by_name, roots)
        pairs = paired(before, after, ("photos before", places[0]), ("photos after", places[1]))
        names = [[pair.left.as_posix(), pair.right.as_posix()] for pair in pairs]
    jobs = [
        StoredJob(_mask_name(some[0]), kind, sources=tuple(zip(roots, some, strict=True))) for some in names
    ]
    return _checked(jobs, places[0])


def _mask_name(photo: str) -> str:
    return f"{splitext(photo)[0]}.png"


def _checked(jobs: list[StoredJob], place: str) -> list[StoredJob]:
    if not jobs:
        raise ImageFileError(f"There are no photos in {place}.")
    refuse_twins([Path(job.name) for job in jobs])
    return jobs


def make(
    jobs: Sequence[StoredJob], settings: MaskSettings, out: Place, workers: int | None = None
) -> Iterator[Record | DamganError]:
    """Make the masks of ``jobs`` and create them in ``out``; yields, in their order, what `make_files` does.

    A mask that is there is never replaced: it must be the same, byte by byte, or its job fails.
    """
    require_obstore()
    return in_order(partial(_make, settings=settings, out=out), jobs, workers)


def create_manifest(out: Place, records: Sequence[Record], failed: dict[str, str]) -> None:
    """Create the manifest; why that cannot be is noted in ``failed``."""
    data = manifest_text(records).encode()
    try:
        if not out.create(MANIFEST, data) and out.get(MANIFEST) != data:
            failed[out.at(MANIFEST)] = "is there, of other masks, and stays as it is."
    except StoreError as problem:
        failed[out.at(MANIFEST)] = str(problem)


def _make(job: StoredJob, settings: MaskSettings, out: Place) -> Record | DamganError:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return _made(job, settings, out, Path(folder))
        except DamganError as problem:
            text = str(problem)
            for path, (place, name) in zip(_copies(job, Path(folder)), job.sources, strict=True):
                text = text.replace(str(path), place.at(name))
            return type(problem)(text)


def _copies(job: StoredJob, folder: Path) -> list[Path]:
    return [folder / f"{number}{splitext(name)[1]}" for number, (_, name) in enumerate(job.sources)]


def _made(job: StoredJob, settings: MaskSettings, out: Place, folder: Path) -> Record:
    copies = _copies(job, folder)
    for copy, (place, name) in zip(copies, job.sources, strict=True):
        place.download(name, copy, most_bytes())
    width, height = displayed_size(copies[0]) if job.like else (job.width, job.height)
    target = folder / "mask.png"
    sources = () if job.like else tuple(copies)
    (record,) = make_files([MaskJob(target, job.kind, job.index, width, height, sources)], settings, folder)
    if isinstance(record, DamganError):
        raise record
    data = target.read_bytes()
    if not out.create(job.name, data) and out.get(job.name) != data:
        raise MaskError(f"{out.at(job.name)} is there, and is another mask.", "Choose another place with -o.")
    names = " ".join(place.at(name) for place, name in job.sources)
    return replace(record, file=job.name, source=names if sources else None)
