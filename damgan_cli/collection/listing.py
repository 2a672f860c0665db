"""A listing cut into slices of photos with their masks, in bounded memory however long it is.

Photos and masks pair strictly, as in folders: by relative path without extension, one to one. Both listings
are sorted by name, which is nearly, but not quite, an order of names without extension: ``b.c.jpg`` stands
before ``b.jpg``. What can still find its partner waits; that is no more than a name has dots.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING

from damgan_cli.errors import PairingError, StoreError
from damgan_cli.photos.formats import EXTENSIONS
from damgan_cli.photos.pairing import some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from damgan_cli.collection.address import Place

_MEAN = 128  # photos of a slice
_MOST = 512


@dataclass(frozen=True)
class Pair:
    """A photo's name and its mask's, relative to where photos and masks lie; the result has the photo's."""

    photo: str
    mask: str | None
    urls: tuple[str, ...] = ()
    """Where they are, if they come from a list (see `urls`)."""


@dataclass(frozen=True)
class Slice:
    """Photos that are done together."""

    pairs: tuple[Pair, ...]
    problem: str | None = None
    """Why none of them can be done: they do not pair."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.pairs[0].photo} ... {self.pairs[-1].photo}" if self.pairs else "unpaired masks"

    @property
    def record(self) -> str:
        """Where its record is in OUT: a digest of all names, so that another slice has another record."""
        names = "\n".join(f"{pair.photo}\t{pair.mask}" for pair in self.pairs)
        return f".damgan/{hashlib.sha256(names.encode()).hexdigest()[:32]}.json"


def photos_of(names: Iterable[str], where: str) -> Iterator[str]:
    """Those that are photos or masks and not hidden. Raises StoreError if they do not come sorted."""
    last = ""
    for name in names:
        if name < last:
            raise StoreError(
                f"{where} is not listed in order ({name} after {last}), so masks cannot be found in it.",
                "Use a bucket of the ordinary kind (S3 Express is not), or tar shards.",
            )
        last = name
        if splitext(name)[1].lower() in EXTENSIONS and "/." not in f"/{name}":
            yield name


def by_name(place: Place) -> dict[str, list[Path]]:
    """All photos or masks in a place, by their name without extension. Raises StoreError."""
    named: dict[str, list[Path]] = {}
    for name in photos_of(place.names(), place.url):
        named.setdefault(splitext(name)[0], []).append(Path(name))
    return named


def slices(photos: Iterable[str], masks: Iterable[str] | None) -> Iterator[Slice]:
    """Cut sorted listings into slices; ``masks`` is None if each photo needs none of its own.

    A slice ends after a name whose checksum says so, so that a photo that is added or removed changes the
    slice it is in and no other; it has 128 photos on average and 512 at most.
    """
    if masks is None:
        yield from cut(Pair(photo, None) for photo in photos)
    else:
        yield from cut(_groups(photos, masks))


def cut(groups: Iterable[Pair | Group]) -> Iterator[Slice]:
    """Slices of pairs, or of groups, of which those that are no pair make their slice one with a problem."""
    pairs: list[Pair] = []
    problems: list[str] = []
    for group in groups:
        if isinstance(group, Pair):
            pairs.append(group)
            name = group.photo
        else:
            if (len(group.photos), len(group.masks)) != (1, 1):
                problems.append(" + ".join([*group.photos, *(f"mask {mask}" for mask in group.masks)]))
            pairs += [Pair(photo, group.masks[0] if group.masks else None) for photo in group.photos]
            name = (group.photos or group.masks)[0]
        if zlib.crc32(name.encode()) % _MEAN == 0 or len(pairs) >= _MOST or len(problems) >= _MOST:
            yield _closed(pairs, problems)
            pairs, problems = [], []
    if pairs or problems:
        yield _closed(pairs, problems)


def _closed(pairs: list[Pair], problems: list[str]) -> Slice:
    problem = None
    if problems:
        problem = str(
            PairingError(
                f"Photos and masks do not pair one to one: {some(problems)}.",
                "Each photo needs one mask of the same relative path and name (extensions may differ).",
            )
        )
    return Slice(tuple(pairs), problem)


@dataclass
class Group:
    """All of the same path without extension: one photo and one mask, if they pair."""

    photos: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)


def _groups(photos: Iterable[str], masks: Iterable[str]) -> Iterator[Group]:
    """Merge two sorted listings. A group is complete once both have come to names behind ``path/``.

    Everything called ``path.SOMETHING`` stands before that, as a dot comes just before a slash.
    """
    waiting: dict[str, Group] = {}
    left, right = chain(photos, [None]), chain(masks, [None])
    photo, mask = next(left), next(right)
    while photo is not None or mask is not None:
        if mask is None or (photo is not None and photo <= mask):
            assert photo is not None  # noqa: S101
            waiting.setdefault(_path(photo), Group()).photos.append(photo)
            photo = next(left)
        else:
            waiting.setdefault(_path(mask), Group()).masks.append(mask)
            mask = next(right)
        reached = min((name for name in (photo, mask) if name is not None), default=None)
        for path in sorted(path for path in waiting if reached is None or f"{path}/" <= reached):
            yield waiting.pop(path)


def _path(name: str) -> str:
    return splitext(name)[0]
