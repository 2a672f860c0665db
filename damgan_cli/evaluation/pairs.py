"""Find which result belongs to which truth (and mask), and score them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from damgan_cli.errors import DamganError, ImageFileError
from damgan_cli.evaluation.metrics import score
from damgan_cli.evaluation.ssim import DEFAULT_SSIM
from damgan_cli.masks.read import read_mask
from damgan_cli.photos.color import rgb_of
from damgan_cli.photos.limits import memory_for
from damgan_cli.photos.pairing import pair_by_relative_path
from damgan_cli.photos.read import decode
from damgan_cli.runtime.paths import exists, is_folder
from damgan_cli.runtime.processes import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

_GRAY_MODES = {"1", "L", "LA", "La"}


@dataclass(frozen=True)
class Scored:
    """Files to score together."""

    name: str
    """Relative path without extension."""
    result: Path
    truth: Path
    mask: Path | None

    @contextlib.contextmanager
    def here(self) -> Iterator[Scored]:
        """The same on this machine, as long as this lasts; these files are."""
        yield self

    def read(self) -> tuple[Image, Image]:
        """Result and truth, (H, W, 3) uint8.

        Raises ImageFileError if one cannot be read, or if one is gray and the other has colour, or one has
        8 bits and the other 16: what was saved in another form was changed by more than the inpainting.
        """
        pixels, forms = [], []
        for path in (self.result, self.truth):
            photo = decode(path)
            bits = 16 if photo.pixels.dtype == np.uint16 else 8
            forms.append((f"{bits}-bit", "gray" if photo.mode in _GRAY_MODES else "RGB"))
            pixels.append(rgb_of(photo))
        if forms[0] != forms[1]:
            result, truth = (" ".join(form) for form in forms)
            raise ImageFileError(f"The result is {result} but the truth is {truth}.", "Save both alike.")
        return pixels[0], pixels[1]

    def score(
        self, *, invert_mask: bool = False, ssim_kind: str = DEFAULT_SSIM, multi_scale: bool = False
    ) -> dict[str, float]:
        """Read the files and score them, see ``metrics.score``; with a mask also ``hole_ratio``.

        Raises ImageFileError or MaskError.
        """
        mask = read_mask(self.mask, invert=invert_mask) if self.mask else None
        scores = score(*self.read(), mask, ssim_kind=ssim_kind, multi_scale=multi_scale)
        if mask is not None:
            scores["hole_ratio"] = float(np.count_nonzero(mask)) / mask.size
        return scores


def score_pairs(
    pairs: Sequence[Scored],
    *,
    invert_mask: bool = False,
    ssim_kind: str = DEFAULT_SSIM,
    multi_scale: bool = False,
    workers: int | None = None,
) -> Iterator[dict[str, float] | DamganError]:
    """Yield the scores of each pair, in order, or what is wrong with it; computed on all cores.

    No more than a few images are in memory at once.
    """
    one = partial(_score, invert_mask=invert_mask, ssim_kind=ssim_kind, multi_scale=multi_scale)
    return in_order(one, pairs, workers)


def _score(
    pair: Scored, *, invert_mask: bool, ssim_kind: str, multi_scale: bool
) -> dict[str, float] | DamganError:
    try:
        with pair.here() as files, memory_for(files.result):
            return files.score(invert_mask=invert_mask, ssim_kind=ssim_kind, multi_scale=multi_scale)
    except DamganError as problem:
        return problem


def find_pairs(results: Path, truths: Path, masks: Path | None = None) -> list[Scored]:
    """Pair two files, or two folders by relative path without extension.

    ``masks`` is one mask for all, or a folder paired with the truths in the same way. Raises ImageFileError
    if a path is missing or a file meets a folder, PairingError if the folders do not pair one to one.
    """
    for path in (results, truths, masks):
        if path and not exists(path):
            raise ImageFileError(f"{path} does not exist.")
    if is_folder(results) != is_folder(truths):
        file, folder = (truths, results) if is_folder(results) else (results, truths)
        raise ImageFileError(f"{file} is a file but {folder} is a folder.", "Give two files or two folders.")
    if is_folder(results):
        pairs = [
            (pair.name, pair.left, pair.right)
            for pair in pair_by_relative_path(results, truths, "results", "truths")
        ]
    else:
        pairs = [(truths.stem, results, truths)]
    if masks is None or not is_folder(masks):
        return [Scored(*pair, masks) for pair in pairs]
    if not is_folder(truths):
        raise ImageFileError(f"{truths} is a file but {masks} is a folder.", "Give one mask with --mask.")
    by_name = {pair.name: pair.right for pair in pair_by_relative_path(truths, masks, "truths", "masks")}
    return [Scored(name, result, truth, by_name[name]) for name, result, truth in pairs]
