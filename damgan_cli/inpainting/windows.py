"""From a photo of any size to windows that a small fully convolutional model fills well, and back.

The model learned holes up to some depth, its *reach*, from the next known pixel, so each part of a hole gets
a *window*: its surroundings, reduced by a whole number where the hole is deeper than that (thin strokes stay
at full resolution). A part that is too long for one window gets several, which fade into each other. What a
window gives is enlarged again, gets the colours of its border (membrane.py) and the detail of its
surroundings (exemplar.py), and is pasted into that part of the hole alone. A photo of at most `NATIVE` px a
side is its own window, untouched. Nothing under the hole ever gets into a window. docs/fit.md compares this
with its alternatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.inpainting.exemplar import Exemplar, enlarged
from damgan_cli.inpainting.membrane import match_seam

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FITS = ("auto", "smooth", "native")
"""What ``--fit`` offers: reduce and copy detail, reduce only, or neither."""
NATIVE = 128
"""Photos up to this side (px) go through the model as they are: no embedded one was trained at less."""
REACH = 40
"""How far (px) a hole pixel may be from the nearest known one before it is reduced, for a model trained at
128 px, and in proportion for others; see docs/fit.md."""
CONTEXT = 48
"""Known surroundings (px, on the window) on each side of a hole's bounding box, at least."""
STEP = 64
"""Window sides are multiples of this where the photo allows: windows of unlike photos then share batches."""
LARGEST = 512
"""Longest side (px) of a window."""
OVERLAP = 64
"""How far (px, on the window) what neighbouring windows fill overlaps; their fills are blended there."""
_BAND = 1 << 20  # pixels of the photo that are reduced at a time: what a band needs, memory must hold
_PIECE = 1024  # side (px) of what is enlarged and pasted at a time, likewise
_FADE = 2  # depth (px, on the window) within which the seam is matched again at full resolution
_HALO = 4  # px of the window around a piece: enough for pieces to agree
_THIN = 6  # depth (px) up to which a stroke that leads to a deep hole is filled for itself
_BLOCK = 64  # must be more than twice _MERGE
_MERGE = 16  # parts of a hole closer than twice this (px) are filled together


