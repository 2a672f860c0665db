"""Boxes, polygons and circles as one writes them on a command line, and the hole they make in a photo.

A number is in px, or with ``%`` a share of the photo's width (X, W), height (Y, H) or shorter side (R). X and
Y count from the upper left corner, or, written ``right=X`` and ``bottom=Y``, from the right and bottom edge:
a box then has its own right or bottom side so far from that edge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Hole = NDArray[np.bool_]

FORMS = {"box": "X,Y,W,H", "polygon": "X,Y,X,Y,X,Y,...", "circle": "X,Y,R", "point": "X,Y"}
"""How each kind of shape is written."""

_EXAMPLES = {
    "box": "10,20,300,80, or right=2%,bottom=2%,30%,8%",
    "polygon": "10,10,200,10,100,150",
    "circle": "50%,50%,10%",
    "point": "120,80, or 50%,30%",
}
_NUMBER = re.compile(r"(?:(left|top|right|bottom)=)?(\d+(?:\.\d+)?)(%?)")
_HALF = 8  # bits of a pixel's fraction, as OpenCV draws


@dataclass(frozen=True)
class Length:
    """A number of a shape."""

    value: float
    """In px, or in per cent."""
    percent: bool
    far: bool
    """Whether it counts from the right or bottom edge."""

    def px(self, whole: int) -> float:
        """In px, where 100 % is ``whole``."""
        return self.value * whole / 100 if self.percent else self.value


@dataclass(frozen=True)
class Shape:
    """One box, polygon, circle or point."""

    kind: str
    """A key of `FORMS`."""
    numbers: tuple[Length, ...]
    text: str
    """As it was written."""

    def place(self, height: int, width: int) -> tuple[float, ...]:
        """Its numbers in px, X and Y from the upper left corner, in a photo of (height, width)."""
        if self.kind == "box":
            x, y, wide, tall = self.numbers
            w, h = wide.px(width), tall.px(height)
            left, top = x.px(width), y.px(height)
            return (width - left - w if x.far else left), (height - top - h if y.far else top), w, h
        places = []
        for i, number in enumerate(self.numbers):
            whole = min(width, height) if self.kind == "circle" and i == 2 else (width, height)[i % 2]
            places.append(whole - number.px(whole) if number.far else number.px(whole))
        return tuple(places)

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, width and height in whole px of a box, cut to the photo, or MaskError."""
        left, top, wide, tall = self.place(height, width)
        x0, x1 = max(0, round(left)), min(width, round(left + wide))
        y0, y1 = max(0, round(top)), min(height, round(top + tall))
        if x0 >= x1 or y0 >= y1:
            raise self._outside(height, width)
        return x0, y0, x1 - x0, y1 - y0

    def draw(self, hole: Hole) -> None:
        """Add it to ``hole`` (H, W), True inside. Raises MaskError if it lies outside."""
        height, width = hole.shape
        if self.kind == "box":
            left, top, wide, tall = self.box(height, width)
            hole[top : top + tall, left : left + wide] = True
            return
        drawn = np.zeros(hole.shape, np.uint8)
        # Pixel i covers i to i + 1, and OpenCV's coordinates are those of the centres.
        places = [round((place - 0.5) * (1 << _HALF)) for place in self.place(height, width)]
        if self.kind == "circle":
            radius = max(0, round(self.place(height, width)[2] * (1 << _HALF)))
            cv2.circle(drawn, (places[0], places[1]), radius, 1, -1, cv2.LINE_8, _HALF)
        else:
            cv2.fillPoly(drawn, [np.array(places, np.int32).reshape(-1, 2)], 1, cv2.LINE_8, _HALF)
        if not drawn.any():
            raise self._outside(height, width)
        hole |= drawn > 0

    def _outside(self, height: int, width: int) -> MaskError:
        return MaskError(f"The {self.kind} {self.text} lies outside of the photo ({width}x{height}).")


def parse_shape(kind: str, text: str) -> Shape:
    """Read a shape of ``kind`` (a key of `FORMS`) from its text. Raises MaskError."""
    parts = [part.strip() for part in text.split(",")]
    numbers = [_length(part, i, kind) for i, part in enumerate(parts)]
    count, fits = len(parts), {"box": 4, "circle": 3, "point": 2}
    enough = count == fits[kind] if kind in fits else count >= 6 and count % 2 == 0
    flat = kind in {"box", "circle"} and any(number and not number.value for number in numbers[2:])
    if not enough or flat or None in numbers:
        raise MaskError(
            f"{text!r} is no {kind}.",
            f"Write {FORMS[kind]} in px or %, such as {_EXAMPLES[kind]}.",
        )
    return Shape(kind, tuple(number for number in numbers if number), text)


def _length(part: str, index: int, kind: str) -> Length | None:
    match = _NUMBER.fullmatch(part)
    if not match:
        return None
    edge, place = match[1], kind == "polygon" or index < 2
    if edge and (not place or edge not in (("left", "right"), ("top", "bottom"))[index % 2]):
        return None
    return Length(float(match[2]), match[3] == "%", edge in {"right", "bottom"})


def draw_shapes(shapes: Iterable[Shape], height: int, width: int) -> Hole:
    """All ``shapes`` together: (height, width) bool, True inside of any. Raises MaskError."""
    hole = np.zeros((height, width), bool)
    for shape in shapes:
        shape.draw(hole)
    return hole
