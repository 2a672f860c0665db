"""Mask generators: seeded holes of every shape, the same bytes on every machine.

A mask is ``(H, W)`` uint8 with 0 for known pixels and 255 for the hole; its *ratio* is the fraction of hole
pixels. All sizes in this file are fractions of the image's shorter side (or of a size at 256 px where the
source gives one), so that a mask of 128 px and one of 1024 px look alike.

The same seed gives the same bytes everywhere because only ``Generator.random`` and ``Generator.integers``
(bit-exact by NumPy's stream policy for PCG64) are drawn from, every coordinate is rounded to an integer
before OpenCV sees it, and nothing is antialiased or resampled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Mask = NDArray[np.uint8]
    Stroke = Callable[[Mask, np.random.Generator], None]

MASK_KINDS: dict[str, str] = {
    "center": "a centred rectangle of half the sides (25 %)",
    "freeform": "brush strokes as in DeepFillv2 (15 % on average)",
    "irregular": "strokes, outlines, scratches and specks of chosen ratio, as the NVIDIA irregular masks",
    "box": "one to four random rectangles",
    "outpaint": "a strip along one random side, 10 to 50 % of the image",
}

HOLE = 255
_IRREGULAR_RATIO = (0.01, 0.6)  # the span of the six NVIDIA bins
_OUTPAINT_RATIO = (0.1, 0.5)
_MAX_STROKES = 2000


def mask_rng(seed: int, index: int) -> np.random.Generator:
    """Return the independent random stream of mask number ``index`` (both >= 0) under ``seed``."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))


def make_mask(
    kind: str,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    ratio: tuple[float, float] | None = None,
) -> Mask:
    """Draw one mask.

    ``kind`` is a name in ``MASK_KINDS``; ``height`` and ``width`` are >= 1 px. ``ratio`` is the (lowest,
    highest) hole fraction, within [0, 1]: the fraction is drawn uniformly between the two and met to the
    pixel (strokes are added until it is reached, the last is cut; ``outpaint`` goes by whole lines), with
    at least one hole pixel. Without it each kind follows its own distribution: ``irregular`` is uniform over
    0.01-0.6, ``outpaint`` over 0.1-0.5.

    Returns (height, width) uint8, 0 known and 255 hole. Raises MaskError for an unknown kind, an impossible
    size or ratio, and ``center`` with a ratio.
    """
    if kind not in MASK_KINDS:
        raise MaskError(f"There is no mask kind {kind!r}.", f"Choose from {', '.join(MASK_KINDS)}.")
    if height < 1 or width < 1:
        raise MaskError(f"A mask of {width}x{height} pixels cannot be made.", "Both sides must be 1 or more.")
    if kind == "center":
        if ratio is not None:
            raise MaskError(
                "The center mask has a fixed hole ratio.", "Leave the ratio out, or choose another kind."
            )
        return _center(height, width)
    if kind == "irregular":
        return _irregular(height, width, rng, ratio or _IRREGULAR_RATIO)
    if kind == "outpaint":
        return _outpaint(height, width, rng, ratio or _OUTPAINT_RATIO)
    stroke, most = (_brush_stroke, 3) if kind == "freeform" else (_box, 4)
    mask = np.zeros((height, width), np.uint8)
    if ratio is None:
        for _ in range(rng.integers(1, most + 1)):
            stroke(mask, rng)
    else:
        _paint_until(mask, _target(height * width, ratio, rng), stroke, rng)
    if kind == "freeform":
        # Every brush stroke runs to the right; the original means to flip at random, but discards the result.
        rows, columns = (-1 if flip else 1 for flip in rng.integers(0, 2, 2))
        mask = np.ascontiguousarray(mask[::rows, ::columns])
    return mask


def _target(pixels: int, ratio: tuple[float, float], rng: np.random.Generator) -> int:
    """Draw how many of ``pixels`` pixels (or lines of pixels) become hole."""
    low, high = ratio
    if not 0 <= low <= high <= 1:
        raise MaskError(
            f"A hole ratio of {low:g} to {high:g} is impossible.", "Give 0 <= lowest <= highest <= 1."
        )
    # The tolerance keeps 0.07 * 100 = 7.000000000000001 at 7.
    least = max(1, math.ceil(low * pixels - 1e-6))
    most = math.floor(high * pixels + 1e-6)
    if least > most:
        raise MaskError(
            f"No whole number of {pixels} pixels makes a hole ratio between {low:g} and {high:g}.",
            "Widen the ratio or make the mask larger.",
        )
    return min(most, max(least, round((low + (high - low) * rng.random()) * pixels)))


