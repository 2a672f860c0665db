"""From a photo of any size to windows that a small fully convolutional model fills well.

The model learned holes up to some depth, its *reach*, from the next known pixel, so each part of a hole
gets a *window* (windows.py): its surroundings, reduced by a whole number where the hole is deeper than that
(thin strokes stay at full resolution, and what is compact, like an object's outline, is reduced further). A
model of small images does not see structure: what is deeper than half its reach gets a second window,
reduced further, where structure is easier and detail is lost; the model's fakeness map decides which of
both is kept. A part that is too long for one window gets several, which fade into each other. A photo of at
most `NATIVE` px a side is its own window, untouched. docs/fit.md compares this with its alternatives.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from damgan_cli.inpainting.windows import Window, blanked, reduced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    _Core = tuple[tuple[slice, slice], NDArray[np.bool_], tuple[int, int]]

FITS = ("auto", "smooth", "native")
"""What ``--fit`` offers: reduce and copy detail, reduce only, or neither."""
NATIVE = 128
"""Photos up to this side (px) go through the model as they are: no embedded one was trained at less."""
CONTEXT = 48
"""Known surroundings (px, on the window) on each side of a hole's bounding box, at least."""
STEP = 64
"""Window sides are multiples of this where the photo allows: windows of unlike photos then share batches."""
LARGEST = 896
"""Longest side (px) of a window; but a photo with no more pixels than a square of this side may be one.
In float32 on a CPU a window of 768 px a side takes 0.63 GB, one of 1024 px 1.04 GB."""
OVERLAP = 64
"""How far (px, on the window) what neighbouring windows fill overlaps; their fills are blended there."""
REFINED = 48
"""Depth (px, on the window) from which on weights that learned it refine the fill of half the size: in
shallower holes it gains nothing, and it takes a fifth of the time (docs/experiments.md, section 12)."""
BLUR = 3.0
"""σ (px) by which that fill is blurred: less gives sharper and more daring fills."""
LARGE = 600_000
"""In photos of more pixels than this, holes deeper than `REFINED` are reduced until they are not, and finer
detail is copied: what the DAM stage draws there is meshes and streaks (docs/experiments.md, section 28)."""
OCTAVE_BLUR = 2.7
"""σ (px) by which a reduced window's fill is blurred, once enlarged, before it is refined (section 16)."""
_THIN = 6  # depth (px) up to which a stroke that leads to a deep hole is filled for itself
_BLOCK = 64  # must be more than twice _MERGE
_MERGE = 16  # parts of a hole closer than twice this (px) are filled together
_COMPACT = 3.5
"""A part of a hole is an object's outline, not strokes, if it is no larger than so many of the largest circle
within: outlines drawn by hand have 3.3 at most, as of people who stand, and 31 of 38 parts of irregular masks
3.9 and more (docs/fit.md)."""


class Reach(NamedTuple):
    """How far (px, on the window) a hole pixel may be from the nearest known one; deeper ones are reduced."""

    first: float
    second: float
    """In a second window, which has to win over the first: none where it would be the same."""
    compact: float
    """In the first window if the hole is compact, as of an object: behind it is its surroundings' structure,
    which is to go on, where a model that sees the detail invents another object."""

    def at_most(self, depth: float) -> Reach:
        """The same, but no deeper."""
        return Reach(*(min(one, depth) for one in self))

    def scales(self, hole: NDArray[np.bool_], depth: NDArray[Any]) -> tuple[int, int]:
        """How many times smaller a first and a second window are, for a hole (h, w) and its depth (px)."""
        deepest = float(depth[hole].max())
        compact = np.count_nonzero(hole) <= _COMPACT * math.pi * deepest**2
        first = self.compact if compact else self.first
        return _times(deepest, first), _times(deepest, min(self.second, first))


REACH = Reach(40, 20, 40)
"""Of a model trained on images of 128 px."""
NO_LIMIT = Reach(math.inf, math.inf, math.inf)
"""Nothing is reduced."""


def reach_of(trained: int) -> Reach:
    """What was measured with weights trained on images of 128 and of 256 px, for ``trained`` px a side.

    The latter see structure well enough for one window (docs/fit.md, step 4). What they have is assumed for
    larger ones.
    """
    share, second, compact = (
        float(np.interp(trained, (128, 256), ends))
        for ends in ((REACH.first / 128, 92 / 256), (0.5, 1), (REACH.compact, 32))
    )
    first = share * max(trained, 16)  # no training takes less than 16
    return Reach(first, first * second, min(first, compact))


