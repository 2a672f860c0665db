"""Results, truths and masks that lie in collections: each pair is brought here while it is read."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from damgan_cli.collection.address import Place, require_obstore
from damgan_cli.collection.listing import by_name
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

    places: tuple[Place, Place, Place | None]
    """Of result, truth and mask."""

    @contextlib.contextmanager
    def here(self) -> Iterator[Scored]:
        """The files on this machine, as long as this lasts. Raises StoreError."""
        with tempfile.TemporaryDirectory() as folder:
            copies: list[Path | None] = []
            for role, place, name in zip(
                ("result", "truth", "mask"), self.places, (self.result, self.truth, self.mask), strict=True
            ):
                copy = None
                if place is not None and name is not None:
                    copy = Path(folder) / f"{role}{name.suffix}"
                    place.download(name.as_posix(), copy, most_bytes())
                copies.append(copy)
            result, truth, mask = copies
            assert result is not None and truth is not None  # noqa: S101, PT018
            try:
                yield Scored(self.name, result, truth, mask)
            except DamganError as problem:
                message = problem.message
                for copy, place, name in zip(
                    copies, self.places, (self.result, self.truth, self.mask), strict=True
                ):
                    if copy is not None and place is not None and name is not None:
                        message = message.replace(str(copy), place.at(name.as_posix()))
                raise type(problem)(message, problem.hint) from None


def stored_pairs(results: str, truths: str, masks: str | None) -> list[Scored]:
    """Pair photos of three places as `pairs.find_pairs` does; ``masks`` may be one mask for all.

    Raises StoreError, ImageFileError for shards and lists, PairingError.
    """
    require_obstore()
    for text in filter(None, (results, truths, masks)):
        if text.lower().endswith((".tar", ".parquet", ".txt")):
            raise ImageFileError(f"{text} cannot be scored.", "Unpack it: photos are scored one by one.")
    mine, its = Place.of(results), Place.of(truths)
    originals = by_name(its)
    pairs = paired(by_name(mine), originals, ("results", results), ("truths", truths))
    if masks is None:
        return [Stored(pair.name, pair.left, pair.right, None, (mine, its, None)) for pair in pairs]
    if Path(masks).suffix.lower() in EXTENSIONS:
        place, name = Place.around(masks)
        return [Stored(pair.name, pair.left, pair.right, Path(name), (mine, its, place)) for pair in pairs]
    place = Place.of(masks)
    holes = paired(originals, by_name(place), ("truths", truths), ("masks", masks))
    by_truth = {pair.name: pair.right for pair in holes}
    return [
        Stored(pair.name, pair.left, pair.right, by_truth[pair.name], (mine, its, place)) for pair in pairs
    ]
