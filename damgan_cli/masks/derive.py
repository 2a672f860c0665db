"""Masks from photos at hand: by colour, transparency or difference, and masks dilated or contracted."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.masks.read import MaskWarning, read_mask
from damgan_cli.photos.color import alpha_of
from damgan_cli.photos.fill import is_paint, transparent
from damgan_cli.photos.read import read_photo, read_rgb

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from damgan_cli.masks.shapes import Shape

    Hole = NDArray[np.bool_]

_CHANGED = 0.5  # share of pixels from which two photos may not be the same one before and after
_ANOTHER = 0.95

SOURCE_KINDS: dict[str, str] = {
    "from-color PHOTOS": "where photos have the --color that an object was painted over with",
    "from-alpha PHOTOS": "where photos are not fully opaque; of paint layers, the paint",
    "from-diff BEFORE AFTER": "where two photos differ",
    "expand MASKS": "masks dilated by --dilate pixels",
    "contract MASKS": "masks shrunk by --dilate pixels",
}
"""How each is written on the command line, and what it makes."""


def hole_from(
    kind: str,
    sources: tuple[Path, ...],
    *,
    color: tuple[int, int, int] = (0, 0, 0),
    tolerance: int = 0,
    dilate: int = 0,
    invert: bool = False,
    region: Shape | None = None,
) -> Hole:
    """Make one mask, (H, W) bool, True in the hole, from one file, or two for ``from-diff``.

    ``kind`` is the first word of a key of ``SOURCE_KINDS``. ``tolerance`` (0-255) is the largest difference
    of any 8-bit RGB channel that still counts as the ``color`` or as equal. ``dilate`` >= 0 grows the hole by
    so many pixels, in ``contract`` shrinks it; ``invert`` reads masks with a black hole, and marks the other
    part in ``from-alpha``. ``region``, a box, limits what is looked for. Raises
    ImageFileError, and MaskError from a photo without transparency, for a region outside of the photo, and
    for two photos that differ everywhere. If they differ in more than half of it, that is a MaskWarning.
    """
    if kind == "from-color":
        hole = _largest_difference(read_rgb(sources[0]), np.array(color, np.uint8)) <= tolerance
    elif kind == "from-alpha":
        hole = np.not_equal(_transparent(sources[0]), invert)
    elif kind == "from-diff":
        before, after = (read_rgb(path) for path in sources)
        if before.shape != after.shape:
            sizes = [f"{photo.shape[1]}x{photo.shape[0]}" for photo in (before, after)]
            raise ImageFileError(
                f"{sources[0]} is {sizes[0]} but {sources[1]} is {sizes[1]}.", "Compare photos of equal size."
            )
        hole = _largest_difference(before, after) > tolerance
        _doubt_difference(hole.mean(), sources, tolerance)
    else:
        hole = read_mask(sources[0], invert=invert)
    if region is not None:
        hole = hole & _inside(region, hole.shape, sources[0])
    return ~dilated(~hole, dilate) if kind == "contract" else dilated(hole, dilate)


def _doubt_difference(share: float, sources: tuple[Path, ...], tolerance: int) -> None:
    """Say so where two photos are not the same one before and after a change."""
    if share <= _CHANGED:
        return
    message = f"{sources[0]} and {sources[1]} differ in {share:.1%} of their pixels by more than {tolerance}"
    hint = "Are they the same photo? What JPEG has changed is overlooked with --tolerance 24."
    if share > _ANOTHER:
        raise MaskError(f"{message}.", hint)
    warnings.warn(f"{message}. {hint}", MaskWarning, stacklevel=3)


def _inside(region: Shape, shape: tuple[int, ...], path: Path) -> Hole:
    inside = np.zeros(shape, bool)
    try:
        region.draw(inside)
    except MaskError:
        raise MaskError(
            f"The region {region.text} lies outside of {path} ({shape[1]}x{shape[0]}).",
            "Give a box within it, such as --region 30,40,200,100.",
        ) from None
    return inside


def _transparent(path: Path) -> Hole:
    """What is not opaque in a photo; but of a paint layer, which is no photo, what is painted."""
    photo = read_photo(path)
    hole = transparent(photo)
    if not is_paint(photo):
        return hole
    warnings.warn(
        f"{path} is a paint layer (few colours, mostly transparent): its paint is marked; "
        "--invert-mask marks the rest",
        MaskWarning,
        stacklevel=3,
    )
    alpha = alpha_of(photo)
    assert alpha is not None  # noqa: S101  # or transparent() had raised
    return np.greater(alpha, 127)


def dilated(hole: Hole, pixels: int) -> Hole:
    """Grow a hole (H, W) by all that lies within ``pixels`` (Euclidean) of it."""
    if not pixels or not hole.any():
        return hole
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.less_equal(distance, pixels)


def resized(hole: Hole, height: int, width: int) -> Hole:
    """Stretch a hole (H, W) to (height, width). A pixel that was marked in part is hole."""
    if hole.shape == (height, width):
        return hole
    shrinks = height < hole.shape[0] or width < hole.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST_EXACT
    return np.greater(cv2.resize(hole.astype(np.float32), (width, height), interpolation=way), 0)


def _largest_difference(photo: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int16]:
    """(H, W): of the three channels."""
    return np.asarray(np.abs(photo.astype(np.int16) - other).max(axis=2), np.int16)
