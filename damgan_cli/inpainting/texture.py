"""Texture for enlarged fills: fine detail is taken from the known surroundings.

A canvas that was reduced comes back without the detail below its own pixels, and what the model gives for a
deep hole is smooth besides. As in contextual residual aggregation (HiFill, Yi et al. 2020), the hole borrows
*residuals*, what the photo has beyond its reduced copy, from places that look alike there. HiFill weighs them
by learned attention; here each patch takes one source, the known patch of nearest mean colour and roughness,
near ones first, and overlapping patches are blended so that the variance stays (Heitz & Neyret 2018). How
rough the hole is its border tells: so people are not copied from a beach into the sea.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from damgan_cli.inpainting.membrane import match_seam

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCH = 8
"""Side (px, on the canvas) of what is copied in one piece. Twice that holds eyes."""
STRENGTH = 0.5
"""Of the detail, 1 = as in the source. Detail in the wrong place costs its squared strength in PSNR, while
half of it already looks (LPIPS) nearly as good as all of it; see docs/fit.md."""
_COLOUR_BLUR = 2.0  # (px, on the canvas) scale on which a patch's colour is compared
_BASE_BLUR = 1.0  # (px, on the canvas) detail is what is finer than this
_DISTANCE = 0.14  # of colour in [-1, 1] that a source one patch further away must be nearer to win
_ROUGHNESS = 3.0  # weight of the detail's RMS against colour, both for [-1, 1]
_JITTER = 2.0  # patches, at random: neighbours would else take the same source again and again
_CANDIDATES = 4000
_BAND = 1 << 18  # pixels of the photo that are looked at at a time


class Texture:
    """The detail for one canvas.

    ``filled`` is the canvas (h, w, 3) in [-1, 1] with its fill, ``hole`` (h, w); ``photo`` is what it was
    reduced from by ``ratio``, (H, W, 3) uint8, ``unknown`` (H, W) the hole in that. Looks at known pixels of
    ``photo`` only.
    """

    def __init__(
        self,
        filled: NDArray[np.float32],
        hole: NDArray[np.bool_],
        photo: NDArray[np.uint8],
        unknown: NDArray[np.bool_],
        ratio: int,
    ) -> None:
        self.photo, self.unknown, self.ratio = photo, unknown, ratio
        known = (~hole).astype(np.float32)
        weight = cv2.GaussianBlur(known, (0, 0), _BASE_BLUR)
        base = cv2.GaussianBlur(filled * known[..., None], (0, 0), _BASE_BLUR)
        self._base: NDArray[np.float32] = base / np.maximum(weight, np.float32(1e-3))[..., None]
        usable = ~hole
        usable[photo.shape[0] // ratio :] = usable[:, photo.shape[1] // ratio :] = False  # cut by the border
        self._patch, self._pairs, self._gains = _match(filled, hole, usable, self._roughness(hole, usable))

    def detail(self, window: tuple[slice, slice]) -> NDArray[np.float32]:
        """(h, w, 3), to be added to the enlarged fill in ``window`` (rows, columns) of the photo."""
        ratio, side = self.ratio, self._patch * self.ratio
        top, left = window[0].start, window[1].start
        height, width = window[0].stop - top, window[1].stop - left
        total = np.zeros((height, width, 3), np.float32)
        power = np.zeros((height, width, 1), np.float32)
        ramp = np.sin(np.pi * (np.arange(side, dtype=np.float32) + 0.5) / side) ** 2
        weights = np.outer(ramp, ramp)[..., None]
        corners = self._pairs[:, 0] * ratio - (top, left)  # of targets, in the window
        here = ((corners > -side) & (corners < (height, width))).all(1)
        for (y, x), (_, source), gain in zip(
            corners[here].tolist(), self._pairs[here].tolist(), self._gains[here].tolist(), strict=True
        ):
            inside = (slice(max(y, 0), min(y + side, height)), slice(max(x, 0), min(x + side, width)))
            part = (
                slice(inside[0].start - y, inside[0].stop - y),
                slice(inside[1].start - x, inside[1].stop - x),
            )
            weight = weights[part]
            rows, columns = (slice(start, start + self._patch) for start in source)
            total[inside] += gain * weight * self._residual(rows, columns)[part]
            power[inside] += weight * weight
        total *= STRENGTH / np.sqrt(np.maximum(power, np.float32(1e-6)))
        return total

    def _residual(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """What the photo has beyond the canvas in a window of the canvas; 0 in the hole."""
        window = tuple(slice(span.start * self.ratio, span.stop * self.ratio) for span in (rows, columns))
        pixels = self.photo[window].astype(np.float32) / 127.5 - 1
        pixels -= enlarged(self._base, self.ratio, (rows, columns))
        pixels[self.unknown[window]] = 0
        return pixels

    def _roughness(self, hole: NDArray[np.bool_], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(h, w, 1): RMS of the detail around each pixel of the canvas; in the hole, as its border has it."""
        power = np.zeros((*hole.shape, 3), np.float32)
        height, width = (side // self.ratio for side in self.photo.shape[:2])
        step = max(1, _BAND // (self.ratio * self.ratio * max(1, width)))
        for row in range(0, height if width else 0, step):
            rows = slice(row, min(row + step, height))
            detail = self._residual(rows, slice(0, width))
            power[rows, :width] = cv2.resize(
                detail * detail, (width, rows.stop - row), interpolation=cv2.INTER_AREA
            )
        power[~usable] = 0
        share = cv2.blur(usable.astype(np.float32), (PATCH, PATCH))[..., None]
        rough = np.sqrt(np.maximum(cv2.blur(power, (PATCH, PATCH)), 0) / np.maximum(share, np.float32(1e-3)))
        rough = np.where(hole[..., None], match_seam(np.zeros_like(rough), rough, hole), rough)
        mean: NDArray[np.float32] = rough.mean(2, keepdims=True)
        return mean


def enlarged(canvas: NDArray[np.float32], ratio: int, window: tuple[slice, slice]) -> NDArray[np.float32]:
    """``window`` of ``canvas`` (h, w, C), ``ratio`` times as large: bicubic, the same whatever the window."""
    margin = 3  # bicubic looks two pixels far
    height, width = canvas.shape[:2]
    rows, columns = (
        slice(max(0, span.start - margin), min(side, span.stop + margin))
        for span, side in zip(window, (height, width), strict=True)
    )
    piece: Any = cv2.resize(canvas[rows, columns], None, fx=ratio, fy=ratio, interpolation=cv2.INTER_CUBIC)
    top, left = (window[0].start - rows.start) * ratio, (window[1].start - columns.start) * ratio
    bottom, right = (window[0].stop - rows.start) * ratio, (window[1].stop - columns.start) * ratio
    return cast("NDArray[np.float32]", piece[top:bottom, left:right])


def _match(
    filled: NDArray[np.float32],
    hole: NDArray[np.bool_],
    usable: NDArray[np.bool_],
    roughness: NDArray[np.float32],
) -> tuple[int, NDArray[np.intp], NDArray[np.float32]]:
    """Patch side, and of the N patches that cover the hole the top left corners of themselves and of their
    sources (N, 2, 2) and how much of the source's detail they take (N,).
    """
    height, width = hole.shape
    patch = PATCH
    while True:
        whole = cv2.erode(
            usable.astype(np.uint8),
            np.ones((patch, patch), np.uint8),
            anchor=(0, 0),
            borderType=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
        sources = np.argwhere(whole)
        if len(sources) or patch == 4:  # little is known between holes: smaller patches
            break
        patch //= 2
    if not len(sources):
        return patch, np.empty((0, 2, 2), np.intp), np.empty(0, np.float32)
    sources = sources[:: -(-len(sources) // _CANDIDATES)]
    step = patch // 2
    corners = np.mgrid[-step:height:step, -step:width:step].reshape(2, -1).T  # overlap by half
    covers = cv2.boxFilter(
        cv2.copyMakeBorder(hole.astype(np.float32), patch, patch, patch, patch, cv2.BORDER_CONSTANT),
        -1,
        (patch, patch),
        anchor=(0, 0),
        normalize=False,
    )
    targets = corners[covers[corners[:, 0] + patch, corners[:, 1] + patch] > 0.5]
    looks = np.dstack([cv2.GaussianBlur(filled, (0, 0), _COLOUR_BLUR), _ROUGHNESS * roughness])

    def features(places: NDArray[np.intp]) -> NDArray[np.float32]:
        middle = np.clip(places + step, 0, (height - 1, width - 1))
        near = places * (_DISTANCE / patch)
        return np.hstack([looks[middle[:, 0], middle[:, 1]], near]).astype(np.float32)

    keys, wanted = features(sources), features(targets)
    wanted[:, -2:] += np.random.default_rng(0).uniform(-_JITTER, _JITTER, (len(wanted), 2)) * _DISTANCE
    length = np.square(keys).sum(1)
    nearest = np.concatenate(
        [(length - 2 * some @ keys.T).argmin(1) for some in np.array_split(wanted, 1 + len(wanted) // 256)]
    )
    rough = 3  # column of the features
    gains = np.minimum(1, wanted[:, rough] / np.maximum(keys[nearest, rough], np.float32(1e-6)))
    return patch, np.stack([targets, sources[nearest]], axis=1), gains
