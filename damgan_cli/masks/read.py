"""Masks from files and from memory, and what may be wrong with them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.photos.color import alpha_of, luma, pixels_of, rgb_of
from damgan_cli.photos.limits import memory_for
from damgan_cli.photos.photo import Photo
from damgan_cli.photos.read import decode

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_BLACK = 64  # luminance below which a visible pixel of a mask is meant to be black
_COLOUR = 64  # difference of channels from which it is meant to be coloured
_NEARLY_ALL = 0.99


class MaskWarning(UserWarning):
    """A mask is readable but probably not what its owner thinks."""


def read_mask(path: Path, *, invert: bool = False) -> NDArray[np.bool_]:
    """Read a mask of any image mode: (H, W) bool, True (white, > 127) = hole, upright.

    Colours count by luminance. A mask of which parts are transparent is a paint layer: what is opaque
    (> 127) is hole, unless it is black and white in itself; then transparent pixels count as black. A mask
    with other values than 0 and 255 (a JPEG, or labels 0 and 1) is thresholded and draws one MaskWarning.
    Raises ImageFileError, also if it has several pages, and MaskError if paint gives no hole: paint that is
    too faint, or of a colour that is too dark.
    """
    photo = decode(path, unkept="such a mask cannot be read")
    if photo.pages > 1:
        raise ImageFileError(
            f"The mask {path} holds {photo.pages} pictures (it is animated or multi-page).",
            "Save the one you mean as a file of its own.",
        )
    with memory_for(path):
        return np.not_equal(_hole(photo), invert)


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
    if mask.mode.startswith("I;16"):
        return _hole(Photo(np.asarray(mask).astype(np.uint16), "L"))
    return _hole(Photo(**pixels_of(mask)))


def _hole(photo: Photo) -> NDArray[np.bool_]:
    """Upright."""
    rgb, path = rgb_of(photo), photo.path
    level, value = luma(rgb), "brightest value"
    alpha = alpha_of(photo)
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
    return hole


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
