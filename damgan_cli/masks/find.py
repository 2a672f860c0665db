"""What a photo shows that is to go: objects, text, scratches, and what is the same in many; from files."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from damgan_cli.errors import MaskError
from damgan_cli.masks.derive import dilated
from damgan_cli.masks.objects import object_mask
from damgan_cli.masks.read import MaskWarning
from damgan_cli.masks.same import same_mask
from damgan_cli.masks.scratches import scratch_mask
from damgan_cli.masks.segmenter import segmented_object
from damgan_cli.masks.text import text_mask
from damgan_cli.photos.files import list_images
from damgan_cli.photos.read import displayed_size, read_rgb
from damgan_cli.runtime.paths import is_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from damgan_cli.masks.shapes import Shape

    Hole = NDArray[np.bool_]

FOUND_KINDS: dict[str, str] = {
    "object PHOTO": "what a --box encloses, or a --point lies on, to its rim (GrabCut, or --segmenter)",
    "text PHOTOS...": "letters of captions, dates and watermarks",
    "scratches PHOTOS...": "scratches and dust of old scans, see --strength",
    "same PHOTOS...": "one mask of what all photos have in the same place",
}
"""How each is written on the command line, and what it finds."""


def found_hole(
    kind: str,
    sources: tuple[Path, ...],
    *,
    boxes: tuple[Shape, ...] = (),
    points: tuple[Shape, ...] = (),
    not_points: tuple[Shape, ...] = (),
    segmenter: Path | None = None,
    strength: float = 0.5,
    region: Shape | None = None,
    dilate: int = 0,
) -> Hole:
    """Make one mask, (H, W) bool, True in the hole, of a photo, or for ``same`` of many or of a folder.

    ``kind`` is the first word of a key of `FOUND_KINDS`. ``boxes``, ``points`` and ``not_points`` are for
    ``object``: each box encloses one object, without boxes all points lie on one; the network ``segmenter``
    marks it instead of GrabCut. ``strength`` is that of `scratches.scratch_mask`. ``region`` limits where it
    is looked; ``dilate`` grows the hole by so many px.
    Raises ImageFileError, and MaskError as the functions do that find them.
    """
    if kind == "same":
        return dilated(_same(sources), dilate)
    photo = read_rgb(sources[0])
    height, width = photo.shape[:2]
    where = region.box(height, width) if region else None
    if kind == "text":
        hole = text_mask(photo, where)
    elif kind == "scratches":
        hole = scratch_mask(photo, strength, where)
    else:
        ons, offs = ([_point(spot, height, width) for spot in spots] for spots in (points, not_points))
        areas = [box.box(height, width) for box in boxes]
        astray = [spot for spot in ons if areas and not any(_holds(area, spot) for area in areas)]
        if astray:
            raise MaskError(
                f"The point {astray[0][0]:g},{astray[0][1]:g} lies in none of the boxes of {sources[0]}.",
                "Each --point must lie in a --box, if there are any.",
            )
        mark = partial(segmented_object, segmenter=segmenter) if segmenter else object_mask
        if not areas:
            return dilated(mark(photo, None, ons, offs), dilate)
        hole = np.zeros((height, width), bool)
        for area in areas:
            hole |= mark(photo, area, [spot for spot in ons if _holds(area, spot)], offs)
    return dilated(hole, dilate)


def _point(spot: Shape, height: int, width: int) -> tuple[float, float]:
    x, y = spot.place(height, width)
    return x, y


def _holds(area: tuple[int, int, int, int], spot: tuple[float, float]) -> bool:
    left, top, width, height = area
    return left <= spot[0] < left + width and top <= spot[1] < top + height


def _same(sources: tuple[Path, ...]) -> Hole:
    photos = list_images(sources[0]) if len(sources) == 1 and is_folder(sources[0]) else list(sources)
    sizes = {path: displayed_size(path) for path in photos}
    if not sizes:
        raise MaskError(f"There are no photos in {sources[0]}.")
    usual, _ = Counter(sizes.values()).most_common(1)[0]
    others = [path for path, size in sizes.items() if size != usual]
    if others:
        names = ", ".join(path.name for path in others[:3]) + ", ..." * (len(others) > 3)
        warnings.warn(
            f"the mask is for the {len(photos) - len(others)} photos of {usual[0]}x{usual[1]}; left out are "
            f"{len(others)} of other sizes: {names}",
            MaskWarning,
            stacklevel=3,
        )
    return same_mask(read_rgb(path) for path in photos if sizes[path] == usual)
