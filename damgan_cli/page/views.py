"""What the browser gets to see: parts of a photo and of its layers, never larger than a screen."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from damgan_cli.photos.photo import Photo

LARGEST_VIEW = 2560
"""Longest side (px) of what is sent."""
_SQUARE = 8  # px of the chequers that show through
_MASK = (255, 45, 135)
_FAKENESS = (255, 140, 0)


def reduced(layer: NDArray[np.uint8], box: tuple[slice, slice], longest: int) -> NDArray[np.uint8]:
    """A part of (H, W[, C]), averaged down to at most ``longest`` px a side; never enlarged."""
    part = layer[box]
    scale = longest / max(part.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(part)
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


def photo_view(
    rgb: NDArray[np.uint8],
    alpha: NDArray[np.uint8] | None,
    box: tuple[slice, slice],
    longest: int,
    profile: bytes = b"",
) -> bytes:
    """A JPEG of a part of ``rgb`` (H, W, 3), on chequers where ``alpha`` (H, W) lets them through."""
    part = reduced(rgb, box, longest)
    if alpha is not None:
        rows, columns = np.indices(part.shape[:2]) // _SQUARE
        behind = np.where((rows + columns) % 2, 150.0, 105.0)[..., None]
        share = reduced(alpha, box, longest)[..., None] / 255
        part = np.rint(share * part + (1 - share) * behind).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(part).save(buffer, "JPEG", quality=90, subsampling=0, icc_profile=profile or None)
    return buffer.getvalue()


def mask_view(opacity: NDArray[np.uint8], box: tuple[slice, slice], longest: int) -> bytes:
    """A PNG of what is hole in (H, W), opaque in the mask's colour on nothing."""
    part = opacity[box]
    hole = np.where(part > 127, np.uint8(255), np.uint8(0))
    return _tinted(reduced(hole, (slice(None), slice(None)), longest), _MASK)


def fakeness_view(fakeness: NDArray[np.uint8], box: tuple[slice, slice], longest: int) -> bytes:
    """A PNG of (H, W): the more the model doubts its fill, the more opaque; wholly where it does most."""
    strength = 255 / max(1, int(fakeness.max()))
    return _tinted((reduced(fakeness, box, longest) * strength).astype(np.uint8), _FAKENESS)


def _tinted(layer: NDArray[np.uint8], colour: tuple[int, int, int]) -> bytes:
    """(h, w) as the opacity of one colour: a palette of 256 opacities is a quarter of RGBA."""
    image = Image.frombytes("P", layer.shape[::-1], layer.tobytes())
    image.putpalette(bytes(colour) * 256)
    buffer = BytesIO()
    image.save(buffer, "PNG", transparency=bytes(range(256)), compress_level=1)
    return buffer.getvalue()


def profile_of(photo: Photo) -> bytes:
    """The colour profile of what `color.rgb_of` gives: that of an RGB photo."""
    icc = photo.metadata.icc
    return icc if photo.mode in {"RGB", "RGBA", "RGBX", "P"} and icc[16:20] == b"RGB " else b""
