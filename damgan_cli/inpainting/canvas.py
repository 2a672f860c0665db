"""From a photo of any size to windows that a small fully convolutional model fills well, and back.

The model learned holes of up to `REACH` px from the next known pixel, so each connected part of a hole gets a
*canvas*: its surroundings, reduced until the hole's depth fits (thin strokes stay at full resolution), cut
into tiles. What a canvas gives is enlarged again and pasted into that part of the hole alone. A photo of at
most `NATIVE` px a side is its own canvas, untouched. Nothing under the hole ever gets into a canvas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NATIVE = 128
"""Photos up to this side (px) go through the model as they are: the size it was trained at."""
REACH = 32
"""How far (px, on the canvas) a hole pixel may be from the nearest known one: half the trained 64 px box."""
CONTEXT = 48
"""Known surroundings (px, on the canvas) on each side of a hole's bounding box, at least."""
STEP = 64
"""Canvas sides are multiples of this where the photo allows: windows of unlike photos then share batches."""
TILE = 512
"""Longest side (px) of what goes through the model in one piece."""
OVERLAP = 128
"""How far (px) neighbouring tiles overlap; their fills are blended there."""
_BLOCK = 64  # must be more than twice _MERGE
_MERGE = 16  # parts of a hole closer than twice this (px) are filled together


