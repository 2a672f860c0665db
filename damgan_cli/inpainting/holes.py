"""The hole of each photo: its mask, its transparent pixels and shapes, all together."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from damgan_cli.errors import MaskError
from damgan_cli.masks.derive import dilated, resized
from damgan_cli.masks.labels import CocoFile, read_labels
from damgan_cli.masks.read import read_mask
from damgan_cli.masks.shapes import draw_shapes
from damgan_cli.photos.fill import transparent
from damgan_cli.photos.received import received
from damgan_cli.runtime.paths import is_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from damgan_cli.inpainting.job import Job
    from damgan_cli.inpainting.record import Settings
    from damgan_cli.masks.shapes import Shape
    from damgan_cli.photos.photo import Photo

    Hole = NDArray[np.bool_]

ALPHA = "alpha"
"""In place of a mask: the photo's own transparent pixels are the hole."""


@dataclass(frozen=True)
class HoleOptions:
    """How holes are made of what is given."""

    invert: bool = False
    """Whether black is the hole in masks."""
    dilate: int = 0
    """How far (px) the hole grows."""
    resize: bool = False
    """Stretch a mask of another size over its photo."""
    alpha: bool = False
    """Whether the photo's own transparent pixels are hole."""
    values: tuple[int, ...] = ()
    """Labels, or of a COCO file categories, that are hole; of a mask without labels none."""
    shapes: tuple[Shape, ...] = ()
    """Drawn in every photo."""


class HoleReader:
    """Reads the holes of ``jobs``. One mask for all photos is read only once, whichever thread asks first."""

    def __init__(self, jobs: Sequence[Job], options: HoleOptions) -> None:
        self._options = options
        self._turn = threading.Lock()
        self._coco = lru_cache(maxsize=1)(CocoFile)
        one_for_all = len({job.mask for job in jobs}) == 1
        self._once = lru_cache(maxsize=1)(_read) if one_for_all else None

    def hole(self, job: Job, photo: Photo, height: int, width: int) -> Hole:
        """The hole (height, width) of a job's ``photo``, grown as asked. ImageFileError, MaskError."""
        options = self._options
        hole = draw_shapes(options.shapes, height, width)
        if options.alpha:
            hole |= transparent(photo)
        if job.mask is not None:
            mask = self._mask(job, height, width)
            if options.resize:
                mask = resized(mask, height, width)
            if mask.shape != hole.shape:
                raise MaskError(
                    f"The mask is {mask.shape[1]}x{mask.shape[0]}, but its photo {width}x{height}.",
                    "Both must have the same width and height; --resize-mask makes it so.",
                )
            hole |= mask
        return dilated(hole, options.dilate)

    def _mask(self, job: Job, height: int, width: int) -> Hole:
        assert job.mask is not None  # noqa: S101
        if is_coco(job.mask):
            with self._turn:
                masks = self._coco(job.mask)
            mask = masks.hole(job.name, height, width, self._options.values)
            return ~mask if self._options.invert else mask
        if self._once is None:
            return _read(job.mask, self._options)
        with self._turn:
            return self._once(job.mask, self._options)


def _read(path: Path, options: HoleOptions) -> Hole:
    if options.values:
        hole = read_labels(path, options.values)
        return ~hole if options.invert else hole
    return read_mask(path, invert=options.invert)


def check_readable(mask: Path, options: HoleOptions) -> None:
    """Raise ImageFileError or MaskError if a mask for all photos cannot be read."""
    if is_coco(mask):
        CocoFile(mask)
    else:
        _read(mask, options)


def is_coco(mask: Path | None) -> bool:
    """Whether a mask is a file of `CocoFile`'s, which has masks of many photos and no size of its own."""
    return mask is not None and mask.suffix.lower() == ".json"


def mask_settings(mask: str | None) -> Settings:
    """The part of an output's settings that the mask is; empty for a folder, whose masks go by name."""
    if mask is None or mask == ALPHA:
        return {"mask": mask}
    path = Path(mask)
    if is_folder(path):
        return {}
    data = received(path)
    try:
        digest = hashlib.sha256(path.read_bytes() if data is None else data).hexdigest()
    except OSError:  # which reading it as an image will tell
        digest = ""
    return {"mask": f"{path.name} {digest[:12]}"}
