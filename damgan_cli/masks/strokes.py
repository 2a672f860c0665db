"""Strokes that masks are made of, and painting them until a hole share is met.

Sizes in pixels are those of the source at its own size (256 or 512) and scale with the shorter side. How the
same seed gives the same bytes on every machine is told in ``masks``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Mask = NDArray[np.uint8]
    Stroke = Callable[[Mask, np.random.Generator], None]

HOLE = 255
_MAX_STROKES = 2000


def hole_pixels(pixels: int, hole_share: tuple[float, float], rng: np.random.Generator) -> int:
    """Draw how many of ``pixels`` pixels (or lines of pixels) become hole.

    Where no whole number of them lies within ``hole_share``, it is the nearest. Raises MaskError for an
    impossible share, and for one so low that this is none at all.
    """
    low, high = hole_share
    if not 0 <= low <= high <= 1:
        raise MaskError(
            f"A hole share of {low:g} to {high:g} is impossible.", "Give 0 <= lowest <= highest <= 1."
        )
    # The tolerance keeps 0.07 * 100 = 7.000000000000001 at 7.
    least = max(1, math.ceil(low * pixels - 1e-6))
    most = math.floor(high * pixels + 1e-6)
    if least > most:
        least = most = round((low + high) / 2 * pixels)
        if not most:
            raise MaskError(
                f"A hole share of {low:g} to {high:g} is less than one of {pixels} pixels.",
                "Ask for a higher share or make the mask larger.",
            )
    return min(most, max(least, round((low + (high - low) * rng.random()) * pixels)))


def paint_until(mask: Mask, target: int, stroke: Stroke, rng: np.random.Generator) -> None:
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
        f"The hole share {target / mask.size:.3f} was not reached within {_MAX_STROKES} strokes.",
        "Ask for a lower share, or for irregular masks.",
    )


def brush_stroke(
    mask: Mask,
    rng: np.random.Generator,
    *,
    most_segments: int = 11,
    width: tuple[float, float] = (12, 40),
    reference: int = 256,
) -> None:
    """Add one zigzag brush stroke of DeepFillv2 (Yu et al. 2019, ``brush_stroke_mask`` of their code).

    4 to ``most_segments`` segments; the direction swings up and down about 2π/5 ± 2π/15; the steps are normal
    with mean diagonal/8 and half of it as deviation, clipped to [0, diagonal/4]; joints are round. The brush
    is ``width`` px wide at a shorter side of ``reference`` px and scales with it.
    """
    tall, wide = mask.shape
    a, b, c, x, y = rng.random(5).tolist()
    flattest = 2 * math.pi * (1 / 5 - a / 15)
    steepest = 2 * math.pi * (1 / 5 + b / 15)
    thickness = max(1, int((width[0] + (width[1] - width[0]) * c) * min(tall, wide) / reference))
    step = math.hypot(tall, wide) / 8
    x, y = int(x * wide), int(y * tall)
    draws = rng.random((int(rng.integers(4, most_segments + 1)), 13)).tolist()
    for i, (swing, *uniforms) in enumerate(draws):
        angle = flattest + (steepest - flattest) * swing
        # The sum of 12 uniforms is as good as normal here, and exact on every machine.
        length = min(max(step + step / 2 * (math.fsum(uniforms) - 6), 0), 2 * step)
        next_x = min(max(int(x + length * math.cos(angle)), 0), wide)
        next_y = min(max(int(y + length * math.sin(angle) * (-1 if i % 2 == 0 else 1)), 0), tall)
        cv2.line(mask, (x, y), (next_x, next_y), HOLE, thickness)  # OpenCV's line ends are round
        x, y = next_x, next_y


@dataclass(frozen=True)
class LamaRecipe:
    """One of LaMa's evaluation sets (Suvorov et al. 2022, their ``random_*_256.yaml``), in px at 256."""

    strokes: tuple[int, int]
    """Fewest and most polylines of a mask; likewise below."""
    width: tuple[int, int]
    length: tuple[int, int]
    """Of each of a polyline's one to five segments."""
    boxes: tuple[int, int] = (0, 0)
    box_side: tuple[int, int] = (0, 0)
    margin: int = 0
    """Between boxes and the border."""
    box_share: float = 0.0
    """Of the masks that consist of boxes instead of polylines."""


