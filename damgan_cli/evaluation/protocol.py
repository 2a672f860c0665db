"""Fill photos of known content under fixed masks and score the fills: the protocols of ``damgan eval``.

Every protocol hands each method a photo whose hole has been blanked, pastes the known pixels back, and scores
the 8-bit result per image; at 128x128 as the paper does, unless a protocol file says otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.evaluation.metrics import score
from damgan_cli.evaluation.ssim import DEFAULT_SSIM
from damgan_cli.masks.generate import make_mask, mask_rng
from damgan_cli.masks.read import read_mask
from damgan_cli.photos.files import list_images
from damgan_cli.photos.limits import memory_for
from damgan_cli.photos.read import read_rgb, refuse_narrow
from damgan_cli.runtime.paths import is_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Hole = NDArray[np.bool_]
    Filler = Callable[[list[Image], list[Hole]], Sequence[Image]]

SIZE = 128
BATCH = 16
NAMES = ("paper", "bins", "center", "freeform")
HOLE_SHARE_BINS = ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))
"""Hole shares of the six folders of the NVIDIA irregular masks (Liu et al. 2018)."""

PAPER_TABLE_1 = {
    "center": {
        "CE": {"psnr": 22.56, "ssim": 0.864},
        "CA": {"psnr": 23.06, "ssim": 0.875},
        "Partial": {"psnr": 23.57, "ssim": 0.884},
        "Gated": {"psnr": 24.04, "ssim": 0.892},
        "DAM-GAN": {"psnr": 24.77, "ssim": 0.903},
    },
    "freeform": {
        "CE": {"psnr": 27.20, "ssim": 0.939},
        "CA": {"psnr": 28.23, "ssim": 0.954},
        "Partial": {"psnr": 29.04, "ssim": 0.952},
        "Gated": {"psnr": 29.11, "ssim": 0.952},
        "DAM-GAN": {"psnr": 29.49, "ssim": 0.960},
    },
}
"""PSNR in dB and SSIM on CelebA-HQ at 128x128 (Cha & Kim, Table 1), on the authors' photos and masks."""
PRINTED = (
    "paper: as printed in Table 1 of Cha & Kim; on photos (CelebA-HQ) and masks of their own, not on these"
)
"""To be said beside it."""


@dataclass(frozen=True)
class MaskRecipe:
    """Seeded masks of one row of a report."""

    name: str
    kind: str
    """Of ``masks.MASK_KINDS``."""
    hole_share: tuple[float, float] | None = None


@dataclass(frozen=True)
class ProtocolFile:
    """A protocol of one's own: photos of ``size`` x ``size`` px under each of several kinds of masks."""

    size: int
    masks: list[MaskRecipe]


@dataclass(frozen=True)
class MaskSet:
    """Masks of one row of a report. Photo number i, sorted by name, takes ``holes[i % len(holes)]``."""

    name: str
    holes: list[Hole]
    """(size, size) bool, True in the hole."""

    @property
    def folder(self) -> str:
        """The name, fit for a folder."""
        return self.name.removesuffix(" %")


@dataclass(frozen=True)
class Photos:
    """The readable photos of a folder at one size, sorted by name."""

    count: int
    """Files in the folder (or in its first part), readable or not."""
    names: list[str] = field(default_factory=list)
    """Relative paths."""
    positions: list[int] = field(default_factory=list)
    """Place of each among ``count``, so that an unreadable file does not shift the others' masks."""
    pixels: list[Image] = field(default_factory=list)
    fitted: list[str] = field(default_factory=list)
    """Names of those that had another size."""
    failed: dict[str, str] = field(default_factory=dict)
    """What is wrong with those that cannot be read."""