def plan(rgb: NDArray[np.uint8], hole: NDArray[np.bool_], *, reach: Reach = REACH) -> Iterator[Window]:
    """Windows that together fill ``hole`` (H, W) of ``rgb`` (H, W, 3); none for an empty hole.

    One at a time, as there may be thousands.
    """
    height, width = hole.shape
    if not hole.any():
        return
    if max(height, width) <= NATIVE:
        box = (slice(0, height), slice(0, width))
        whole = np.ones(height, np.float32), np.ones(width, np.float32)
        yield Window(box, hole, hole, 1, blanked(rgb, hole), hole, whole)
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
    reach: Reach,
) -> Iterator[Window]:
    height, width = hole.shape
    y0, x0 = region[0].start, region[1].start
    depth: Any = cv2.distanceTransform(hole[region].astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    np.minimum(depth, max(height, width) / 2, out=depth)  # it is huge where nothing is known
    kernel = np.ones((2 * _MERGE + 1, 2 * _MERGE + 1), np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(mine.astype(np.uint8), kernel))
    boxes = np.stack([stats[:, 1], stats[:, 0], stats[:, 1] + stats[:, 3], stats[:, 0] + stats[:, 2]], 1)
    first_scales = np.ones(count, int)
    deep: dict[int, list[_Core]] = {}
    for label, (top, left, bottom, right) in enumerate(boxes.tolist()):
        if label:
            around = (slice(top, bottom), slice(left, right))
            own = (parts[around] == label) & mine[around]
            rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
            boxes[label] = top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1
            if depth[around][own].max() > min(reach):
                tight = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
                cores = list(_cores(own[tight], depth[around][tight], reach))
                if cores:
                    deep[label], first_scales[label] = cores, max(first for _, _, (first, _) in cores)
    measured = depth if depth.size <= LARGEST**2 else None  # a window is no larger
    del depth  # it may be large
    shallow = np.flatnonzero(first_scales[1:] == 1) + 1
    for group in _joined(boxes[shallow], hole.shape):
        chosen = np.zeros(count, bool)
        chosen[shallow[group]] = True
        top, left = boxes[chosen, :2].min(0).tolist()
        bottom, right = boxes[chosen, 2:].max(0).tolist()
        around = (slice(top, bottom), slice(left, right))
        own = chosen[parts[around]] & mine[around]
        for window in _cells(rgb, hole, own, (y0 + top, x0 + left), 1):
            if measured is not None and window.box == region:
                window.depths = measured  # the same, and it takes time
            yield window
    for label, cores in deep.items():
        top, left, bottom, right = boxes[label].tolist()
        around, corner = (slice(top, bottom), slice(left, right)), (y0 + top, x0 + left)
        own = (parts[around] == label) & mine[around]
        if first_scales[label] > 1:
            for place, core, (first, _) in cores:
                own[place] &= ~core | (first == 1)
            yield from _cells(rgb, hole, own, corner, 1)
        for second in (False, True):
            for place, core, (first, further) in cores:
                scale, less = (further, first) if second else (first, 1)
                if scale > less:
                    at = corner[0] + place[0].start, corner[1] + place[1].start
                    yield from _cells(rgb, hole, core, at, scale, second=second)


def _joined(boxes: NDArray[np.intp], shape: tuple[int, ...]) -> list[list[int]]:
    """Which parts share a window because that has fewer pixels than one for each: groups of numbers.

    ``boxes`` are (N, 4), top, left, bottom and right, of parts at full resolution in a photo of ``shape``.
    """
    groups = [[number] for number in range(len(boxes))]
    boxes = boxes.copy()
    alive = np.ones(len(boxes), bool)
    limit = np.array(shape)

    def area(lengths: NDArray[np.intp]) -> NDArray[np.intp]:
        wanted = np.maximum(NATIVE, -(-(lengths + 2 * CONTEXT) // STEP) * STEP)
        pixels: NDArray[np.intp] = np.minimum(wanted, limit).prod(-1)
        return pixels

    for one in range(len(boxes)):
        while alive[one]:
            corners = np.minimum(boxes[one, :2], boxes[:, :2]), np.maximum(boxes[one, 2:], boxes[:, 2:])
            sides = corners[1] - corners[0]
            saved = area(boxes[one, 2:] - boxes[one, :2]) + area(boxes[:, 2:] - boxes[:, :2]) - area(sides)
            saved[~alive | (area(sides) > LARGEST**2)] = -1
            saved[one] = -1
            other = int(saved.argmax())
            if saved[other] < 0:
                break
            boxes[one] = np.concatenate([corners[0][other], corners[1][other]])
            groups[one] += groups[other]
            groups[other] = []
            alive[other] = False
    return [group for group in groups if group]


def _cores(own: NDArray[np.bool_], depth: NDArray[Any], reach: Reach) -> Iterator[_Core]:
    """What of a part is not thin, piece by piece: its place, its pixels, and how much to reduce it, twice.

    With corners and crumbs nearby, without strokes that lead there. Left out is what needs no reduction.
    """
    kernel = np.ones((6 * _THIN + 1, 6 * _THIN + 1), np.uint8)
    thick = own & (cv2.dilate((own & (depth > _THIN)).astype(np.uint8), kernel) > 0)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(thick.astype(np.uint8))
    for label in range(1, count):
        x, y, w, h = (int(value) for value in stats[label, :4])
        place = (slice(y, y + h), slice(x, x + w))
        core = labels[place] == label
        scales = reach.scales(core, depth[place])
        if scales[1] > 1:
            yield place, core, scales


def _times(deepest: float, depth: float) -> int:
    return max(1, int(np.ceil(deepest / depth)))


def _cells(
    rgb: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    part: NDArray[np.bool_],
    corner: tuple[int, int],
    scale: int,
    *,
    second: bool = False,
) -> Iterator[Window]:
    """Windows for ``part``, whose top left pixel lies at ``corner`` of the photo; one if it is short."""
    ways = [_cut(part, corner, scale, longest, hole.shape) for longest in (LARGEST, LARGEST // 2)]
    for rows, columns, box, upper, left in min(ways, key=lambda cells: sum(_area(cell[2]) for cell in cells)):
        mine = np.zeros([side.stop - side.start for side in box], bool)
        at = tuple(
            slice(first + span.start - side.start, first + span.stop - side.start)
            for first, span, side in zip(corner, (rows, columns), box, strict=True)
        )
        mine[at] = part[rows, columns]
        blend = (
            _blend_weights(box[0].start, box[0].stop, corner[0] + upper[0], upper[1] * scale),
            _blend_weights(box[1].start, box[1].stop, corner[1] + left[0], left[1] * scale),
        )
        yield Window(box, mine, hole[box], scale, *reduced(rgb[box], hole[box], scale), blend, second)


def _cut(
    part: NDArray[np.bool_],
    corner: tuple[int, int],
    scale: int,
    longest: int,
    shape: tuple[int, ...],
) -> list[tuple[slice, slice, tuple[slice, slice], tuple[int, int], tuple[int, int]]]:
    """Cells of ``part`` for windows of at most ``longest`` px a side, in a photo of ``shape``.

    Rows and columns of ``part``, the window's box in the photo, and for rows and for columns where the cell
    begins and how far (px, on the window) it overlaps the one before it.
    """
    cells = []
    small = shape[0] * shape[1] <= (longest * scale) ** 2
    wide = small or shape[1] <= longest * scale
    for rows, upper in _spans(np.any(part, axis=1), scale, longest, small or shape[0] <= longest * scale):
        for columns, left in _spans(np.any(part[rows], axis=0), scale, longest, wide):
            own = part[rows, columns]
            tall, across = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
            if not len(tall):
                continue
            used = (
                slice(rows.start + int(tall[0]), rows.start + int(tall[-1]) + 1),
                slice(columns.start + int(across[0]), columns.start + int(across[-1]) + 1),
            )
            box = tuple(
                _extent(first + span.start, first + span.stop, side, scale)
                for first, span, side in zip(corner, used, shape, strict=True)
            )
            cells.append((*used, (box[0], box[1]), (rows.start, upper), (columns.start, left)))
    return cells


def _area(box: tuple[slice, slice]) -> int:
    tall, wide = (side.stop - side.start for side in box)
    return int(tall * wide)


def _extent(start: int, stop: int, limit: int, scale: int) -> slice:
    """Of one side of a window around a hole from start to stop: where it lies in the photo."""
    wanted = max(NATIVE, STEP * int(np.ceil(((stop - start) / scale + 2 * CONTEXT) / STEP)))
    length = wanted * scale
    if length >= limit:
        return slice(0, limit)
    first = min(max(0, (start + stop - length) // 2), limit - length)
    return slice(first, first + length)


def _spans(wanted: NDArray[np.bool_], scale: int, longest: int, fits: bool) -> list[tuple[slice, int]]:
    """Spans over where ``wanted`` (n,) is true, short enough for windows of ``longest`` px a side.

    One if all of the photo ``fits``. With each comes how far (px, on the window) it overlaps the one before.
    """
    places = np.flatnonzero(wanted)
    if not len(places):
        return []
    start, stop = int(places[0]), int(places[-1]) + 1
    length = (longest - 2 * CONTEXT) * scale
    if fits or stop - start <= length:
        return [(slice(start, stop), 0)]
    length -= STEP // 2 * scale  # so that what slants is not cut again across
    count = int(np.ceil((stop - start - OVERLAP * scale) / (length - OVERLAP * scale)))
    starts = np.linspace(start, stop - length, count).round().astype(int).tolist()
    return [(slice(one, one + length), OVERLAP if one > start else 0) for one in starts]


def _blend_weights(start: int, stop: int, first: int, overlap: int) -> NDArray[np.float32]:
    """1, but rising from 0 over ``overlap`` px from ``first`` on; for the pixels from start to stop."""
    if not overlap:
        return np.ones(stop - start, np.float32)
    places = np.arange(start - first, stop - first, dtype=np.float32)
    rise: NDArray[np.float32] = np.clip((places + 0.5) / np.float32(overlap), 0, 1)
    return rise