LAMA = {
    "thin": LamaRecipe((4, 50), (5, 14), (10, 49)),
    "medium": LamaRecipe((4, 5), (5, 54), (10, 109), (1, 5), (10, 49), 0, 0.3 / 1.3),
    "thick": LamaRecipe((1, 5), (5, 104), (10, 209), (1, 3), (30, 149), 10, 0.3 / 1.3),
}


def lama_painter(recipe: LamaRecipe, rng: np.random.Generator) -> tuple[Stroke, tuple[int, int]]:
    """Draw whether a mask consists of polylines or of boxes: the stroke to repeat and how often."""
    if rng.random() < recipe.box_share:
        return partial(_lama_box, recipe=recipe), recipe.boxes
    return partial(_lama_polyline, recipe=recipe), recipe.strokes


def _lama_polyline(mask: Mask, rng: np.random.Generator, *, recipe: LamaRecipe) -> None:
    """Add one to five joined segments of four possible directions, all to the left or all to the right."""
    height, width = mask.shape
    scale = min(height, width) / 256
    x, y, mirror = rng.random(3).tolist()
    x, y, side = int(x * width), int(y * height), 1 if mirror < 0.5 else -1
    for turn, far, thick in rng.random((int(rng.integers(1, 6)), 3)).tolist():
        angle = 0.01 + int(4 * turn)  # radians, as there
        length = _scaled(recipe.length, far, scale)
        next_x = min(max(int(x + side * length * math.sin(angle)), 0), width)
        next_y = min(max(int(y + length * math.cos(angle)), 0), height)
        # OpenCV draws lines about a pixel wider than told, which must not be scaled along.
        brush = max(1, _scaled(recipe.width, thick, scale, 1) - 1)
        cv2.line(mask, (x, y), (next_x, next_y), HOLE, brush)
        x, y = next_x, next_y


def _lama_box(mask: Mask, rng: np.random.Generator, *, recipe: LamaRecipe) -> None:
    height, width = mask.shape
    scale = min(height, width) / 256
    a, b, c, d = rng.random(4).tolist()
    margin = round(recipe.margin * scale)
    tall, wide = _scaled(recipe.box_side, a, scale), _scaled(recipe.box_side, b, scale)
    top = margin + int(c * max(0, height - 2 * margin - tall + 1))
    left = margin + int(d * max(0, width - 2 * margin - wide + 1))
    mask[top : top + tall, left : left + wide] = HOLE


def _scaled(pixels: tuple[int, int], uniform: float, scale: float, more: int = 0) -> int:
    """Draw from a range of whole pixels at 256 px, both ends included, add ``more``, and scale."""
    low, high = pixels
    return max(1, round((low - 0.5 + (high - low + 1) * uniform + more) * scale))


def large_stroke(mask: Mask, rng: np.random.Generator) -> None:
    """Add a small box, a large box or a brush stroke, as often as MAT's masks hold them (2 : 1 : 4)."""
    part = rng.random() * 7
    if part < 3:
        _large_box(mask, rng, 2 if part < 2 else 1)
    else:
        _large_brush(mask, rng)


def paint_large(mask: Mask, rng: np.random.Generator) -> None:
    """Fill an empty mask as MAT does at 512 px (Li et al. 2022, after CoModGAN, Zhao et al. 2021).

    0-4 boxes of up to half the sides, 0-2 of up to the whole sides, hanging over the border by up to half of
    themselves, and 0-8 brush strokes of 4-17 segments, 12-48 px wide at 512 px; an empty mask is drawn anew.
    """
    while not mask.any():
        for most, divisor in ((4, 2), (2, 1)):
            for _ in range(rng.integers(0, most + 1)):
                _large_box(mask, rng, divisor)
        for _ in range(rng.integers(0, 9)):
            _large_brush(mask, rng)


def _large_box(mask: Mask, rng: np.random.Generator, divisor: int) -> None:
    height, width = mask.shape
    a, b, c, d = rng.random(4).tolist()
    tall, wide = math.ceil(a * height / divisor), math.ceil(b * width / divisor)
    top, left = int(c * height) - tall // 2, int(d * width) - wide // 2
    mask[max(0, top) : max(0, top + tall), max(0, left) : max(0, left + wide)] = HOLE


def _large_brush(mask: Mask, rng: np.random.Generator) -> None:
    brush_stroke(mask, rng, most_segments=17, width=(12, 48), reference=512)
