"""Shards: files that hold many photos. Those of WebDataset are here, Parquet is in `parquet`.

In WebDataset's tar files ``key.jpg`` is a photo and ``key.mask.png`` its mask. A key is a member's path up to
the first dot of its name; all members of a key are one sample.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from dataclasses import dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING

from damgan_cli.collection.address import WEB, Place
from damgan_cli.errors import ImageFileError, PairingError
from damgan_cli.photos.formats import EXTENSIONS
from damgan_cli.photos.limits import most_bytes
from damgan_cli.photos.pairing import some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MASK = "mask"
PARQUET = ".parquet"


@dataclass(frozen=True)
class Shard:
    """A tar or Parquet file, somewhere."""

    place: Place
    name: str
    problem: None = None

    @property
    def record(self) -> str:
        """Where its record is in OUT: beside the shard of results, which has the same name."""
        return f"{self.name}.json"

    @property
    def is_parquet(self) -> bool:
        """Whether it is a Parquet file; else it is a tar."""
        return self.name.lower().endswith(PARQUET)


def is_shard(source: str) -> bool:
    """Whether INPUT means tar or Parquet files."""
    path = source.partition("?")[0] if source.startswith(WEB) else source
    return path.lower().endswith((".tar", PARQUET))


def shards(sources: Sequence[str]) -> Iterator[Shard]:
    """The files that ``sources`` mean, ``{000..012}`` spelled out. PairingError for equal names."""
    seen: dict[str, str] = {}
    for source in sources:
        for text in _spelled_out(source):
            place, name = Place.around(text)
            if name in seen:
                raise PairingError(
                    f"{seen[name]} and {text} would have one output, {name}.", "Give them different names."
                )
            seen[name] = text
            yield Shard(place, name)


def _spelled_out(text: str) -> Iterator[str]:
    found = _RANGE.search(text)
    if found is None:
        yield text
        return
    first, last = found[1], found[2]
    for number in range(int(first), int(last) + 1):
        yield from _spelled_out(f"{text[: found.start()]}{number:0{len(first)}d}{text[found.end() :]}")


@dataclass
class _Sample:
    photos: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Unpacked:
    """A photo out of a shard."""

    key: str
    member: str
    photo: Path
    mask: Path | None


def unpack(tar: Path, folder: Path, where: str, *, with_masks: bool) -> list[Unpacked]:
    """Write the photos of ``tar``, and their masks, into ``folder``.

    Raises PairingError if photos and masks do not pair, ImageFileError for what is no tar file or is damaged.
    """
    samples: dict[str, _Sample] = {}
    files: dict[str, Path] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for number, member in enumerate(archive):
                key, extension = split_key(member.name)
                suffix = splitext(member.name)[1].lower()
                if not member.isreg() or suffix not in EXTENSIONS:
                    continue
                is_mask = extension.lower() == f"{_MASK}{suffix}"
                if (is_mask and not with_masks) or (not is_mask and f".{extension.lower()}" != suffix):
                    continue
                sample = samples.setdefault(key, _Sample())
                (sample.masks if is_mask else sample.photos).append(member.name)
                content = archive.extractfile(member)
                assert content is not None  # noqa: S101  # a regular member has some
                if member.size > most_bytes():
                    raise ImageFileError(f"{member.name} in {where} is larger than any image.")
                files[member.name] = folder / file_name(number, member.name)
                with files[member.name].open("wb") as file:
                    shutil.copyfileobj(content, file)
    except tarfile.TarError as problem:
        raise ImageFileError(
            f"{where} is no tar file, or is damaged ({problem}).",
            "Compressed ones are not read.",
        ) from None
    _check(samples, where, with_masks=with_masks)
    return [
        Unpacked(key, sample.photos[0], files[sample.photos[0]], next(map(files.get, sample.masks), None))
        for key, sample in samples.items()
    ]


def _check(samples: Mapping[str, _Sample], where: str, *, with_masks: bool) -> None:
    if not samples:
        raise PairingError(
            f"There are no photos in {where}.", f"Known extensions: {', '.join(sorted(EXTENSIONS))}."
        )
    masks = int(with_masks)
    bad = [
        f"{key} ({len(sample.photos)} photos, {len(sample.masks)} masks)"
        for key, sample in samples.items()
        if (len(sample.photos), len(sample.masks)) != (1, masks)
    ]
    if bad:
        raise PairingError(
            f"Photos and masks in {where} do not pair one to one: {some(bad)}.",
            "Each key needs one photo (key.jpg) and one mask (key.mask.png), or give one --mask for all.",
        )


def pack(tar: Path, target: Path, filled: Mapping[str, Path], left_out: Collection[str]) -> None:
    """Write ``target``: the members of ``tar`` in their order, those in ``filled`` with new content.

    All members of the keys ``left_out`` are left out: their photos have failed. Names, times and all other
    members stay, so that the same photos give the same bytes.
    """
    with tarfile.open(tar, "r:") as archive, tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as results:
        for member in archive:
            if split_key(member.name)[0] in left_out:
                continue
            if member.name in filled:
                with filled[member.name].open("rb") as file:
                    member.size = filled[member.name].stat().st_size
                    member.pax_headers = {
                        key: text for key, text in member.pax_headers.items() if key != "size"
                    }
                    results.addfile(member, file)
            else:
                results.addfile(member, archive.extractfile(member) if member.isreg() else None)


def split_key(name: str) -> tuple[str, str]:
    """A member's key and what follows its dot, as ``a/b`` and ``mask.png`` of ``a/b.mask.png``."""
    folder, slash, file = name.rpartition("/")
    key, _, extension = file.partition(".")
    return f"{folder}{slash}{key}", extension


def file_name(number: int, name: str) -> str:
    """A file name of this machine for a member or object called ``name``: it may be any text."""
    return f"{number:06d}-{re.sub(r'[^A-Za-z0-9._-]', '_', name)[-80:]}"
