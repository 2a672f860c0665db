"""Colour at the seam: a fill is shifted by what the model got wrong just outside the hole.

The model also predicts the known pixels around a hole, so its error there is seen without knowing the truth.
A membrane (the harmonic function with these values on the border; Poisson editing, Pérez et al. 2003) carries
it into the hole, where it fades into the mean error of the border all around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SWEEPS = 4  # of relaxation on each level: more changes the result by less than rounding shows
_NEIGHBOURS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def match_seam(
    fill: NDArray[np.float32],
    known: NDArray[np.float32],
    hole: NDArray[np.bool_],
    deep: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """``fill`` (h, w, 3), which also predicts known pixels, made to meet ``known`` at the border.

    ``known`` is (h, w, 3), ``hole`` (h, w); only the known pixels that touch it count. Where ``deep`` (h, w)
        is true the fill stays as it is, and the correction fades towards it. Returns a new array.
    """
    inside = hole.astype(np.uint8)
    ring: Any = cv2.dilate(inside, _CROSS) - inside  # 1 on the known side of the border
    result: NDArray[np.float32] = fill.copy()
    if ring.any():
        rows, columns = (np.flatnonzero(ring.any(axis) | hole.any(axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        error = np.zeros((*ring[box].shape, 3), np.float32)
        cv2.copyTo(known[box] - fill[box], ring[box], error)
        result[box] += _membrane(error, ring[box] if deep is None else ring[box] | deep[box])
    return result


def _membrane(values: NDArray[np.float32], fixed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Harmonic interpolation of ``values`` (h, w, 3) where ``fixed`` (h, w) is 1: cascadic multigrid."""
    height, width = fixed.shape
    if max(height, width) <= 2 or fixed.all():
        mean = values[fixed > 0].mean(0)
        return np.where(fixed[..., None] > 0, values, mean).astype(np.float32)
    bottom, right = height % 2, width % 2
    weight = cv2.copyMakeBorder(fixed.astype(np.float32), 0, bottom, 0, right, cv2.BORDER_CONSTANT)
    padded = cv2.copyMakeBorder(values, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
    half = weight.shape[1] // 2, weight.shape[0] // 2
    weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    means: Any = cv2.resize(padded, half, interpolation=cv2.INTER_AREA) / np.maximum(weight, 0.25)[..., None]
    result: Any = _membrane(means, (weight > 0).astype(np.uint8))
    result = cv2.resize(result, padded.shape[1::-1], interpolation=cv2.INTER_LINEAR)[:height, :width].copy()
    for _ in range(_SWEEPS):
        cv2.copyTo(values, fixed, result)
        result = cv2.filter2D(result, -1, _NEIGHBOURS, borderType=cv2.BORDER_REPLICATE)
    cv2.copyTo(values, fixed, result)
    return cast("NDArray[np.float32]", result)
