"""A sheet of masks to look at, over the photos that they were found in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import ImageFileError
from damgan_cli.masks.read import read_mask
from damgan_cli.photos.read import read_rgb
from damgan_cli.photos.write import write_png

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from damgan_cli.masks.dataset import Record

    Pixels = NDArray[np.uint8]

_CELLS = ((1, 1200), (6, 480), (60, 160))  # up to so many masks each is shown so large, in px
_MOST = 60
_CAPTION = 18
_TINT = np.array([255, 0, 128], np.float32)


def write_sheet(path: Path, records: Sequence[Record], root: Path) -> int:
    """Write a contact sheet (PNG) of the first 60 masks under ``root``, with kind and hole share.

    A mask that was made from one photo is shown as a tint of it. Of these few are shown larger.
    Returns how many are shown. Raises ImageFileError.
    """
    shown = records[:_MOST]
    photos = any(record.source for record in shown)
    cell = next(size for most, size in _CELLS if len(shown) <= most) if photos else _CELLS[-1][1]
    columns = 1 if photos and len(shown) == 1 else math.ceil(math.sqrt(1.5 * len(shown)))
    rows = math.ceil(len(shown) / columns)
    pitch = cell + 8
    sheet = np.full((rows * (pitch + _CAPTION) + 8, columns * pitch + 8, 3), 96, np.uint8)
    for number, record in enumerate(shown):
        top, left = 8 + number // columns * (pitch + _CAPTION), 8 + number % columns * pitch
        small = _picture(record, root, cell)
        sheet[top : top + small.shape[0], left : left + small.shape[1]] = small
        caption = f"{record.kind} {record.ratio:.3f}"
        place = (left, top + small.shape[0] + 13)
        cv2.putText(sheet, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA)
    if photos and len(shown) == 1:
        sheet = sheet[: top + small.shape[0] + _CAPTION + 8, : left + small.shape[1] + 8]
    write_png(path, sheet if photos else sheet[..., 0])
    return len(shown)


def _picture(record: Record, root: Path, cell: int) -> Pixels:
    """(h, w, 3), at most ``cell`` px a side: the mask, or its photo with the hole tinted."""
    mask = read_mask(root / record.file).astype(np.float32)
    scale = min(cell / max(mask.shape), 1.0 if record.source else math.inf)
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    hole = np.asarray(cv2.resize(mask, size, interpolation=way), np.float32)[..., None]
    try:
        photo = read_rgb(Path(record.source)) if record.source else None
    except ImageFileError:  # two files, or a folder
        photo = None
    if photo is None or photo.shape[:2] != mask.shape:
        return np.repeat((hole * 255).astype(np.uint8), 3, axis=2)
    small = np.asarray(cv2.resize(photo, size, interpolation=way), np.float32)
    return np.rint(small + 0.65 * hole * (_TINT - small)).astype(np.uint8)
