"""Images of one size made into those of another, and what is finer than some scale in them.

Images are (h, w, C) float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def blurred(known: NDArray[np.float32], hole: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    """``known`` (h, w[, 3]) blurred by ``sigma``, as averages over pixels outside ``hole`` (h, w) alone."""
    counts = (~hole).astype(np.float32)
    weight: Any = np.maximum(cv2.GaussianBlur(counts, (0, 0), sigma), 1e-3)
    if known.ndim == 3:
        counts, weight = counts[..., None], weight[..., None]
    return cast("NDArray[np.float32]", cv2.GaussianBlur(known * counts, (0, 0), sigma) / weight)


def squared(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w): sum of the squares over the channels."""
    summed: Any = cv2.transform(cv2.multiply(image, image), np.ones((1, image.shape[2]), np.float32))
    return cast("NDArray[np.float32]", summed)


def gray(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w): mean of the three channels."""
    return cast("NDArray[np.float32]", cv2.transform(image, np.full((1, 3), 1 / 3, np.float32)))


def pasted(
    image: NDArray[np.float32], fill: NDArray[np.float32], hole: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """``image`` (h, w, C), with ``fill`` in ``hole`` (h, w): ten times as fast as np.where."""
    result: NDArray[np.float32] = image.copy()
    cv2.copyTo(fill, hole.astype(np.uint8), result)
    return result


def mixed(
    one: NDArray[np.float32], other: NDArray[np.float32], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``one`` (h, w, 3), with as much of ``other`` in it as ``share`` (h, w) says, in [0, 1]."""
    shares: Any = cv2.merge([share] * 3)  # numpy repeats one value three times as slowly
    changed: NDArray[Any] = one + shares * (other - one)
    return changed


def widely_blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """``image`` blurred by ``sigma`` (px), on a smaller one where that is as good and many times faster."""
    times = 1
    while sigma / times > 8:
        times *= 2
    height, width = image.shape[:2]
    if min(height, width) < times or times == 1:
        return cast("NDArray[np.float32]", cv2.GaussianBlur(image, (0, 0), sigma))
    small: Any = cv2.resize(image, (width // times, height // times), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / times)
    return cast("NDArray[np.float32]", cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def contrast_restored(
    mixture: NDArray[np.float32], kept: NDArray[np.float32], sigma: float
) -> NDArray[np.float32]:
    """``mixture`` (h, w, 3) with the contrast that what is finer than ``sigma`` (px) lost by mixing.

    Of details that have nothing to do with each other a mixture with shares w keeps ``kept`` (h, w), the sum
    of w², of the variance (Heitz & Neyret 2018), and so looks blurred.
    """
    smooth: NDArray[Any] = cv2.GaussianBlur(mixture, (0, 0), sigma)
    lost: Any = cv2.merge([np.sqrt(kept)] * 3)
    restored: NDArray[Any] = smooth + (mixture - smooth) / lost
    return restored


def rescaled(image: NDArray[np.float32], factor: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``image`` (h, w, C), 1 / ``factor`` times as large, bicubic, cut or continued to ``shape``."""
    if factor == 1 and image.shape[:2] == shape:
        return image
    times = round(1 / factor)
    enough = image.shape[0] * times >= shape[0] and image.shape[1] * times >= shape[1]
    if times * factor == 1 and enough:  # the same, several times as fast
        larger: Any = cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
        return cast("NDArray[np.float32]", larger[: shape[0], : shape[1]])
    shift = 0.5 * factor - 0.5
    matrix = np.array([[factor, 0, shift], [0, factor, shift]], np.float64)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    result = cv2.warpAffine(image, matrix, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cast("NDArray[np.float32]", result)


def enlarged(window: NDArray[np.float32], scale: int, piece: tuple[slice, slice]) -> NDArray[np.float32]:
    """``piece`` of ``window`` (h, w, C), ``scale`` times as large: bicubic, the same whatever the piece."""
    margin = 3  # bicubic looks two pixels far
    height, width = window.shape[:2]
    rows, columns = (
        slice(max(0, span.start - margin), min(side, span.stop + margin))
        for span, side in zip(piece, (height, width), strict=True)
    )
    larger: Any = cv2.resize(window[rows, columns], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    top, left = (piece[0].start - rows.start) * scale, (piece[1].start - columns.start) * scale
    bottom, right = (piece[0].stop - rows.start) * scale, (piece[1].stop - columns.start) * scale
    return cast("NDArray[np.float32]", larger[top:bottom, left:right])


def sampled(window: NDArray[np.float32], scale: int, piece: tuple[slice, slice]) -> NDArray[np.float32]:
    """``piece`` of the photo, of ``window`` (h, w, C) that is ``scale`` times smaller."""
    rows, columns = (slice(span.start // scale, -(-span.stop // scale)) for span in piece)
    top, left = (span.start - first.start * scale for span, first in zip(piece, (rows, columns), strict=True))
    height, width = (span.stop - span.start for span in piece)
    return enlarged(window, scale, (rows, columns))[top : top + height, left : left + width]


def at_points(image: NDArray[np.float32], points: NDArray[Any]) -> NDArray[np.float32]:
    """(..., C), or (...) for one channel: ``image`` (h, w[, C]) at ``points`` (..., 2), rows and columns.

    Bilinear; beyond its border as at the border.
    """
    flat = points.reshape(-1, 2)
    count = len(flat)
    rows = max(1, -(-count // 4096))  # remap takes no row longer than 32767
    grid = np.zeros((rows * 4096, 2), np.float32)
    grid[:count] = flat
    down, across = (grid[:, axis].reshape(rows, 4096) for axis in (0, 1))
    seen: Any = cv2.remap(image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = seen.reshape(rows * 4096, *image.shape[2:])[:count]
    return cast("NDArray[np.float32]", seen.reshape(*points.shape[:-1], *image.shape[2:]))
