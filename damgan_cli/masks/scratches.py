"""Scratches and dust on scans of old photos: lines and specks that differ from both sides.

An edge of what the photo shows differs from one side only; a scratch from both. So a line's mean is compared
with the means of the lines beside it, and the smaller difference counts (the oriented two-sided operator of
line detection, Fischler, Tenenbaum & Wolf 1981), in 16 directions, for bright and dark lines, in copies of
the photo reduced by 1, 2 and 4. Dust is what a small opening or closing removes. Both are compared with what
the surroundings have of their own: grass is full of lines, a sky has none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Hole = NDArray[np.bool_]
    Pixels = NDArray[np.uint8]
    Levels = NDArray[np.float32]
    Box = tuple[int, int, int, int]

_DIRECTIONS = 16
_LENGTH = 21  # px of the line that is averaged, at each scale
_SHORTEST = 32  # px of a scratch at each scale
_WIDEST = 5  # px of a line at each scale, its soft sides included
_BESIDE = 3  # px from a line to those it is compared with
_REDUCTIONS = (1, 2)
_AROUND = 48  # px: how far what is usual is taken from
_GRAIN = 2.0  # 8-bit levels that any scan has of noise


def scratch_mask(photo: Pixels, strength: float = 0.5, region: Box | None = None) -> Hole:
    """Mark scratches and dust of ``photo`` (H, W, 3) uint8 RGB: (H, W) bool, True = scratch and its rim.

    ``strength`` (0-1) is how faint a scratch may be: at 0 only what stands out clearly, at 1 much that the
    photo shows itself is marked too. ``region`` (left, top, width, height, in px) limits what is marked.
    Raises MaskError for another strength, and for a region outside of the photo.
    """
    if not 0 <= strength <= 1:
        raise MaskError(f"A strength of {strength:g} is not possible.", "Give one from 0 to 1, such as 0.5.")
    height, width = photo.shape[:2]
    left, top, wide, tall = region or (0, 0, width, height)
    place = slice(max(0, top), max(0, top + tall)), slice(max(0, left), max(0, left + wide))
    if not photo[place].size:
        raise MaskError(f"The region {left},{top},{wide},{tall} lies outside of the photo.")
    level = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    threshold = 9.0 * 4.0**-strength  # times what is usual around: 9 at 0, 4.5 at 0.5, 2.25 at 1
    found = np.zeros((height, width), np.uint8)
    for reduction in _REDUCTIONS:
        size = max(1, width // reduction), max(1, height // reduction)
        if min(size) < 2 * _LENGTH:
            break
        small = np.asarray(cv2.resize(level, size, interpolation=cv2.INTER_AREA), np.float32)
        lines = _lines(small, threshold)
        lines |= _specks(small, threshold)
        grown = cv2.dilate(lines.astype(np.uint8), np.ones((3, 3), np.uint8))
        found[cv2.resize(grown, (width, height), interpolation=cv2.INTER_NEAREST) > 0] = 1
    hole = np.zeros((height, width), bool)
    hole[place] = found[place] > 0
    return hole


def _lines(level: Levels, threshold: float) -> Hole:
    """Lines of (h, w), brighter or darker than both of their sides, that keep their direction for a while."""
    responses = np.zeros((2, *level.shape), np.float32)
    ways = np.zeros(responses.shape, np.int8)
    for number, (line, one, other) in enumerate(_sides(level)):
        uneven = 0.5 * np.abs(one - other)  # as at an edge beside the line
        for kind, apart in enumerate(
            (np.minimum(line - one, line - other), np.minimum(one - line, other - line))
        ):
            better = apart - uneven > responses[kind]
            np.copyto(responses[kind], apart - uneven, where=better)
            np.copyto(ways[kind], np.int8(number), where=better)
    hole = np.zeros(level.shape, bool)
    for response, way in zip(responses, ways, strict=True):
        usual = _usual(response)
        strong, weak = response > threshold * usual, response > 0.6 * threshold * usual
        for number in range(_DIRECTIONS):
            turn = np.abs(way - number)
            alike = np.minimum(turn, _DIRECTIONS - turn) <= 1
            hole |= _long_parts(strong & alike, weak & alike)
    return hole


def _sides(level: Levels) -> Iterator[tuple[Levels, Levels, Levels]]:
    """For each direction the means along a line through each pixel, and along those on both sides of it."""
    smooth = cv2.GaussianBlur(level, (0, 0), 0.8)
    for number in range(_DIRECTIONS):
        angle = math.pi * number / _DIRECTIONS
        kernel = np.zeros((_LENGTH, _LENGTH), np.float32)
        middle, reach = _LENGTH // 2, _LENGTH / 2
        ends = [
            (round(middle + sign * reach * math.cos(angle)), round(middle + sign * reach * math.sin(angle)))
            for sign in (-1, 1)
        ]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1)
        line = np.asarray(cv2.filter2D(smooth, cv2.CV_32F, kernel / kernel.sum()), np.float32)
        step = round(-_BESIDE * math.sin(angle)), round(_BESIDE * math.cos(angle))
        yield line, _moved(line, *step), _moved(line, -step[0], -step[1])


def _moved(pixels: Levels, right: int, down: int) -> Levels:
    move = np.array([[1, 0, right], [0, 1, down]], np.float32)
    size = pixels.shape[1], pixels.shape[0]
    return np.asarray(
        cv2.warpAffine(pixels, move, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def _usual(response: Levels) -> Levels:
    """What is usual of ``response`` (h, w, >= 0) around each pixel; peaks of a scratch hardly count."""
    capped = np.minimum(response, 3 * float(np.median(response)) + _GRAIN)
    around = 2 * _AROUND + 1
    near = cv2.blur(capped, (around, around), borderType=cv2.BORDER_REFLECT)
    return np.asarray(near + 0.5 * _GRAIN, np.float32)


def _long_parts(strong: Hole, weak: Hole) -> Hole:
    """The parts of ``weak`` that hold something strong, and are long and thin."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(weak.astype(np.uint8), connectivity=8)
    extent = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    width = stats[:, cv2.CC_STAT_AREA] / np.maximum(extent, 1)
    held = np.bincount(labels[strong], minlength=count)
    keep = (extent >= _SHORTEST) & (width <= _WIDEST) & (held >= 0.5 * extent)
    keep[0] = False
    return np.asarray(keep[labels])


def _specks(level: Levels, threshold: float) -> Hole:
    """Small compact spots of (h, w) that an opening or closing by a disc of 7 px removes."""
    hole = np.zeros(level.shape, bool)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    for way in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        response = np.asarray(cv2.morphologyEx(level, way, disc), np.float32)
        strong = response > 2.5 * threshold * _usual(response)
        weak = (response > threshold * _usual(response)).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(weak, connectivity=8)
        area = stats[:, cv2.CC_STAT_AREA]
        square = stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT]
        held = np.bincount(labels[strong], minlength=count)
        keep = (area <= 80) & (area >= 0.35 * square) & (held >= 1)
        keep[0] = False
        hole |= keep[labels]
    return hole
