"""Image files in and out: list a folder, read photos and masks for a model, write atomically."""

from __future__ import annotations

import contextlib
import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.photos.atomic import write_atomically
from damgan_cli.photos.decode import (
    EXTENSIONS,
    MAX_PIXELS,
    OTHER_IMAGES,
    Decoded,
    decode,
    displayed_size,
    memory_for,
)
from damgan_cli.photos.pixels import alpha_pixels, display, luma, rgb_pixels
from damgan_cli.runtime.paths import exists, is_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

__all__ = [
    "EXTENSIONS",
    "OTHER_IMAGES",
    "MaskWarning",
    "displayed_size",
    "hole_of",
    "list_images",
    "memory_for",
    "read_mask",
    "read_rgb",
    "refuse_narrow",
    "write_atomically",
    "write_png",
]


_BLACK = 64  # luminance below which a visible pixel of a mask is meant to be black
_COLOUR = 64  # difference of channels from which it is meant to be coloured
_NEARLY_ALL = 0.99


class MaskWarning(UserWarning):
    """A mask is readable but probably not what its owner thinks."""


def list_images(
    folder: Path, exclude: Iterable[Path] = (), extensions: Collection[str] = EXTENSIONS
) -> list[Path]:
    """All photos (files with one of ``extensions``) under ``folder``, at any depth, sorted by relative path.

    Left out are hidden files and folders, what is, or lies in, one of ``exclude``, and folders that are
    symbolic links (they may lead in a circle). Raises ImageFileError if ``folder`` is no folder, or if
    a folder in it may not be read.
    """
    folder = Path(folder)
    if not is_folder(folder):
        kind = "is a file, not a folder" if exists(folder) else "does not exist"
        raise ImageFileError(f"The folder {folder} {kind}.")
    hidden = set()
    for path in exclude:
        with contextlib.suppress(OSError):  # what does not exist need not be left out
            hidden.add(_identity(path.stat()))
    found: list[Path] = []
    _collect(folder, hidden, extensions, found)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _collect(
    folder: Path, hidden: set[tuple[int, int]], extensions: Collection[str], found: list[Path]
) -> None:
    inodes = {inode for _, inode in hidden}
    try:
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(".")]
    except OSError as problem:
        raise ImageFileError(
            f"The folder {folder} cannot be read ({problem.strerror}).",
            "Allow reading it, or move it away: photos in it would be left out unnoticed.",
        ) from None
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and Path(entry.name).suffix.lower() not in extensions:
            continue
        if entry.inode() in inodes or entry.is_symlink():  # a cheap question before stat()
            with contextlib.suppress(OSError):  # a broken link: reading it will tell
                if _identity(entry.stat()) in hidden:
                    continue
        if is_folder:
            _collect(folder / entry.name, hidden, extensions, found)
        elif not os.path.isdir(entry):  # noqa: PTH112  # entry.is_dir() raises for a link to itself
            found.append(folder / entry.name)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a photo for training or scoring: (H, W, 3) uint8, 0–255, upright.

    EXIF orientation is applied, alpha dropped, 16 bits scaled to 8, gray repeated. Raises ImageFileError.
    """
    path = Path(path)
    with memory_for(path):
        decoded = decode(path)
        return display(rgb_pixels(decoded, path), decoded.orientation)


def refuse_narrow(path: Path, photo: NDArray[np.uint8], short: int) -> None:
    """Raise ImageFileError for a photo so narrow that a shorter side of ``short`` would fill all memory."""
    height, width = photo.shape[:2]
    if height * width * (short / min(height, width)) ** 2 > MAX_PIXELS:
        raise ImageFileError(
            f"{path} is {width}x{height}: too narrow to be enlarged to {short} pixels.", "Leave it out."
        )


def read_mask(path: Path, *, invert: bool = False) -> NDArray[np.bool_]:
    """Read a mask of any image mode: (H, W) bool, True (white, > 127) = hole, upright.

    Colours count by luminance. A mask of which parts are transparent is a paint layer: what is opaque
    (> 127) is hole, unless it is black and white in itself; then transparent pixels count as black. A mask
    with other values than 0 and 255 (a JPEG, or labels 0 and 1) is thresholded and draws one MaskWarning.
    Raises ImageFileError, also if it has several pages, and MaskError if paint gives no hole: paint that is
    too faint, or of a colour that is too dark.
    """
    path = Path(path)
    decoded = decode(path, "such a mask cannot be read")
    if decoded.pages > 1:
        raise ImageFileError(
            f"The mask {path} holds {decoded.pages} pictures (it is animated or multi-page).",
            "Save the one you mean as a file of its own.",
        )
    with memory_for(path):
        return np.not_equal(_hole(decoded, path), invert)


def hole_of(mask: Any) -> NDArray[np.bool_]:
    """`read_mask` for a mask at hand: a PIL image, or an array (H, W[, C]) of bool or uint8.

    Raises ImageFileError for anything else, and MaskError as there.
    """
    if isinstance(mask, np.ndarray):
        if mask.dtype not in {np.dtype(bool), np.dtype(np.uint8)} or mask.ndim not in {2, 3}:
            raise ImageFileError(
                f"A mask cannot be an array of {mask.dtype} with shape {mask.shape}.",
                "Give (H, W) of bool, or of uint8 with white as hole.",
            )
        pixels = mask.astype(np.uint8) * 255 if mask.dtype == np.bool_ else mask
        mask = Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    if not isinstance(mask, Image.Image):
        raise ImageFileError(
            f"A mask cannot be a {type(mask).__name__}.", "Give a PIL image or a numpy array."
        )
    deep = np.asarray(mask).astype(np.uint16) if mask.mode.startswith("I;16") else None
    return _hole(Decoded(mask, deep, 1, "PNG", b"", 1), Path("given"))


def _hole(decoded: Decoded, path: Path) -> NDArray[np.bool_]:
    rgb = rgb_pixels(decoded, path)
    level, value = luma(rgb), "brightest value"
    alpha = alpha_pixels(decoded)
    if alpha is not None and _is_paint(level, rgb, alpha > 127):
        if level[alpha > 127].max() < _BLACK:
            warnings.warn(
                f"the mask {path} is black on transparent: what is black is taken as hole",
                MaskWarning,
                stacklevel=3,
            )
        level, value = alpha, "highest opacity"
    elif alpha is not None:
        level = (level.astype(np.uint16) * alpha // 255).astype(np.uint8)
    hole = level > 127
    if not hole.any():
        _refuse_lost_paint(rgb, alpha, path)
    between = int(np.count_nonzero((level > 0) & (level < 255)))
    if between:
        warnings.warn(
            f"the mask {path} is not black and white only ({between / level.size:.1%} of it lies between, "
            f"its {value} is {int(level.max())}): values above 127 are taken as hole",
            MaskWarning,
            stacklevel=3,
        )
    return display(hole, decoded.orientation)


def _is_paint(gray: NDArray[np.uint8], rgb: NDArray[np.uint8], visible: NDArray[np.bool_]) -> bool:
    """Whether parts are visible (H, W) and parts are not, and their colours do not tell white from black."""
    if visible.all() or not visible.any():
        return False
    shown = gray[visible]
    black_and_white = shown.min() < _BLACK and shown.max() > 127
    return not (black_and_white and np.mean(_chroma(rgb)[visible] < _COLOUR) > _NEARLY_ALL)


def _refuse_lost_paint(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8] | None, path: Path) -> None:
    """Raise MaskError for a mask without a hole if something is painted there nevertheless."""
    if alpha is not None and not (alpha > 127).all():
        seen = rgb[alpha > 0]
        if seen.size and (alpha.min() < alpha.max() or seen.max() > 127):
            raise MaskError(
                f"The mask {path} marks no hole: no paint in it is opaque enough (the highest opacity is "
                f"{alpha.max() / 255:.0%}, more than half is needed).",
                "Paint the hole opaquely, or in white on black.",
            )
    elif (_chroma(rgb) >= _COLOUR).any():
        raise MaskError(
            f"The mask {path} marks no hole: all its colours are too dark to count as white.",
            "Paint the hole white, or on a transparent layer; or make a mask of it with "
            "`damgan mask from-color --color COLOUR`.",
        )


def _chroma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) -> (H, W): 0 where gray, up to 255."""
    return np.asarray(rgb.max(axis=2) - rgb.min(axis=2))


def write_png(path: Path, array: NDArray[np.generic], *, sync: bool = False) -> None:
    """Write a mask, sheet or attention map as PNG, by `write_atomically`.

    ``array`` is (H, W) or (H, W, 3) uint8, or (H, W) bool, written as 0 / 255.
    Raises ImageFileError.
    """
    pixels = array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array
    if pixels.dtype != np.uint8:
        raise TypeError(f"write_png takes uint8 or bool pixels, not {pixels.dtype}")
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue(), sync=sync)