def read_protocol_file(path: Path) -> ProtocolFile:
    """Read a protocol file, JSON such as ``{"size": 256, "masks": [{"kind": "thick"}, ...]}``.

    Each entry of ``masks`` has a ``kind``, and may have a ``ratio`` [lowest, highest] and a ``name``. Raises
    MaskError for anything else.
    """
    hint = 'Write {"size": 256, "masks": [{"name": "easy", "kind": "irregular", "ratio": [0.1, 0.2]}]}.'
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise MaskError(f"The protocol {path} cannot be read ({problem}).", hint) from None
    entries = document.get("masks") if isinstance(document, dict) else None
    size = document.get("size", SIZE) if isinstance(document, dict) else None
    if not (isinstance(size, int) and 16 <= size <= 4096):
        raise MaskError(f"The protocol {path} needs a size from 16 to 4096 pixels.", hint)
    if not isinstance(entries, list) or not entries or {*document} - {"size", "masks"}:
        raise MaskError(f"The protocol {path} must have masks, a list, and no more than a size beside.", hint)
    recipes = [_recipe(entry, path, hint) for entry in entries]
    if len({recipe.name for recipe in recipes}) < len(recipes):
        raise MaskError(f"Masks of the protocol {path} share a name.", "Give each a name of its own.")
    for recipe in recipes:
        make_mask(recipe.kind, size, size, mask_rng(0, 0), hole_share=recipe.hole_share)
    return ProtocolFile(size, recipes)


def _recipe(entry: Any, path: Path, hint: str) -> MaskRecipe:
    try:
        unknown = {*entry} - {"name", "kind", "ratio"}
        kind, share = str(entry["kind"]), entry.get("ratio")
        limits = None if share is None else (float(share[0]), float(share[1]))
        name = str(entry.get("name", kind))
    except (TypeError, KeyError, ValueError, IndexError, AttributeError):
        raise MaskError(f"{entry} in the protocol {path} is no kind of mask.", hint) from None
    if unknown:
        raise MaskError(f"{', '.join(sorted(unknown))} in the protocol {path} is not known.", hint)
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise MaskError(f"{name!r} in the protocol {path} cannot name a folder.", "Choose a simple name.")
    return MaskRecipe(name, kind, limits)


def load_photos(folder: Path, limit: int | None = None, size: int = SIZE) -> Photos:
    """Load the first ``limit`` photos of a folder, recursively. Raises ImageFileError if none can be read."""
    paths = list_images(folder)[:limit]
    photos = Photos(len(paths))
    for position, path in enumerate(paths):
        name = path.relative_to(folder).as_posix()
        try:
            with memory_for(path):
                pixels, fitted = load_photo(path, size)
        except ImageFileError as problem:
            photos.failed[name] = str(problem)
            continue
        photos.names.append(name)
        photos.positions.append(position)
        photos.pixels.append(pixels)
        photos.fitted.extend([name] * fitted)
    if not photos.names:
        which = "None of the photos can be read" if paths else "There are no photos"
        raise ImageFileError(f"{which} in {folder}.", next(iter(photos.failed.values()), None))
    return photos


def load_photo(path: Path, size: int = SIZE) -> tuple[Image, bool]:
    """Read a photo at one size: (size, size, 3) uint8, and whether it had to be fitted.

    A photo of another size is scaled (area averaging) until it covers the square, then its centre is cut
    out. Raises ImageFileError.
    """
    photo = read_rgb(path)
    height, width = photo.shape[:2]
    if (height, width) == (size, size):
        return photo, False
    refuse_narrow(path, photo, size)
    scale = size / min(height, width)
    wide, tall = max(size, round(width * scale)), max(size, round(height * scale))
    scaled = np.asarray(cv2.resize(photo, (wide, tall), interpolation=cv2.INTER_AREA), np.uint8)
    top, left = (tall - size) // 2, (wide - size) // 2
    return np.ascontiguousarray(scaled[top : top + size, left : left + size]), True


