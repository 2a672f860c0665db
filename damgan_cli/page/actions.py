"""What is done on the page, as it sends it (vectors, in pixels of the photo), and as pixels of a mask."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from damgan_cli.errors import DamganError
from damgan_cli.photos.fill import bounding_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hole = NDArray[np.bool_]
    Opacity = NDArray[np.uint8]

MOST_POINTS = 20_000
MOST_ACTIONS = 5_000
LARGEST_BRUSH = 4096  # px
_SHIFT = 4  # bits of a pixel's fraction that OpenCV draws with


class MalformedError(DamganError):
    """What came is not what the page sends."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """A stroke of the brush or of the eraser, along a line."""

    points: NDArray[np.float64]
    """(N, 2) x, y in pixels of the upright photo; the first pixel lies between 0 and 1."""
    size: float
    """Diameter in px."""
    hardness: float
    """Share of the radius that is fully opaque; from there on opacity falls to 0 at the radius."""
    erase: bool

    def draw(self, opacity: Opacity) -> None:
        """Paint into ``opacity`` (H, W), 0-255, as brushes do: soft edges that overlap add up."""
        height, width = opacity.shape
        reach = self.size / 2
        points = np.clip(self.points, -reach - 1, np.array([width, height]) + reach + 1)
        if self.hardness >= 1 or self.size <= 2:
            _line(opacity, points, round(self.size), 0 if self.erase else 255)
            return
        low = np.floor(points.min(axis=0) - reach).astype(int)
        high = np.ceil(points.max(axis=0) + reach).astype(int) + 1
        around = np.full(high[::-1] - low[::-1], 255, np.uint8)
        _line(around, points - low, 1, 0)
        distance = cv2.distanceTransform(around, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        start, stop = np.maximum(low, 0), np.minimum(high, [width, height])
        inside = tuple(slice(start[i] - low[i], stop[i] - low[i]) for i in (1, 0))
        part = opacity[start[1] : stop[1], start[0] : stop[0]]
        left = 1 - np.clip((reach - distance[inside]) / (reach * (1 - self.hardness)), 0, 1)
        part[:] = np.rint(part * left if self.erase else 255 - (255 - part.astype(np.float32)) * left)


@dataclass(frozen=True)
class Box:
    """A rectangle: left, top, right and bottom in px, of pixels whose middle it holds."""

    sides: tuple[float, float, float, float]
    erase: bool

    def draw(self, opacity: Opacity) -> None:
        """Paint into ``opacity`` (H, W)."""
        left, top, right, bottom = (max(0, round(side)) for side in self.sides)
        opacity[top:bottom, left:right] = 0 if self.erase else 255


@dataclass(frozen=True, eq=False)
class Lasso:
    """What a line goes around, (N, 2) x, y in px."""

    points: NDArray[np.float64]
    erase: bool

    def draw(self, opacity: Opacity) -> None:
        """Paint into ``opacity`` (H, W)."""
        cv2.fillPoly(opacity, [_fixed(self.points)], 0 if self.erase else 255, cv2.LINE_8, _SHIFT)


@dataclass(frozen=True)
class Clear:
    """All that is painted goes."""

    def draw(self, opacity: Opacity) -> None:
        """Paint into ``opacity`` (H, W)."""
        opacity[:] = 0


@dataclass(frozen=True, eq=False)
class Found:
    """Pixels that a program found; kept as bits of the smallest box around them."""

    corner: tuple[int, int]
    shape: tuple[int, int]
    bits: NDArray[np.uint8]
    what: str = ""
    """``object``, ``text``, ``scratches`` or ``fakeness``; empty for a hole."""

    @classmethod
    def of(cls, hole: Hole, what: str = "") -> Found:
        """From (H, W)."""
        if not hole.any():
            return cls((0, 0), (0, 0), np.zeros(0, np.uint8), what)
        rows, columns = bounding_box(hole)
        part = hole[rows, columns]
        return cls((rows.start, columns.start), (part.shape[0], part.shape[1]), np.packbits(part), what)

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the box."""
        (top, left), (height, width) = self.corner, self.shape
        return slice(top, top + height), slice(left, left + width)

    @property
    def part(self) -> Hole:
        """Its pixels in the box, (h, w)."""
        count = self.shape[0] * self.shape[1]
        return np.unpackbits(self.bits, count=count).reshape(self.shape).astype(bool)

    def draw(self, opacity: Opacity) -> None:
        """Paint into ``opacity`` (H, W)."""
        opacity[self.box][self.part] = 255


@dataclass(frozen=True, eq=False)
class Filled:
    """A hole was filled: what came out, as many values as it has pixels."""

    hole: Found
    rgb: NDArray[np.uint8]
    """(N, 3)."""
    fakeness: NDArray[np.uint8]
    """(N,), 0-255."""
    weights: str
    fit: str
    again: bool = False
    """Whether it stands in place of the fill before it, whose hole it has."""
    number: int = field(default_factory=itertools.count(1).__next__)
    """Tells it from all others."""


Paint = Stroke | Box | Lasso | Clear | Found
Action = Paint | Filled


def paint_from(document: dict[str, Any]) -> Paint:
    """What the page sent: a stroke, box, lasso or clearing. Raises MalformedError."""
    kind, erase = document.get("kind"), document.get("erase") is True
    if kind == "stroke":
        size = number(document, "size", 1, LARGEST_BRUSH)
        return Stroke(points(document, 1), size, number(document, "hardness", 0, 1), erase)
    if kind == "lasso":
        return Lasso(points(document, 3), erase)
    if kind == "box":
        left, top, right, bottom = sides(document)
        return Box((left, top, right, bottom), erase)
    if kind == "clear":
        return Clear()
    raise MalformedError("There is no such kind of paint.")


def number(document: dict[str, Any], name: str, low: float, high: float) -> float:
    """A number from ``low`` to ``high``. Raises MalformedError."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise MalformedError(f"{name} must be a number from {low:g} to {high:g}.")
    return float(value)


def points(document: dict[str, Any], least: int, name: str = "points") -> NDArray[np.float64]:
    """A list of x, y: (N, 2), from ``least`` to `MOST_POINTS` of them. Raises MalformedError."""
    given = document.get(name)
    if isinstance(given, list) and least <= len(given) <= MOST_POINTS:
        try:
            array = np.array(given, np.float64).reshape(len(given), -1)
        except (ValueError, TypeError, OverflowError):
            array = np.zeros((0, 0))
        if array.shape == (len(given), 2) and np.all(np.abs(array) < 1e6):
            return array
    raise MalformedError(f"{name} must be {least} to {MOST_POINTS} pairs of numbers.")


def sides(document: dict[str, Any], name: str = "box") -> tuple[float, float, float, float]:
    """Left, top, right and bottom. Raises MalformedError."""
    given = document.get(name)
    corners = [given[:2], given[2:]] if isinstance(given, list) and len(given) == 4 else None
    array = points({name: corners}, 2, name)
    (left, top), (right, bottom) = np.sort(array, axis=0).tolist()
    return left, top, right, bottom


def _line(target: Opacity, points: NDArray[np.float64], width: int, value: int) -> None:
    if len(points) == 1:  # a tap
        points = np.concatenate([points, points])
    cv2.polylines(target, [_fixed(points)], False, value, max(1, width), cv2.LINE_8, _SHIFT)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """As OpenCV takes them, to which a whole number is the middle of a pixel."""
    return np.rint((points - 0.5) * (1 << _SHIFT)).astype(np.int32)
