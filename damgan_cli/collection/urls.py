"""A list of photos on the web or anywhere: a text file with a URL a line, and behind it that of its mask.

Each result is called as its photo's URL, HOST/PATH, so that it does not depend on the rest of the list.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from array import array
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING

import numpy as np

from damgan_cli.collection.address import Place
from damgan_cli.collection.listing import Pair, cut
from damgan_cli.errors import PairingError, StoreError
from damgan_cli.photos.pairing import some
from damgan_cli.runtime.paths import is_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damgan_cli.collection.listing import Slice

_LONG = 100  # characters of a file name


def is_list(source: str) -> bool:
    """Whether INPUT is a list of URLs."""
    return source.partition("?")[0].lower().endswith(".txt")


def slices_of_list(source: str, *, with_masks: bool) -> Iterator[Slice]:
    """The photos that a list, at a path or an address, names, cut as a listing is.

    All lines are checked first. Blank lines, and those that begin with ``#``, do not count. Raises StoreError
    for lines that are no URLs, and PairingError if lines have no mask, or if two would have one result; to
    know that takes 8 bytes a line.
    """
    with _local(source) as file:
        seen = array("Q", (_digest(pair.photo) for pair in _pairs(file, with_masks=with_masks)))
        hashes, counts = np.unique(np.frombuffer(seen, np.uint64), return_counts=True)
        twice = set(hashes[counts > 1].tolist())
        if twice:
            pairs = _pairs(file, with_masks=with_masks)
            names = dict.fromkeys(pair.photo for pair in pairs if _digest(pair.photo) in twice)
            raise PairingError(
                f"{file.name} lists photos more than once: {some(list(names))}.", "Remove what is too much."
            )
        yield from cut(_pairs(file, with_masks=with_masks))


@contextlib.contextmanager
def _local(source: str) -> Iterator[Path]:
    """The list as a file of this machine. Raises StoreError."""
    place, name = Place.around(source)
    if "://" not in source:
        if not is_file(Path(source)):
            raise StoreError(f"The list {source} does not exist.", None)
        yield Path(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        place.download(name, Path(folder) / "list.txt")
        yield Path(folder) / "list.txt"


def _pairs(file: Path, *, with_masks: bool) -> Iterator[Pair]:
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            urls = line.split()
            if not urls or urls[0].startswith("#"):
                continue
            if len(urls) > 2 or any("://" not in url for url in urls):
                raise StoreError(
                    f"Line {number} of {file.name} is not one URL, or two.",
                    "Write the photo's URL, and behind a space or tab that of its mask.",
                )
            if with_masks and len(urls) == 1:
                raise PairingError(
                    f"Line {number} of {file.name} has no mask.",
                    "Write its URL behind the photo's, or give one --mask for all.",
                )
            photo, mask = _name(urls[0]), _name(urls[1]) if with_masks else None
            yield Pair(photo, mask, tuple(urls[: 1 + with_masks]))


def _name(url: str) -> str:
    """HOST/PATH of a URL, in place of its query, which may be secret, a digest. Raises StoreError."""
    place, name = Place.around(url)
    stem, extension = splitext(name)
    if place.query or len(name) > _LONG:
        stem = f"{stem[:_LONG]}-{hashlib.sha256(f'{name}?{place.query}'.encode()).hexdigest()[:8]}"
    folders = place.url.partition("://")[2].split("/")
    return "/".join(part for part in (*folders, f"{stem}{extension[:10]}") if part not in {"", ".", ".."})


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