def _paint_until(mask: Mask, target: int, stroke: Stroke, rng: np.random.Generator) -> None:
    """Add strokes in place until exactly ``target`` pixels are hole; a straight cut trims the last stroke."""
    for _ in range(_MAX_STROKES):
        before = mask.copy()
        stroke(mask, rng)
        excess = cv2.countNonZero(mask) - target
        if excess >= 0:
            quarter_turns = int(rng.integers(0, 4))  # the cut comes from any of the four sides
            turned = np.rot90(mask, quarter_turns)  # a view of mask
            new = np.flatnonzero(turned != np.rot90(before, quarter_turns))
            turned.flat[new[:excess]] = 0
            return
    raise MaskError(
        f"The hole ratio {target / mask.size:.3f} was not reached within {_MAX_STROKES} strokes.",
        "Ask for a lower ratio, or for irregular masks.",
    )


def _center(height: int, width: int) -> Mask:
    """Centred rectangle of half the sides: the paper's 64x64 hole at 128x128 (Cha & Kim, section 4)."""
    mask = np.zeros((height, width), np.uint8)
    tall, wide = max(1, height // 2), max(1, width // 2)
    top, left = (height - tall) // 2, (width - wide) // 2
    mask[top : top + tall, left : left + wide] = HOLE
    return mask


def _outpaint(height: int, width: int, rng: np.random.Generator, ratio: tuple[float, float]) -> Mask:
    """Strip along one side, for photos that are to grow."""
    mask = np.zeros((height, width), np.uint8)
    quarter_turns = int(rng.integers(0, 4))
    turned = np.rot90(mask, quarter_turns)  # a view of mask
    turned[: _target(len(turned), ratio, rng)] = HOLE
    return mask


def _box(mask: Mask, rng: np.random.Generator) -> None:
    """Add one rectangle, each side 1/10 to 1/2 of the image's (LaMa's: 30-150 px of 256)."""
    height, width = mask.shape
    a, b, c, d = rng.random(4).tolist()
    tall, wide = max(1, round(height * (0.1 + 0.4 * a))), max(1, round(width * (0.1 + 0.4 * b)))
    top, left = int(c * (height - tall + 1)), int(d * (width - wide + 1))
    mask[top : top + tall, left : left + wide] = HOLE


def _brush_stroke(mask: Mask, rng: np.random.Generator) -> None:
    """Add one zigzag brush stroke of DeepFillv2 (Yu et al. 2019, ``brush_stroke_mask`` of their code).

    4-11 vertices; the direction swings up and down about 2π/5 ± 2π/15; the steps are normal with mean
    diagonal/8 and half of it as deviation, clipped to [0, diagonal/4]; joints are round. The brush is
    12-40 px wide at 256 px and scales with the shorter side.
    """
    height, width = mask.shape
    a, b, c, x, y = rng.random(5).tolist()
    flattest = 2 * math.pi * (1 / 5 - a / 15)
    steepest = 2 * math.pi * (1 / 5 + b / 15)
    thickness = max(1, int((12 + 28 * c) * min(height, width) / 256))
    step = math.hypot(height, width) / 8
    x, y = int(x * width), int(y * height)
    draws = rng.random((int(rng.integers(4, 12)), 13)).tolist()
    for i, (swing, *uniforms) in enumerate(draws):
        angle = flattest + (steepest - flattest) * swing
        # The sum of 12 uniforms is as good as normal here, and exact on every machine.
        length = min(max(step + step / 2 * (math.fsum(uniforms) - 6), 0), 2 * step)
        next_x = min(max(int(x + length * math.cos(angle)), 0), width)
        next_y = min(max(int(y + length * math.sin(angle) * (-1 if i % 2 == 0 else 1)), 0), height)
        cv2.line(mask, (x, y), (next_x, next_y), HOLE, thickness)  # OpenCV's line ends are round
        x, y = next_x, next_y


def _irregular(height: int, width: int, rng: np.random.Generator, ratio: tuple[float, float]) -> Mask:
    """Draw a mask of chosen ratio that resembles the NVIDIA irregular masks (Liu et al. 2018, section 4).

    Those come from occlusions between video frames, widened by a square brush: broken outlines of things,
    straight edges, lumps and specks, of one width per mask that grows with the ratio, and in every second
    mask nothing within 10 % of the border. No code for them is public; shapes and widths here were
    fitted to the published test masks by eye and by statistics (stroke width, number of parts).
    """
    target = _target(height * width, ratio, rng)
    margin_y, margin_x = height // 10, width // 10
    inner = (height - 2 * margin_y) * (width - 2 * margin_x)
    if rng.random() < 0.5 and target <= 0.94 * inner:
        height, width = height - 2 * margin_y, width - 2 * margin_x
    else:
        margin_y = margin_x = 0
    mask = np.zeros((height, width), np.uint8)
    share = target / mask.size
    side = min(height, width)
    # Median 2.8 % of the side at a ratio of 0.05, growing to 10-20 % at 0.55, spread by a factor of 2.
    brush = max(1.0, side * (0.028 + 0.165 * share * share) * 4.5 ** (rng.random() - 0.5))
    places = rng.random((int(rng.integers(1, 5)), 2)).tolist()

    def stroke(canvas: Mask, rng: np.random.Generator) -> None:
        x, y, near, which, dx, dy = rng.random(6).tolist()
        if near < 0.5:  # things that move are somewhere: every second stroke keeps to a few places
            x, y = places[int(which * len(places))]
            x, y = x + 0.4 * (dx - 0.5), y + 0.4 * (dy - 0.5)
        _irregular_stroke(canvas, rng, (x * width, y * height), brush, side)

    _paint_until(mask, target, stroke, rng)
    return np.pad(mask, ((margin_y, margin_y), (margin_x, margin_x)))


def _irregular_stroke(
    mask: Mask, rng: np.random.Generator, place: tuple[float, float], brush: float, side: int
) -> None:
    """Add a line, outline, straight edge, some specks or a lump at ``place``, about ``brush`` px wide."""
    kind, turn, scale, width = rng.random(4).tolist()
    x, y = place
    angle = turn * 2 * math.pi
    thickness = max(1, round(brush * (0.6 + 0.8 * width)))
    if kind < 0.45:  # a wandering open line
        points = [(x, y)]
        step = max(brush, side * (0.02 + 0.08 * scale))
        for bend in rng.random(int(rng.integers(2, 12))).tolist():
            angle += 2.4 * (bend - 0.5)
            x, y = x + step * math.cos(angle), y + step * math.sin(angle)
            points.append((x, y))
        _line(mask, points, thickness)
    elif kind < 0.65:  # the outline of a thing, a ring of ten corners
        radius = max(1.5 * brush, side * (0.03 + 0.2 * scale * scale))
        points = []
        for wobble in rng.random(10).tolist():
            reach = radius * (0.6 + 0.7 * wobble)
            angle += math.pi / 5
            points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
        _line(mask, [*points, points[0]], thickness)
    elif kind < 0.75:  # a straight edge
        length = side * (0.2 + scale)
        _line(mask, [(x, y), (x + length * math.cos(angle), y + length * math.sin(angle))], thickness)
    elif kind < 0.9:  # specks, squares because the brush that widened them was one
        spread = side * (0.1 + 0.3 * scale)
        speck = max(1, round(thickness * 0.8))
        for u, v in rng.random((int(rng.integers(3, 9)), 2)).tolist():
            left, top = round(x + spread * (u - 0.5)), round(y + spread * (v - 0.5))
            mask[max(0, top) : max(0, top + speck), max(0, left) : max(0, left + speck)] = HOLE
    else:  # a lump
        axes = (round(brush * (0.7 + 1.5 * scale)), round(brush * (0.5 + width)))
        cv2.ellipse(mask, (round(x), round(y)), axes, round(turn * 360), 0, 360, HOLE, cv2.FILLED)


def _line(mask: Mask, points: list[tuple[float, float]], thickness: int) -> None:
    corners = np.array([(round(x), round(y)) for x, y in points], np.int32)
    cv2.polylines(mask, [corners], False, HOLE, thickness, cv2.LINE_8)
