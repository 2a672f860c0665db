"""Replace the pixels of a hole, and only those.

The rules (DESIGN §3, "Known pixels are sacred"):

- Pixels are kept as the file stores them, in their own mode and depth; only hole pixels are ever replaced.
- Masks and fills are in *displayed* orientation. The stored orientation and its tag stay in the output,
  except where that is of another file format: there pixels are turned upright and the tag is set to 1.
- Alpha is kept, also under the hole, unless the caller asks for an opaque fill.
- A palette photo keeps its palette, as new colours would change its mode or its known colours: the fill is
  dithered to the opaque colours at hand. PNG may drop entries that no pixel uses; no colour changes.
- Gray takes the fill's luma, 16 bits take it scaled by 257, CMYK by its ICC profile (or naively without).
- What would be stored otherwise is refused (see `formats.common.NotKept`), but for what shows the same: gray
  of 2 or 4 bits gets 8, one transparent colour becomes an alpha channel, premultiplied 8-bit alpha is divided
  out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from damgan_cli.errors import MaskError
from damgan_cli.photos.color import alpha_of, convert_cmyk, luma, rgb_of
from damgan_cli.photos.photo import store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from damgan_cli.photos.photo import Photo

_PAINT_COLOURS = 8  # what a photo shows has many more
_BAND = 512  # rows of a hole that are filled at once


def filled(photo: Photo, fill: NDArray[np.uint8], hole: NDArray[np.bool_], *, opaque: bool = False) -> Photo:
    """``photo`` with ``fill`` (H, W, 3) uint8 RGB where ``hole`` (H, W), both upright.

    ``opaque`` makes the filled pixels opaque, else they keep their alpha.
    """
    if not hole.any():
        return photo
    hole, fill = store(hole, photo.orientation), store(fill, photo.orientation)
    rows, columns = bounding_box(hole)  # a small hole in a huge photo must not cost much
    pixels = photo.pixels.copy()
    for top in range(rows.start, rows.stop, _BAND):  # and a huge hole must not take many copies of itself
        place = slice(top, min(top + _BAND, rows.stop)), columns
        pixels[place] = _filled(photo, pixels[place], fill[place], hole[place], opaque=opaque)
    return replace(photo, pixels=pixels)


def bounding_box(hole: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around the True pixels of (H, W); there must be some."""
    rows = np.flatnonzero(hole.any(1))
    band = slice(int(rows[0]), int(rows[-1]) + 1)
    columns = np.flatnonzero(hole[band].any(0))
    return band, slice(int(columns[0]), int(columns[-1]) + 1)


def _filled(
    photo: Photo,
    stored: NDArray[Any],
    fill: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    *,
    opaque: bool,
) -> NDArray[Any]:
    """``stored`` (h, w[, C]), a part of ``photo``, with ``fill`` (h, w, 3) where ``hole`` (h, w)."""
    fill = np.ascontiguousarray(fill)
    pixels: NDArray[Any] = stored.copy()
    if photo.mode == "P":
        if not opaque:
            hole = hole & (_opacity(photo)[pixels] > 0)  # what is wholly transparent stays so
        pixels[hole] = _nearest_entries(photo, fill)[hole]
        return pixels
    if photo.mode == "CMYK":
        colours = np.asarray(convert_cmyk(Image.fromarray(fill), "CMYK", photo.metadata.icc))
    elif photo.mode == "1":
        colours = luma(fill)[..., None] > 127
    else:
        colours = luma(fill)[..., None] if photo.mode in {"L", "LA"} else fill
    full = 65535 if stored.dtype == np.uint16 else 255
    if full == 65535:
        colours = colours.astype(np.uint16) * 257
    layers = pixels if pixels.ndim == 3 else pixels[..., None]
    # copyto: an index by a large hole takes 16 bytes a pixel
    np.copyto(layers[..., : colours.shape[2]], colours, where=hole[..., None])
    if opaque and photo.mode in {"LA", "RGBA"}:
        np.copyto(layers[..., -1], full, where=hole)
    return pixels


def _opacity(photo: Photo) -> NDArray[np.uint8]:
    """(256,): alpha of each entry of the palette."""
    alpha = np.full(256, 255, np.uint8)
    own = np.frombuffer(photo.opacity, np.uint8)[:256]
    alpha[: len(own)] = own
    return alpha


def _nearest_entries(photo: Photo, fill: NDArray[np.uint8]) -> NDArray[np.intp]:
    """``fill`` (h, w, 3) as indices (h, w) of the palette's opaque colours, dithered."""
    palette = np.frombuffer(photo.palette, np.uint8).reshape(-1, 3)
    solid = np.flatnonzero(_opacity(photo)[: len(palette)] == 255)
    solid = solid if len(solid) else np.arange(len(palette))
    usable = np.resize(solid, 256)  # repeats: Pillow would else fill up with black of its own
    target = Image.new("P", (1, 1))
    target.putpalette(palette[usable].tobytes())
    nearest = np.asarray(Image.fromarray(fill).quantize(palette=target, dither=Image.Dither.FLOYDSTEINBERG))
    return np.asarray(usable[nearest])


def transparent(photo: Photo) -> NDArray[np.bool_]:
    """(H, W) bool hole of ``--mask alpha``: every pixel not fully opaque. MaskError without alpha."""
    alpha = alpha_of(photo)
    if alpha is None:
        raise MaskError(
            f"{photo.path} has no transparency to take the mask from.",
            "Give a mask image with --mask FILE.",
        )
    return alpha < 255


def is_paint(photo: Photo) -> bool:
    """Whether this is no photo but a layer with paint: few colours, and more than half transparent."""
    alpha = alpha_of(photo)
    if alpha is None or 2 * np.count_nonzero(alpha > 127) > alpha.size:
        return False
    # soft edges may round their colours
    solid = rgb_of(photo)[alpha == max(1, alpha.max())].astype(np.uint32)
    return 0 < len(np.unique(solid @ np.array([65536, 256, 1], np.uint32))) <= _PAINT_COLOURS
