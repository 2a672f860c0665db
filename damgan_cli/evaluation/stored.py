"""Results, truths and masks that lie in collections: each pair is brought here while it is read."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from damgan_cli.collection import parquet
from damgan_cli.collection import shards as tars
from damgan_cli.collection.address import Place, require_obstore
from damgan_cli.collection.listing import by_name
from damgan_cli.collection.shards import is_shard, shards
from damgan_cli.collection.urls import is_list
from damgan_cli.errors import DamganError, ImageFileError
from damgan_cli.evaluation.pairs import Scored
from damgan_cli.photos.formats import EXTENSIONS
from damgan_cli.photos.limits import most_bytes
from damgan_cli.photos.pairing import paired

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Stored(Scored):
    """Files to score together, which are called as in their places."""

    places: tuple[Place | None, Place | None, Place | None]
    """Of result, truth and mask; None if the file is here."""

    @contextlib.contextmanager
    def here(self) -> Iterator[Scored]:
        """The files on this machine, as long as this lasts. Raises StoreError."""
        with tempfile.TemporaryDirectory() as folder:
            copies: list[Path | None] = []
            told: dict[str, str] = {}
            names = (self.result, self.truth, self.mask)
            for role, place, name in zip(("result", "truth", "mask"), self.places, names, strict=True):
                copy = name
                if place is not None and name is not None:
                    copy = Path(folder) / f"{role}{name.suffix}"
                    place.download(name.as_posix(), copy, most_bytes())
                    told[str(copy)] = place.at(name.as_posix())
                copies.append(copy)
            result, truth, mask = copies
            assert result is not None and truth is not None  # noqa: S101, PT018
            try:
                yield Scored(self.name, result, truth, mask)
            except DamganError as problem:
                message = problem.message
                for copy_here, address in told.items():
                    message = message.replace(copy_here, address)
                raise type(problem)(message, problem.hint) from None


def stored_pairs(results: str, truths: str, masks: str | None) -> list[Scored]:
    """Pair photos of places, or of shards, as `pairs.find_pairs` does; ``masks`` may be one mask for all.

    Shards are all unpacked into a temporary folder, removed when the program ends. Raises StoreError,
    ImageFileError and PairingError.
    """
    require_obstore()
    one_mask = masks is not None and Path(masks).suffix.lower() in EXTENSIONS
    texts = [text for text in (results, truths, None if one_mask else masks) if text is not None]
    sharded = all(map(is_shard, texts))
    if not sharded and any(is_shard(text) or is_list(text) for text in texts):
        raise ImageFileError(
            f"{', '.join(texts)} do not go together.", "Give places of photos only, or shards only."
        )
    if sharded:
        folder = Path(tempfile.mkdtemp(prefix="damgan-eval-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        listed = [
            _unpacked(text, folder / str(number), with_masks=number == 2) for number, text in enumerate(texts)
        ]
    else:
        listed = [by_name(Place.of(text)) for text in texts]
    pairs = paired(listed[0], listed[1], ("results", results), ("truths", truths))
    holes: dict[str, Path] = {}
    mask_place = None
    if one_mask:
        mask_place, name = Place.around(str(masks))
        holes = {pair.name: Path(name) for pair in pairs}
    elif masks is not None:
        mask_place = None if sharded else Place.of(masks)
        found = paired(listed[1], listed[2], ("truths", truths), ("masks", masks))
        holes = {pair.name: pair.right for pair in found}
    places = (None, None) if sharded else (Place.of(results), Place.of(truths))
    return [
        Stored(pair.name, pair.left, pair.right, holes.get(pair.name), (*places, mask_place))
        for pair in pairs
    ]


def _unpacked(text: str, folder: Path, *, with_masks: bool) -> dict[str, list[Path]]:
    """The photos of shards, or their masks, as files here, by shard and key."""
    files: dict[str, list[Path]] = {}
    for number, shard in enumerate(shards([text])):
        here = folder / str(number)
        here.mkdir(parents=True)
        shard.place.download(shard.name, here / "in")
        unpack = parquet.unpack if shard.is_parquet else tars.unpack
        for one in unpack(here / "in", here, shard.place.at(shard.name), with_masks=with_masks):
            file = one.mask if with_masks else one.photo
            files.setdefault(f"{shard.name}/{one.key}", []).append(file or one.photo)
        (here / "in").unlink()
    return files
