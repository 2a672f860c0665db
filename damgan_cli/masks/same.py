"""What is the same in many photos: a watermark, a logo, dust on the sensor.

After Dekel, Rubinstein, Liu & Freeman (CVPR 2017): gradients of what photos show go all ways and cancel out
over many photos, those of what is stamped on all of them remain. Instead of the median over all photos, which
would need them all in memory, clipped gradients are averaged, and the mean must stand out from its own
standard error. Dust is broad and faint, so the same is done in a copy reduced by four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Hole = NDArray[np.bool_]
    Pixels = NDArray[np.uint8]

FEWEST = 5
"""Photos that are needed; 20 or more are better."""

_REDUCTIONS = (1, 4)
_CLIP = 16.0  # 8-bit levels per px: more than a watermark's typical gradient says nothing more
_LEAST = 1.0  # 8-bit levels per px that a mean gradient has at least
_ERRORS = 5.0  # standard errors by which it stands out, and more where photos are few
_SHORTEST = 5  # px of an edge that remains


class _Gradients:
    """Sums of clipped gradients, and of their squares, over photos of one size."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.sums = np.zeros((2, *shape), np.float32)
        self.squares = np.zeros((2, *shape), np.float32)
        self.count = 0

    def add(self, level: NDArray[np.float32]) -> None:
        for i, way in enumerate(((1, 0), (0, 1))):
            slope = cv2.Sobel(level, cv2.CV_32F, *way, scale=0.25)
            np.clip(slope, -_CLIP, _CLIP, out=slope)
            self.sums[i] += slope
            self.squares[i] += slope * slope
        self.count += 1

    def edges(self) -> Hole:
        """Where the mean gradient differs from zero by more than chance would have it."""
        mean = self.sums / self.count
        spread = np.maximum(self.squares / self.count - mean * mean, 0)
        error = np.sqrt(spread / max(1, self.count - 1)) + 0.05
        far = np.sqrt(np.square(mean / error).sum(axis=0)) / (_ERRORS * (1 + 4 / self.count))
        steep = np.sqrt(np.square(mean).sum(axis=0)) / _LEAST
        likely = np.minimum(far, steep)
        # half of that is enough for what hangs together with it
        _, labels = cv2.connectedComponents((likely > 0.5).astype(np.uint8), connectivity=8)
        kept = np.unique(labels[likely > 1])
        return np.isin(labels, kept[kept > 0])


def same_mask(photos: Iterable[Pixels]) -> Hole:
    """Mark what is the same in all of ``photos``, each (H, W, 3) uint8 RGB: (H, W) bool, True = the same.

    They are read one at a time. All False if nothing is. Raises MaskError if they are fewer than `FEWEST`, or
    differ in size.
    """
    gathered: list[_Gradients] = []
    shape: tuple[int, ...] = ()
    for photo in photos:
        level = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
        if gathered and level.shape != shape:
            raise MaskError(
                "Photos of different sizes have nothing in the same place.", "Give those of one size."
            )
        shape = level.shape
        for i, reduction in enumerate(_REDUCTIONS):
            size = max(1, shape[1] // reduction), max(1, shape[0] // reduction)
            small = np.asarray(cv2.resize(level, size, interpolation=cv2.INTER_AREA), np.float32)
            if len(gathered) <= i:
                gathered.append(_Gradients(small.shape))
            gathered[i].add(small)
    count = gathered[0].count if gathered else 0
    if count < FEWEST:
        raise MaskError(
            f"What is the same cannot be told from {count} photos.",
            f"Give at least {FEWEST} of one size that show different things; 20 are better.",
        )
    hole = np.zeros(shape, np.uint8)
    for gradients in gathered:
        area = _filled_in(gradients.edges())
        hole |= np.asarray(cv2.resize(area, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST), np.uint8)
    return np.asarray(cv2.dilate(hole, _disc(1)) > 0)


def _filled_in(edges: Hole) -> NDArray[np.uint8]:
    """The areas (h, w) that edges enclose, with the edges; crumbs of edges are left out."""
    near = cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, _disc(2))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    extent = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    keep = (extent >= _SHORTEST) & (np.bincount(labels[edges], minlength=count) >= _SHORTEST)
    keep[0] = False
    kept = keep[labels].astype(np.uint8)
    # What a stroke's two edges enclose is stroke if it is as narrow as one; a frame's inside is not.
    contours, _ = cv2.findContours(kept, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    filled = kept.copy()
    cv2.drawContours(filled, contours, -1, 1, -1)
    narrow = cv2.morphologyEx(filled - kept, cv2.MORPH_OPEN, _disc(12))
    return np.asarray(filled - narrow, np.uint8)


def _disc(radius: int) -> Pixels:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2), np.uint8)