@dataclass
class Canvas:
    """The surroundings of one part of a hole, at the scale at which the model sees it."""

    box: tuple[slice, slice]
    """Where in the photo, rows and columns."""
    part: NDArray[np.bool_]
    """The pixels in ``box`` that this canvas fills."""
    image: NDArray[np.float32]
    """(h, w, 3) in [-1, 1], 0 under the hole."""
    hole: NDArray[np.bool_]
    """(h, w): every hole pixel in sight, also of parts that other canvases fill."""

    def __post_init__(self) -> None:
        self._sum = np.zeros((*self.hole.shape, 4), np.float32)
        self._weight = np.zeros((*self.hole.shape, 1), np.float32)

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """Overlapping windows that cover every hole pixel of the canvas; a small canvas is one window."""
        height, width = self.hole.shape
        for rows in _spans(height):
            for columns in _spans(width):
                if self.hole[rows, columns].any():
                    yield rows, columns

    def add(self, tile: tuple[slice, slice], fill: NDArray[np.float32]) -> None:
        """Add a tile's fill: (h, w, 4), RGB in [-1, 1] and attention in [0, 1]."""
        ramps = (_ramp(span, side) for span, side in zip(tile, self.hole.shape, strict=True))
        weight = np.minimum.outer(*ramps)
        self._sum[tile] += fill * weight[..., None]
        self._weight[tile] += weight[..., None]

    def paste(self, rgb: NDArray[np.uint8], attention: NDArray[np.float32]) -> None:
        """Write the blended fill of this part of the hole into a photo's (H, W, 3) and (H, W)."""
        fill: NDArray[np.float32] = self._sum / np.maximum(self._weight, np.float32(1e-6))
        fill[..., :3] = np.where(self.hole[..., None], fill[..., :3], self.image)
        height, width = self.part.shape
        if self.hole.shape != self.part.shape:
            fill = cv2.resize(fill, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
        colours = np.clip(np.rint((fill[..., :3] + 1) * 127.5), 0, 255).astype(np.uint8)
        rgb[self.box][self.part] = colours[self.part]
        attention[self.box][self.part] = np.clip(fill[..., 3], 0, 1)[self.part]


def plan(rgb: NDArray[np.uint8], hole: NDArray[np.bool_]) -> list[Canvas]:
    """Canvases that together fill ``hole`` (H, W) of ``rgb`` (H, W, 3); none for an empty hole."""
    height, width = hole.shape
    if not hole.any():
        return []
    if max(height, width) <= NATIVE:
        box = (slice(0, height), slice(0, width))
        return [Canvas(box, hole, _blanked(rgb, hole), hole)]
    return [canvas for region, mine in _regions(hole) for canvas in _canvases(rgb, hole, region, mine)]


def _regions(hole: NDArray[np.bool_]) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Where the hole is, so that what follows costs as much as the hole and not as much as the photo.

    Yields boxes of the photo, with known pixels around, and in each the hole pixels that belong to it: those
    of parts that come closer than a block to each other.
    """
    height, width = hole.shape
    blocks = np.zeros([-(-side // _BLOCK) for side in hole.shape], np.uint8)
    rows = np.flatnonzero(hole.any(1)) // _BLOCK
    for row in range(rows[0], rows[-1] + 1):
        touched = hole[_BLOCK * row : _BLOCK * (row + 1)].any(0)
        blocks[row] = np.logical_or.reduceat(touched, np.arange(0, width, _BLOCK))
    near = cv2.dilate(blocks, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(near)
    for label in range(1, count):
        x, y, w, h = (int(value) for value in stats[label, :4])
        box = (
            slice(_BLOCK * y, min(_BLOCK * (y + h), height)),
            slice(_BLOCK * x, min(_BLOCK * (x + w), width)),
        )
        own = labels[y : y + h, x : x + w] == label
        mine = own.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)
        part = hole[box]
        yield box, part & mine[: part.shape[0], : part.shape[1]]


def _canvases(
    rgb: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    region: tuple[slice, slice],
    mine: NDArray[np.bool_],
) -> Iterator[Canvas]:
    height, width = hole.shape
    y0, x0 = region[0].start, region[1].start
    depth = cv2.distanceTransform(hole[region].astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    kernel = np.ones((2 * _MERGE + 1, 2 * _MERGE + 1), np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(mine.astype(np.uint8), kernel))
    for label in range(1, count):
        x, y, w, h = (int(value) for value in stats[label, :4])
        around = (slice(y, y + h), slice(x, x + w))
        own = (parts[around] == label) & mine[around]
        deepest = min(float(depth[around][own].max()), max(height, width) / 2)  # huge if nothing is known
        rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
        scale = min(1.0, REACH / deepest)
        first_row, last_row = y0 + y + int(rows[0]), y0 + y + int(rows[-1])
        first_column, last_column = x0 + x + int(columns[0]), x0 + x + int(columns[-1])
        top, bottom, canvas_height = _extent(first_row, last_row + 1, height, scale)
        left, right, canvas_width = _extent(first_column, last_column + 1, width, scale)
        box = (slice(top, bottom), slice(left, right))
        part = np.zeros((bottom - top, right - left), bool)
        part[first_row - top : last_row + 1 - top, first_column - left : last_column + 1 - left] = own[
            rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1
        ]
        yield Canvas(box, part, *_reduced(rgb[box], hole[box], (canvas_height, canvas_width)))


def _extent(start: int, stop: int, limit: int, scale: float) -> tuple[int, int, int]:
    """Of one side of a canvas around a hole from start to stop: start and stop in the photo, and length."""
    wanted = max(NATIVE, STEP * int(np.ceil(((stop - start) * scale + 2 * CONTEXT) / STEP)))
    length = round(wanted / scale)
    if length >= limit:
        return 0, limit, (limit if scale == 1 else max(8, 8 * round(limit * scale / 8)))
    first = min(max(0, (start + stop - length) // 2), limit - length)
    return first, first + length, wanted


def _blanked(rgb: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    image = rgb.astype(np.float32) / 127.5 - 1
    image[hole] = 0
    return image


def _reduced(
    rgb: NDArray[np.uint8], hole: NDArray[np.bool_], shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Image and hole at ``shape``: averages over known pixels alone, known where most of the area is."""
    if shape == hole.shape:
        return _blanked(rgb, hole), hole
    size = shape[::-1]
    known = cv2.resize((~hole).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    image = cv2.resize(_blanked(rgb, hole), size, interpolation=cv2.INTER_AREA)
    lost = known < 0.5
    image = np.where(lost[..., None], 0, image / np.maximum(known, 0.5)[..., None])
    return image.astype(np.float32), lost


def _spans(side: int) -> list[slice]:
    if side <= TILE:
        return [slice(0, side)]
    count = int(np.ceil((side - OVERLAP) / (TILE - OVERLAP)))
    starts = np.linspace(0, side - TILE, count).round().astype(int).tolist()
    return [slice(start, start + TILE) for start in starts]


def _ramp(span: slice, side: int) -> NDArray[np.float32]:
    """Weights along a tile: rising over the overlap, but not at the canvas's own border."""
    places = np.arange(span.start, span.stop, dtype=np.float32)
    rise = np.full_like(places, 1) if span.start == 0 else (places - span.start + 0.5) / OVERLAP
    fall = np.full_like(places, 1) if span.stop == side else (span.stop - places - 0.5) / OVERLAP
    return np.minimum(np.minimum(rise, fall), 1)
