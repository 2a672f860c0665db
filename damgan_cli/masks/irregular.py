"""Irregular masks of chosen hole share, after the NVIDIA irregular mask test set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import MaskError
from damgan_cli.masks.strokes import HOLE, hole_pixels, paint_until

if TYPE_CHECKING:
    from damgan_cli.masks.strokes import Mask

IRREGULAR_SHARE = (0.01, 0.6)  # the span of the six NVIDIA bins
_MOST_TRIES = 1000


def irregular(
    height: int,
    width: int,
    rng: np.random.Generator,
    hole_share: tuple[float, float],
    border: bool | None = None,
) -> Mask:
    """Draw a mask of chosen hole share like the NVIDIA irregular masks (Liu et al. 2018, section 4).

    Those come from occlusions between video frames, widened by a square brush: broken outlines of things,
    straight edges, lumps and specks, of one width per mask that grows with the share, and in every second
    mask nothing within 10 % of the border. No code for them is public; shapes and widths here were
    fitted to the published test masks by eye and by statistics (stroke width, number of parts).

    ``border`` picks one half of that set: False leaves the outer 10 % free, True reaches the border.
    Raises MaskError if the share is impossible, also within the free border.
    """
    if border:
        for _ in range(_MOST_TRIES):
            mask = _irregular(height, width, rng, hole_share, free=False)
            if touches_border(mask):
                return mask
        raise MaskError(
            f"No mask of {width}x{height} pixels and so low a hole share reached the border.",
            "Ask for a higher share.",
        )
    return _irregular(height, width, rng, hole_share, free=None if border is None else True)


def touches_border(mask: Mask) -> bool:
    """Whether any hole pixel lies in the outermost rows or columns."""
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())


def _irregular(
    height: int, width: int, rng: np.random.Generator, hole_share: tuple[float, float], free: bool | None
) -> Mask:
    """One mask; ``free`` tells whether its border stays free, None leaves that to chance."""
    target = hole_pixels(height * width, hole_share, rng)
    margin_y, margin_x = height // 10, width // 10
    inner = (height - 2 * margin_y) * (width - 2 * margin_x)
    room = target <= 0.94 * inner
    if free and not room:
        raise MaskError(
            f"A hole share of {target / (height * width):.3f} leaves no room for a free border.",
            f"Ask for at most {0.94 * inner / (height * width):.2f}, or for irregular-border.",
        )
    if (rng.random() < 0.5 if free is None else free) and room:
        height, width = height - 2 * margin_y, width - 2 * margin_x
    else:
        margin_y = margin_x = 0
    mask = np.zeros((height, width), np.uint8)
    side = min(height, width)
    # Median 2.8 % of the side at a share of 0.05, growing to 10-20 % at 0.55, spread by a factor of 2.
    share = target / mask.size
    brush = max(1.0, side * (0.028 + 0.165 * share * share) * 4.5 ** (rng.random() - 0.5))
    places = rng.random((int(rng.integers(1, 5)), 2)).tolist()

    def stroke(picture: Mask, rng: np.random.Generator) -> None:
        x, y, near, which, dx, dy = rng.random(6).tolist()
        if near < 0.5:  # things that move are somewhere: every second stroke keeps to a few places
            x, y = places[int(which * len(places))]
            x, y = x + 0.4 * (dx - 0.5), y + 0.4 * (dy - 0.5)
        _irregular_stroke(picture, rng, (x * width, y * height), brush, side)

    paint_until(mask, target, stroke, rng)
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
