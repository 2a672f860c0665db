"""Mask generators: seeded holes of every shape, the same bytes on every machine.

A mask is ``(H, W)`` uint8 with 0 for known pixels and 255 for the hole; its *hole share* is the fraction of
hole pixels. All sizes are fractions of the image's shorter side (or of a size at 256 or 512 px where the
source gives one), so that a mask of 128 px and one of 1024 px look alike.

The same seed gives the same bytes everywhere because only ``Generator.random`` and ``Generator.integers``
(bit-exact by NumPy's stream policy for PCG64) are drawn from, every coordinate is rounded to an integer
before OpenCV sees it, and nothing is antialiased or resampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from damgan_cli.errors import MaskError, did_you_mean
from damgan_cli.masks.irregular import IRREGULAR_SHARE, irregular, touches_border
from damgan_cli.masks.strokes import (
    HOLE,
    LAMA,
    brush_stroke,
    hole_pixels,
    lama_painter,
    large_stroke,
    paint_large,
    paint_until,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from damgan_cli.masks.strokes import Mask

__all__ = ["FIXED_KINDS", "MASK_KINDS", "Boxes", "make_mask", "mask_rng", "numbered_hole", "touches_border"]

MASK_KINDS: dict[str, str] = {
    "center": "a centred rectangle of half the sides, 25 % (the paper's)",
    "half": "one half of the image, left, right, top or bottom (EdgeConnect)",
    "box": "one to four random rectangles, see --box-count and --box-size",
    "freeform": "brush strokes (DeepFillv2, Yu et al. 2019), 15 % on average",
    "thin": "many thin polylines (LaMa, Suvorov et al. 2022), 29 %",
    "medium": "polylines or boxes (LaMa), 23 %",
    "thick": "wide polylines or large boxes (LaMa), 37 %",
    "large": "boxes and brush strokes (MAT, Li et al. 2022, after CoModGAN), 40 %",
    "irregular": "outlines, lines, specks of even share 1-60 % (as NVIDIA's, Liu et al. 2018)",
    "irregular-inside": "irregular, the outer 10 % free (NVIDIA's half with border constraint)",
    "irregular-border": "irregular, reaching the border (NVIDIA's other half)",
    "outpaint": "a strip along one random side, 10-50 % (after LaMa)",
    "outpaint-left": "such a strip on the left; likewise outpaint-right, -top and -bottom",
    "outpaint-right": "a strip on the right",
    "outpaint-top": "a strip on top",
    "outpaint-bottom": "a strip at the bottom",
    "outpaint-around": "a frame of even width, 10-50 %",
}
"""What each kind is, with its source and average hole share."""

FIXED_KINDS = ("center", "half")
"""Kinds whose hole share cannot be chosen."""

_OUTPAINT_SHARE = (0.1, 0.5)
_FRAME_MISS = 0.02  # of the share, by which the nearest whole line may miss it
_QUARTER_TURNS = {"top": 0, "right": 1, "bottom": 2, "left": 3}


@dataclass(frozen=True)
class Boxes:
    """How many rectangles a ``box`` mask has, and how large they are (LaMa's: 30-150 px of 256)."""

    count: tuple[int, int] = (1, 4)
    """Fewest and most, >= 1; a hole share overrules it."""
    side: tuple[float, float] = (0.1, 0.5)
    """Shortest and longest side, as fractions of the image's."""


def mask_rng(seed: int, index: int) -> np.random.Generator:
    """Return the independent random stream of mask number ``index`` (both >= 0) under ``seed``."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))


def make_mask(
    kind: str,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    hole_share: tuple[float, float] | None = None,
    boxes: Boxes | None = None,
) -> Mask:
    """Draw one mask.

    ``kind`` is a name in ``MASK_KINDS``; ``height`` and ``width`` are >= 1 px. ``hole_share`` is the (lowest,
    highest) share of hole pixels, within [0, 1]: it is drawn uniformly between the two and met to the
    pixel (strokes are added until it is reached, the last is cut), in ``outpaint`` to the line, with at
    least one hole pixel; where no whole pixel or line lies between the limits, the nearest is taken. Without
    it each kind follows its own distribution. ``boxes`` is for ``box``.

    Returns (height, width) uint8, 0 known and 255 hole. Raises MaskError for an unknown kind, an impossible
    size or hole share, and one of ``FIXED_KINDS`` with a hole share.
    """
    if kind not in MASK_KINDS:
        raise MaskError(
            f"There is no mask kind {kind!r}.",
            f"{did_you_mean(kind, MASK_KINDS)}Choose from {', '.join(MASK_KINDS)}.",
        )
    if height < 1 or width < 1:
        raise MaskError(f"A mask of {width}x{height} pixels cannot be made.", "Both sides must be 1 or more.")
    if kind in FIXED_KINDS:
        if hole_share is not None:
            raise MaskError(
                f"The {kind} mask has a fixed hole share.", "Leave it out, or choose another kind."
            )
        return _center(height, width) if kind == "center" else _half(height, width, rng)
    family, _, detail = kind.partition("-")
    if family == "irregular":
        border = {"": None, "inside": False, "border": True}[detail]
        return irregular(height, width, rng, hole_share or IRREGULAR_SHARE, border)
    if family == "outpaint":
        limits = hole_share or _OUTPAINT_SHARE
        if detail == "around":
            return _frame(height, width, rng, limits)
        return _strip(height, width, rng, limits, _QUARTER_TURNS.get(detail))
    mask = np.zeros((height, width), np.uint8)
    if kind == "large" and hole_share is None:
        paint_large(mask, rng)
    else:
        _paint(mask, kind, rng, hole_share, boxes or Boxes())
    if kind in {"freeform", "large"}:
        # Every brush stroke runs to the right; DeepFillv2 means to flip at random, but discards the result.
        rows, columns = (-1 if flip else 1 for flip in rng.integers(0, 2, 2))
        mask = np.ascontiguousarray(mask[::rows, ::columns])
    return mask


def _paint(
    mask: Mask, kind: str, rng: np.random.Generator, hole_share: tuple[float, float] | None, boxes: Boxes
) -> None:
    """Fill an empty mask with strokes: as many as the kind has, or until the hole share is met."""
    if kind in LAMA:
        stroke, times = lama_painter(LAMA[kind], rng)
    elif kind == "box":
        stroke, times = partial(_box, side=boxes.side), boxes.count
    else:
        stroke, times = (brush_stroke if kind == "freeform" else large_stroke), (1, 3)
    if hole_share is None:
        for _ in range(rng.integers(times[0], times[1] + 1)):
            stroke(mask, rng)
    else:
        paint_until(mask, hole_pixels(mask.size, hole_share, rng), stroke, rng)


def _center(height: int, width: int) -> Mask:
    """Centred rectangle of half the sides: the paper's 64x64 hole at 128x128 (Cha & Kim, section 4)."""
    mask = np.zeros((height, width), np.uint8)
    tall, wide = max(1, height // 2), max(1, width // 2)
    top, left = (height - tall) // 2, (width - wide) // 2
    mask[top : top + tall, left : left + wide] = HOLE
    return mask


def _half(height: int, width: int, rng: np.random.Generator) -> Mask:
    """One of the four halves."""
    mask = np.zeros((height, width), np.uint8)
    turned = np.rot90(mask, int(rng.integers(0, 4)))  # a view of mask
    turned[: max(1, len(turned) // 2)] = HOLE
    return mask


def _strip(
    height: int,
    width: int,
    rng: np.random.Generator,
    hole_share: tuple[float, float],
    quarter_turns: int | None,
) -> Mask:
    """Strip along one side (a random one without ``quarter_turns``), for photos that are to grow."""
    mask = np.zeros((height, width), np.uint8)
    if quarter_turns is None:
        quarter_turns = int(rng.integers(0, 4))
    turned = np.rot90(mask, quarter_turns)  # a view of mask
    turned[: hole_pixels(len(turned), hole_share, rng)] = HOLE
    return mask


def _frame(height: int, width: int, rng: np.random.Generator, hole_share: tuple[float, float]) -> Mask:
    """Frame of even width along all four sides."""
    target = hole_pixels(height * width, hole_share, rng)
    around = np.arange(1, (min(height, width) + 1) // 2 + 1)
    pixels = height * width - np.maximum(0, height - 2 * around) * np.maximum(0, width - 2 * around)
    low, high = (limit * height * width for limit in hole_share)
    outside = np.maximum(0, np.maximum(low - pixels, pixels - high) - 1e-6)  # of the limits, in pixels
    best = np.lexsort((np.abs(pixels - target), outside))[0]
    if outside[best] > _FRAME_MISS * height * width:
        raise MaskError(
            f"No frame around {width}x{height} pixels makes a hole share of "
            f"{hole_share[0]:g} to {hole_share[1]:g}.",
            "Widen the range or make the mask larger.",
        )
    thick = int(around[best])
    mask = np.full((height, width), HOLE, np.uint8)
    mask[thick : height - thick, thick : width - thick] = 0
    return mask


def _box(mask: Mask, rng: np.random.Generator, *, side: tuple[float, float]) -> None:
    """Add one rectangle whose sides are the given fractions of the image's."""
    height, width = mask.shape
    a, b, c, d = rng.random(4).tolist()
    shortest, span = side[0], side[1] - side[0]
    tall, wide = max(1, round(height * (shortest + span * a))), max(1, round(width * (shortest + span * b)))
    top, left = int(c * (height - tall + 1)), int(d * (width - wide + 1))
    mask[top : top + tall, left : left + wide] = HOLE


def numbered_hole(
    kind: str, size: int, hole_share: tuple[float, float] | None, seed: int, index: int
) -> NDArray[np.bool_]:
    """Hole ``index`` (size, size) of an endless row of ``kind``; a plain function, for other processes."""
    return make_mask(kind, size, size, mask_rng(seed, index), hole_share=hole_share) > 0
