"""Find which result belongs to which truth (and mask), and score them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from damgan_cli.errors import ImageFileError
from damgan_cli.evaluation.metrics import score
from damgan_cli.images.files import read_mask, read_rgb
from damgan_cli.images.pairing import pair_by_relative_path

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Scored:
    """Files to score together."""

    name: str
    """Relative path without extension."""
    result: Path
    truth: Path
    mask: Path | None

    def score(self, *, invert_mask: bool = False) -> dict[str, float]:
        """Read the files and score them, see ``metrics.score``. Raises ImageFileError or MaskError."""
        mask = read_mask(self.mask, invert=invert_mask) if self.mask else None
        return score(read_rgb(self.result), read_rgb(self.truth), mask)


def find_pairs(results: Path, truths: Path, masks: Path | None = None) -> list[Scored]:
    """Pair two files, or two folders by relative path without extension.

    ``masks`` is one mask for all, or a folder paired with the truths in the same way. Raises ImageFileError
    if a path is missing or a file meets a folder, PairingError if the folders do not pair one to one.
    """
    for path in (results, truths, masks):
        if path and not path.exists():
            raise ImageFileError(f"{path} does not exist.")
    if results.is_dir() != truths.is_dir():
        file, folder = (truths, results) if results.is_dir() else (results, truths)
        raise ImageFileError(f"{file} is a file but {folder} is a folder.", "Give two files or two folders.")
    if results.is_dir():
        pairs = [
            (pair.name, pair.left, pair.right)
            for pair in pair_by_relative_path(results, truths, "results", "truths")
        ]
    else:
        pairs = [(truths.stem, results, truths)]
    if masks is None or masks.is_file():
        return [Scored(*pair, masks) for pair in pairs]
    if not truths.is_dir():
        raise ImageFileError(f"{truths} is a file but {masks} is a folder.", "Give one mask with --mask.")
    by_name = {pair.name: pair.right for pair in pair_by_relative_path(truths, masks, "truths", "masks")}
    return [Scored(name, result, truth, by_name[name]) for name, result, truth in pairs]