@dataclass
class Window:
    """The surroundings of one part of a hole, at the scale at which the model sees it."""

    box: tuple[slice, slice]
    """Where in the photo, rows and columns."""
    part: NDArray[np.bool_]
    """The pixels in ``box`` that this window fills."""
    unknown: NDArray[np.bool_]
    """All hole pixels in ``box``, also of parts that other windows fill."""
    scale: int
    """How many pixels of the photo make one of the window, along a side."""
    image: NDArray[np.float32]
    """(h, w, 3) in [-1, 1], 0 under the hole."""
    hole: NDArray[np.bool_]
    """(h, w): ``unknown`` on the window."""
    blend: tuple[NDArray[np.float32], NDArray[np.float32]]
    """For each row and column of ``box``, how much counts what this window gives there against what earlier
    ones gave; the smaller of both does."""

    def paste(
        self,
        fill: NDArray[np.float32],
        rgb: NDArray[np.uint8],
        fakeness: NDArray[np.float32],
        *,
        exemplars: bool = True,
    ) -> None:
        """Write what the model made of it into this part of the hole, in a photo's (H, W, 3) and (H, W).

        ``fill`` is (h, w, 4), RGB in [-1, 1] and fakeness in [0, 1]. To be called in the order of `plan`.
        Reads known pixels of ``rgb`` only. ``exemplars`` gives the fill of a reduced window detail that is
        copied from its surroundings.
        """
        matched = match_seam(fill[..., :3], self.image, self.hole)
        colours = np.where(self.hole[..., None], matched, self.image)
        fill = np.dstack([colours, fill[..., 3]])
        photo = rgb[self.box]
        if self.scale == 1:
            self._write((slice(None), slice(None)), fill, photo, fakeness[self.box])
            return
        source: Exemplar | None = None
        if exemplars:
            reduce = partial(_reduced, photo, self.unknown)
            source = Exemplar(colours, photo, self.unknown, self.scale, reduce)
        deep = cv2.distanceTransform(self.hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > _FADE
        rows, columns = np.flatnonzero(self.part.any(1)), np.flatnonzero(self.part.any(0))
        for top in range(rows[0], rows[-1] + 1, _PIECE):
            for left in range(columns[0], columns[-1] + 1, _PIECE):
                piece = (
                    slice(top, min(top + _PIECE, rows[-1] + 1)),
                    slice(left, min(left + _PIECE, columns[-1] + 1)),
                )
                if self.part[piece].any():
                    full = self._full(fill, deep, photo, piece)
                    if source is not None:
                        full[..., :3] += source.detail(piece)
                    self._write(piece, full, photo, fakeness[self.box])

    def _full(
        self,
        fill: NDArray[np.float32],
        deep: NDArray[np.bool_],
        photo: NDArray[np.uint8],
        piece: tuple[slice, slice],
    ) -> NDArray[np.float32]:
        """A piece of ``fill`` at the photo's resolution, matched to the known pixels there."""
        scale = self.scale
        rows, columns = (  # of the window around it
            slice(max(0, span.start // scale - _HALO), min(side, -(-span.stop // scale) + _HALO))
            for span, side in zip(piece, self.hole.shape, strict=True)
        )
        around = (
            slice(rows.start * scale, rows.stop * scale),
            slice(columns.start * scale, columns.stop * scale),
        )
        hole = self.unknown[around]  # the window may reach beyond the photo's border
        height, width = hole.shape
        full = enlarged(fill, scale, (rows, columns))[:height, :width]
        still = deep[rows, columns].repeat(scale, axis=0).repeat(scale, axis=1)[:height, :width]
        full[..., :3] = match_seam(full[..., :3], _blanked(photo[around], hole), hole, still & hole)
        top, left = piece[0].start - around[0].start, piece[1].start - around[1].start
        return full[top : top + piece[0].stop - piece[0].start, left : left + piece[1].stop - piece[1].start]

    def _write(
        self,
        piece: tuple[slice, slice],
        fill: NDArray[np.float32],
        photo: NDArray[np.uint8],
        fakeness: NDArray[np.float32],
    ) -> None:
        part = self.part[piece]
        mine = fill[part]  # (N, 4)
        weight = np.minimum.outer(self.blend[0][piece[0]], self.blend[1][piece[1]])[part][:, None]
        levels = weight * np.clip((mine[:, :3] + 1) * 127.5, 0, 255) + (1 - weight) * photo[piece][part]
        photo[piece][part] = np.rint(levels).astype(np.uint8)
        seen = weight[:, 0]
        fakeness[piece][part] = seen * np.clip(mine[:, 3], 0, 1) + (1 - seen) * fakeness[piece][part]


def reach_of(trained: int) -> float:
    """How deep (px) holes may be for a model that was trained on images of ``trained`` px a side."""
    return REACH * max(trained, 16) / 128  # no training takes less than 16


def plan(rgb: NDArray[np.uint8], hole: NDArray[np.bool_], *, reach: float = REACH) -> Iterator[Window]:
    """Windows that together fill ``hole`` (H, W) of ``rgb`` (H, W, 3); none for an empty hole.

    What is deeper than ``reach`` px is reduced; with infinity all of them are at full resolution. One at a
    time, as there may be thousands.
    """
    height, width = hole.shape
    if not hole.any():
        return
    if max(height, width) <= NATIVE:
        box = (slice(0, height), slice(0, width))
        whole = np.ones(height, np.float32), np.ones(width, np.float32)
        yield Window(box, hole, hole, 1, _blanked(rgb, hole), hole, whole)
        return
    for region, mine in _regions(hole):
        yield from _windows(rgb, hole, region, mine, reach)


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


def _windows(
    rgb: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    region: tuple[slice, slice],
    mine: NDArray[np.bool_],
    reach: float,
) -> Iterator[Window]:
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
        scale = max(1, int(np.ceil(deepest / reach)))
        deep = own & (depth[around] > _THIN) if scale > 1 else None
        if label == count - 1:
            del depth, parts  # they may be large
        corner = (y0 + y, x0 + x)
        if deep is not None:
            strokes = own & ~_core(deep)
            own ^= strokes
            yield from _cells(rgb, hole, strokes, corner, 1)
            del deep, strokes
        yield from _cells(rgb, hole, own, corner, scale)


def _core(seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is not thin, and what is near that: corners and crumbs. Left out are strokes that lead there."""
    kernel = np.ones((6 * _THIN + 1, 6 * _THIN + 1), np.uint8)
    return cv2.dilate(seeds.astype(np.uint8), kernel) > 0


def _cells(
    rgb: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    part: NDArray[np.bool_],
    corner: tuple[int, int],
    scale: int,
) -> Iterator[Window]:
    """Windows for ``part``, whose top left pixel lies at ``corner`` of the photo; one if it is short."""
    for rows, upper in _spans(np.any(part, axis=1), scale, hole.shape[0]):
        for columns, left in _spans(np.any(part[rows], axis=0), scale, hole.shape[1]):
            own = part[rows, columns]
            if not own.any():
                continue
            tall, wide = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
            inner = (slice(tall[0], tall[-1] + 1), slice(wide[0], wide[-1] + 1))
            first = corner[0] + rows.start + int(tall[0]), corner[1] + columns.start + int(wide[0])
            last = corner[0] + rows.start + int(tall[-1]), corner[1] + columns.start + int(wide[-1])
            top, bottom = _extent(first[0], last[0] + 1, hole.shape[0], scale)
            start, stop = _extent(first[1], last[1] + 1, hole.shape[1], scale)
            box = (slice(top, bottom), slice(start, stop))
            mine = np.zeros((bottom - top, stop - start), bool)
            mine[first[0] - top : last[0] + 1 - top, first[1] - start : last[1] + 1 - start] = own[inner]
            blend = (
                _blend_weights(top, bottom, corner[0] + rows.start, upper * scale),
                _blend_weights(start, stop, corner[1] + columns.start, left * scale),
            )
            yield Window(box, mine, hole[box], scale, *_reduced(rgb[box], hole[box], scale), blend)


def _extent(start: int, stop: int, limit: int, scale: int) -> tuple[int, int]:
    """Of one side of a window around a hole from start to stop: start and stop in the photo."""
    wanted = max(NATIVE, STEP * int(np.ceil(((stop - start) / scale + 2 * CONTEXT) / STEP)))
    length = wanted * scale
    if length >= limit:
        return 0, limit
    first = min(max(0, (start + stop - length) // 2), limit - length)
    return first, first + length


def _blanked(rgb: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    image = rgb.astype(np.float32) / 127.5 - 1
    image[hole] = 0
    return image


def _reduced(
    rgb: NDArray[np.uint8], hole: NDArray[np.bool_], scale: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Image and hole ``scale`` times smaller: averages over known pixels, known where most of the area is."""
    if scale == 1:
        return _blanked(rgb, hole), hole
    height, width = (-(-side // scale) for side in hole.shape)
    image, lost = np.empty((height, width, 3), np.float32), np.empty((height, width), bool)
    step = max(1, _BAND // (scale * scale * width))
    for row in range(0, height, step):
        rows = slice(row, min(row + step, height))
        band = slice(rows.start * scale, rows.stop * scale)
        bottom, right = (rows.stop - row) * scale - hole[band].shape[0], width * scale - hole.shape[1]
        known = (~hole[band]).astype(np.float32)
        sums = [
            cv2.resize(
                cv2.copyMakeBorder(layer, 0, bottom, 0, right, cv2.BORDER_REPLICATE),
                (width, rows.stop - row),
                interpolation=cv2.INTER_AREA,
            )
            for layer in (_blanked(rgb[band], hole[band]), known)
        ]
        lost[rows] = sums[1] < 0.5
        image[rows] = np.where(lost[rows, :, None], 0, sums[0] / np.maximum(sums[1], 0.5)[..., None])
    return image, lost


def _spans(wanted: NDArray[np.bool_], scale: int, limit: int) -> list[tuple[slice, int]]:
    """Spans over where ``wanted`` (n,) is true, short enough for a window in a photo of side ``limit``.

    With each comes how far (px, on the window) it overlaps the one before it.
    """
    places = np.flatnonzero(wanted)
    if not len(places):
        return []
    start, stop = int(places[0]), int(places[-1]) + 1
    longest = (LARGEST - 2 * CONTEXT) * scale
    if stop - start <= longest or limit <= LARGEST * scale:
        return [(slice(start, stop), 0)]
    longest -= STEP // 2 * scale  # so that what slants is not cut again across
    count = int(np.ceil((stop - start - OVERLAP * scale) / (longest - OVERLAP * scale)))
    starts = np.linspace(start, stop - longest, count).round().astype(int).tolist()
    return [(slice(one, one + longest), OVERLAP if one > start else 0) for one in starts]


def _blend_weights(start: int, stop: int, first: int, overlap: int) -> NDArray[np.float32]:
    """1, but rising from 0 over ``overlap`` px from ``first`` on; for the pixels from start to stop."""
    if not overlap:
        return np.ones(stop - start, np.float32)
    places = np.arange(start - first, stop - first, dtype=np.float32)
    rise: NDArray[np.float32] = np.clip((places + 0.5) / np.float32(overlap), 0, 1)
    return rise