def mask_sets(
    protocol: str | ProtocolFile,
    count: int,
    *,
    seed: int = 0,
    folder: Path | None = None,
    invert: bool = False,
) -> list[MaskSet]:
    """Masks of a protocol for ``count`` photos.

    ``center``: the 64x64 square. ``freeform``: seeded DeepFillv2 brush masks. ``bins``: six sets of rising
    hole share, seeded irregular masks of our own, or with ``folder`` one set per subfolder (the NVIDIA test
    masks: folders 0 to 5), resized by nearest neighbour; ``invert`` for masks whose hole is black.
    ``paper``: center and freeform, as in the paper's Table 1, and with ``folder`` its bins after them. A
    ``ProtocolFile``: one set per recipe, at its own size.
    Raises MaskError or ImageFileError if ``folder`` does not hold folders of masks.
    """
    if isinstance(protocol, ProtocolFile):
        kinds, size = protocol.masks, protocol.size
        return [
            MaskSet(
                recipe.name,
                [
                    _seeded(recipe.kind, seed, len(kinds) * i + place, recipe.hole_share, size)
                    for i in range(count)
                ],
            )
            for place, recipe in enumerate(kinds)
        ]
    if protocol == "paper":
        own = [*mask_sets("center", count), *mask_sets("freeform", count, seed=seed)]
        return own + (_masks_in_folders(folder, invert) if folder else [])
    if protocol == "center":
        return [MaskSet("center", [_seeded("center", 0, 0)])]
    if protocol == "freeform":
        return [MaskSet("freeform", [_seeded("freeform", seed, i) for i in range(count)])]
    if protocol == "bins" and folder is not None:
        return _masks_in_folders(folder, invert)
    if protocol == "bins":
        return [
            MaskSet(
                f"{low * 100:.0f}-{high * 100:.0f} %",
                [
                    _seeded("irregular", seed, len(HOLE_SHARE_BINS) * i + bin_, (low, high))
                    for i in range(count)
                ],
            )
            for bin_, (low, high) in enumerate(HOLE_SHARE_BINS)
        ]
    raise ValueError(f"unknown protocol {protocol!r}")


def run_protocol(
    fill: Filler,
    photos: Sequence[Image],
    holes: Sequence[Hole],
    each: Callable[[int, Image], None] | None = None,
    *,
    ssim_kind: str = DEFAULT_SSIM,
    multi_scale: bool = False,
) -> list[dict[str, float]]:
    """Fill each photo under its hole and score it.

    ``fill`` takes lists of up to 16 photos, (H, W, 3) uint8 with black holes, and holes, (H, W) bool, and
    returns as many fills, (H, W, 3) uint8; only their hole pixels are used. ``each`` is called with the
    position and the composited result. Returns one ``metrics.score`` per photo, hole-only values included.
    """
    scores = []
    for start in range(0, len(photos), BATCH):
        truths = list(photos[start : start + BATCH])
        regions = list(holes[start : start + BATCH])
        blanked = [
            np.where(hole[..., None], np.uint8(0), truth) for truth, hole in zip(truths, regions, strict=True)
        ]
        fills = fill(blanked, regions)
        for offset, (truth, hole, filled) in enumerate(zip(truths, regions, fills, strict=True)):
            result = np.where(hole[..., None], filled, truth)
            scores.append(score(result, truth, hole, ssim_kind=ssim_kind, multi_scale=multi_scale))
            if each:
                each(start + offset, result)
    return scores


def telea(images: list[Image], holes: list[Hole]) -> list[Image]:
    """Fill by OpenCV's fast marching (Telea 2004), radius 3: the classical method to compare with."""
    return [
        np.asarray(cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)
        for image, hole in zip(images, holes, strict=True)
    ]


def navier_stokes(images: list[Image], holes: list[Hole]) -> list[Image]:
    """Fill by OpenCV's fluid dynamics (Bertalmio et al. 2001), radius 3; arguments as for ``telea``."""
    return [
        np.asarray(cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_NS), np.uint8)
        for image, hole in zip(images, holes, strict=True)
    ]


BASELINES: dict[str, Filler] = {"Telea": telea, "Navier-Stokes": navier_stokes}
"""Classical methods that every protocol scores beside the weights."""


def _seeded(
    kind: str, seed: int, index: int, hole_share: tuple[float, float] | None = None, size: int = SIZE
) -> Hole:
    return make_mask(kind, size, size, mask_rng(seed, index), hole_share=hole_share) > 0


def _masks_in_folders(folder: Path, invert: bool) -> list[MaskSet]:
    if not is_folder(folder):
        raise ImageFileError(f"The folder {folder} does not exist.")
    bins = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    sets = [
        MaskSet(path.name, [_nearest(read_mask(mask, invert=invert)) for mask in list_images(path)])
        for path in bins
    ]
    empty = [found.name for found in sets if not found.holes]
    if not sets or empty:
        raise MaskError(
            f"There are no masks in {', '.join(empty)} of {folder}."
            if empty
            else f"{folder} has no subfolders.",
            "Give a folder with one subfolder of masks per hole share, such as 0 to 5.",
        )
    return sets


def _nearest(mask: Hole) -> Hole:
    # "Exact" samples at pixel centres, as Pillow's NEAREST does; plain INTER_NEAREST at their corners.
    resized = cv2.resize(mask.astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, np.bool_)
