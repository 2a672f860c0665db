"""Where a decoder has to compute, if its result is wanted in holes alone: rectangles around these.

A convolution looks one pixel far, so what a layer gives in a rectangle does not depend on what is further
away than its convolutions look together: fills stay the same, but for the rounding of int8, and the rest of
the picture costs nothing (our choice, for inference on a CPU; docs/performance.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Layer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    """A decoder feature and its skip -> what comes next and a fakeness map, both of the skip's size."""
    Rectangle = tuple[int, int, int, int]
    """Top, bottom, left, right."""

LOOKS = 3
"""How far (px) a decoding layer looks: three convolutions of 3x3."""
CELL = 8
"""Side (px of a feature) of what rectangles are made of."""
CALLS = 160, 80, 24
"""What a rectangle costs besides its area, at full, 1/2 and 1/4 resolution: as much as so many cells."""
_AROUND = 4
"""px around a rectangle that are computed too, and not used: at least `LOOKS`, and even."""


def cells_near(mask: Tensor, reach: int, side: int) -> Tensor:
    """(B, 1, H, W), 1 = hole -> (B, h, w) bool: cells of ``side`` px, a hole at most ``reach`` px away."""
    span = side + 2 * reach  # along rows, then columns: at once it would be span² a cell
    near = F.max_pool2d(mask, (1, span), (1, side), (0, reach), ceil_mode=True)
    near = F.max_pool2d(near, (span, 1), (side, 1), (reach, 0), ceil_mode=True)
    return near[:, 0] > 0


def rectangles(cells: NDArray[np.bool_], call: int, top: int = 0, left: int = 0) -> Iterator[Rectangle]:
    """All cells that are true, in rectangles that cost little, tight and apart; in cells from ``top, left``.

    A rectangle is split where both parts cost less than it, as long as there is such a place. ``call`` is
    what each costs besides its area.
    """
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    if not len(rows):
        return
    top, left = top + int(rows[0]), left + int(columns[0])
    cells = cells[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = cells.shape
    whole = _area(height, width) + call
    costs = [np.append(_areas_of_parts(side) + 2 * call, whole) for side in (cells, cells.T)]
    axis = int(costs[1].min() < costs[0].min())
    place = int(costs[axis].argmin()) + 1
    if place == cells.shape[axis]:
        yield top, top + height, left, left + width
        return
    first, second = np.split(cells, [place], axis)
    yield from rectangles(first, call, top, left)
    yield from rectangles(second, call, *((top + place, left) if axis == 0 else (top, left + place)))


def _places(cells: NDArray[np.bool_], call: int) -> list[Rectangle]:
    """`rectangles`, or all of the image where they would cost more."""
    found = list(rectangles(cells, call))
    cost = sum(_area(bottom - top, right - left) + call for top, bottom, left, right in found)
    return found if cost < cells.size else [_all_of(cells.shape)]


def _all_of(shape: Sequence[int]) -> Rectangle:
    return 0, shape[0], 0, shape[1]


def _area(height: Any, width: Any) -> Any:
    """In cells, of rectangles with what is around them; of numbers or arrays."""
    return (height + 2 * _AROUND // CELL) * (width + 2 * _AROUND // CELL)


def _areas_of_parts(cells: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row but the last: what two tight rectangles cover if the upper one ends with it."""
    upper = np.logical_or.accumulate(cells, 0)[:-1]  # what is anywhere in a column, down to this row
    lower = np.logical_or.accumulate(cells[::-1], 0)[::-1][1:]
    used, number = cells.any(1), np.arange(len(cells))
    last = np.maximum.accumulate(np.where(used, number, 0))[:-1]
    first = np.minimum.accumulate(np.where(used, number, len(cells))[::-1])[::-1][1:]
    widths = [part.shape[1] - part[:, ::-1].argmax(1) - part.argmax(1) for part in (upper, lower)]
    areas: NDArray[np.int64] = _area(last + 1, widths[0]) + _area(len(cells) - first, widths[1])
    return areas


def computed_near(layer: Layer, T: Tensor, S: Tensor, cells: Tensor, call: int) -> tuple[Tensor, Tensor]:
    """What ``layer`` makes of ``T`` and ``S`` in the ``cells``; elsewhere it may be 0.

    ``S`` is (B, C, h, w), ``T`` likewise or half as large, ``cells`` (B, ⌈h/8⌉, ⌈w/8⌉) bool. ``call`` is as
    for `rectangles`; where they would cost more than all of an image, that is computed.
    """
    # each image by itself, as int8 rounds by the range of what is computed at once
    found = [(number, place) for number, image in enumerate(cells.numpy()) for place in _places(image, call)]
    if all(place == _all_of(cells[0].shape) for _, place in found):
        return layer(T, S)
    B, _, h, w = S.shape
    smaller = h // T.shape[2]
    whole: list[Tensor] = []
    for number, (top, bottom, left, right) in found:
        inner = top * CELL, min(bottom * CELL, h), left * CELL, min(right * CELL, w)
        outer = (
            max(inner[0] - _AROUND, 0),
            min(inner[1] + _AROUND, h),
            max(inner[2] - _AROUND, 0),
            min(inner[3] + _AROUND, w),
        )
        parts = layer(_cut(T, number, *(end // smaller for end in outer)), _cut(S, number, *outer))
        if not whole:
            whole = [
                torch.zeros_like(part[:1, :, :1, :1].expand(B, -1, h, w), memory_format=torch.channels_last)
                for part in parts
            ]
        within = inner[0] - outer[0], inner[1] - outer[0], inner[2] - outer[2], inner[3] - outer[2]
        for all_of_it, part in zip(whole, parts, strict=True):
            _cut(all_of_it, number, *inner).copy_(_cut(part, 0, *within))
    return whole[0], whole[1]


def _cut(x: Tensor, number: int, top: int, bottom: int, left: int, right: int) -> Tensor:
    return x[number : number + 1, :, top:bottom, left:right]
