"""The object that a box or points mean: GrabCut on a reduced copy, then its rim and thin parts in detail.

GrabCut is Rother, Kolmogorov & Blake, SIGGRAPH 2004: mixtures of five Gaussians for the colours of object and
background, and a graph cut along strong edges. It takes seconds beyond half a megapixel, so it runs on a copy
of at most 480 px a side; its colour models then decide the pixels near the border in a copy of up to 1600 px.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from damgan_cli.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Hole = NDArray[np.bool_]
    Pixels = NDArray[np.uint8]
    Box = tuple[int, int, int, int]
    Point = tuple[float, float]

_COARSE, _FINE = 480, 1600  # px of the longer side: where the cut is made, where its rim is refined
_CONTEXT = 0.4  # of the box's sides: what is seen around it
_NO_RECT = (0, 0, 0, 0)  # the marks say it all
_ROUNDS = 5  # of GrabCut
_SURE = 2.5  # log odds from which a pixel outside of the cut is a thin part of the object
_TINY = 200  # px of the longer side where points try the sizes that their object may have
_REACHES = (0.06, 0.1, 0.16, 0.25, 0.36, 0.5)  # how far it may reach, in longer sides


def object_mask(
    photo: Pixels,
    box: Box | None = None,
    points: Sequence[Point] = (),
    not_points: Sequence[Point] = (),
) -> Hole:
    """Mark an object of ``photo`` (H, W, 3) uint8 RGB: (H, W) bool, True = object, with its rim.

    ``box`` (left, top, width, height, in px) encloses it; what lies outside is background. ``points`` (x, y,
    in px) lie on it, ``not_points`` on what is not meant. Without a box the object is the region around the
    points that is bounded by the strongest edges. All False if there is nothing that differs from the
    background. Raises MaskError without box and points, and if one of them lies outside of the photo.
    """
    height, width = photo.shape[:2]
    check_prompts(box, points, not_points, height, width)
    left, top, right, bottom = _view(box, height, width)
    view = photo[top:bottom, left:right]
    scale = min(1.0, _COARSE / max(view.shape[:2]))
    small = _scaled(view, scale)

    def placed(spots: Sequence[Point]) -> list[tuple[int, int]]:
        size = small.shape
        return [
            (min(int((x - left) * scale), size[1] - 1), min(int((y - top) * scale), size[0] - 1))
            for x, y in spots
            if left <= x < right and top <= y < bottom
        ]

    inside, outside = placed(points), placed(not_points)
    if box is None:
        marks = _marks_around(small, inside)
    else:
        marks = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
        x, y = (box[0] - left) * scale, (box[1] - top) * scale
        area = (
            slice(int(y), max(int(y) + 1, round(y + box[3] * scale))),
            slice(int(x), max(int(x) + 1, round(x + box[2] * scale))),
        )
        marks[area] = cv2.GC_PR_FGD
    if not (marks == cv2.GC_BGD).any():  # the box is the whole photo: its frame is taken for background
        marks[:2], marks[-2:], marks[:, :2], marks[:, -2:] = (cv2.GC_PR_BGD,) * 4
    radius = max(2, round(0.01 * max(small.shape[:2])))
    for spots, label in ((inside, cv2.GC_FGD), (outside, cv2.GC_BGD)):
        for spot in spots:
            cv2.circle(marks, spot, radius, label, -1)
    kinds = set(np.unique(marks).tolist())
    if not kinds & {cv2.GC_FGD, cv2.GC_PR_FGD} or not kinds & {cv2.GC_BGD, cv2.GC_PR_BGD}:
        return np.zeros((height, width), bool)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # the same photo gives the same mask
    cv2.grabCut(small, marks, _NO_RECT, background, foreground, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    coarse = _tidied((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD), inside)
    hole = np.zeros((height, width), bool)
    if coarse.any():
        allowed = _dilated(marks != cv2.GC_BGD, 1)
        hole[top:bottom, left:right] = _refined(view, coarse, allowed, background, foreground)
    return hole


def check_prompts(
    box: Box | None, points: Sequence[Point], not_points: Sequence[Point], height: int, width: int
) -> None:
    """Raise MaskError without box and points, and if one of them lies outside of a photo (height, width)."""
    if box is None and not points:
        raise MaskError(
            "An object needs a box or a point.", "Give --box X,Y,W,H around it or --point X,Y on it."
        )
    if box is not None:
        left, top, wide, tall = box
        if wide < 1 or tall < 1 or left >= width or top >= height or left + wide <= 0 or top + tall <= 0:
            raise MaskError(
                f"The box {left},{top},{wide},{tall} lies outside of the photo ({width}x{height})."
            )
    for x, y in (*points, *not_points):
        if not (0 <= x < width and 0 <= y < height):
            raise MaskError(f"The point {x:g},{y:g} lies outside of the photo ({width}x{height}).")


def _view(box: Box | None, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is looked at: the box and some of its surroundings."""
    if box is None:
        return 0, 0, width, height
    left, top, wide, tall = box
    aside, above = max(16, round(_CONTEXT * wide)), max(16, round(_CONTEXT * tall))
    return (
        max(0, left - aside), max(0, top - above),
        min(width, left + wide + aside), min(height, top + tall + above),
    )  # fmt: skip


def _scaled(pixels: Pixels, scale: float) -> Pixels:
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _marks_around(photo: Pixels, points: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
    """GrabCut's marks (h, w) for points alone: what is cut out around them by the border of most contrast.

    A cut is made in a small copy for each of some sizes that the object may have; the one whose border runs
    along the strongest edges, and does not end at the edge of what it was allowed, is the object.
    """
    scale = min(1.0, _TINY / max(photo.shape[:2]))
    tiny = _scaled(photo, scale)
    spots = [(int(x * scale), int(y * scale)) for x, y in points]
    gray = cv2.GaussianBlur(cv2.cvtColor(tiny, cv2.COLOR_RGB2LAB), (0, 0), 1).astype(np.float32)
    edges = sum(np.abs(cv2.Sobel(gray, cv2.CV_32F, *way)).max(axis=2) for way in ((1, 0), (0, 1)))
    typical = float(np.mean(edges)) + 1
    best, best_score = np.zeros(tiny.shape[:2], bool), -1.0
    for reach in _REACHES:
        marks = _marks_within(tiny.shape[:2], spots, round(reach * max(tiny.shape[:2])))
        if not (marks == cv2.GC_BGD).any():
            continue
        cv2.setRNGSeed(0)
        cv2.grabCut(tiny, marks, _NO_RECT, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
        _, labels = cv2.connectedComponents(((marks & 1) > 0).astype(np.uint8), connectivity=4)
        region = np.isin(labels, [labels[y, x] for x, y in spots]) & (labels > 0)
        ring = _dilated(region, 1) & ~region
        if not ring.any():
            continue
        free = marks[ring] != cv2.GC_BGD  # where the border is the cut's own choice
        score = float(np.minimum(edges[ring] / typical, 4)[free].sum()) / len(free)
        if score > best_score:
            best, best_score = region, score
    size = photo.shape[1], photo.shape[0]
    found = cv2.resize(best.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    near = max(8, round(0.25 * np.sqrt(np.count_nonzero(found))))
    marks = np.where(_dilated(found, near), np.uint8(cv2.GC_PR_BGD), np.uint8(cv2.GC_BGD))
    marks[found] = cv2.GC_PR_FGD
    return np.asarray(marks, np.uint8)


def _marks_within(shape: tuple[int, ...], spots: Sequence[tuple[int, int]], reach: int) -> NDArray[np.uint8]:
    """All beyond ``reach`` px of each of ``spots`` is background; half as near it is probably object."""
    marks = np.full(shape, cv2.GC_BGD, np.uint8)
    for radius, label in ((reach, cv2.GC_PR_BGD), (round(0.6 * reach), cv2.GC_PR_FGD), (2, cv2.GC_FGD)):
        for spot in spots:
            cv2.circle(marks, spot, radius, label, -1)
    return marks


def _dilated(hole: Hole, radius: int) -> Hole:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    return np.asarray(cv2.dilate(hole.astype(np.uint8), disc) > 0)


def _tidied(hole: Hole, points: Sequence[tuple[int, int]]) -> Hole:
    """Without crumbs (below 5 % of the largest part, without a point) and pinholes (below 2 %)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8), connectivity=8)
    if count < 2:
        return hole
    areas = stats[:, cv2.CC_STAT_AREA]
    largest = int(areas[1:].max())
    keep = areas >= 0.05 * largest
    keep[0] = False
    keep[[labels[y, x] for x, y in points if labels[y, x]]] = True
    tidy = keep[labels]
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~tidy).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.02 * largest
    small[0] = False
    return np.asarray(tidy | small[labels])


def _refined(
    view: Pixels,
    coarse: Hole,
    allowed: Hole,
    background: NDArray[np.float64],
    foreground: NDArray[np.float64],
) -> Hole:
    """The cut (h, w) brought to the size of ``view`` (H, W, 3), its rim and thin parts found there anew."""
    fine = _scaled(view, min(1.0, _FINE / max(view.shape[:2])))
    height, width = fine.shape[:2]
    step = max(1.0, width / coarse.shape[1])  # px of the fine copy in one of the coarse
    soft = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    within = cv2.resize(allowed.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    cut = soft > 0.5
    reach = max(4 * step, 0.12 * np.sqrt(np.count_nonzero(cut)))
    distance = cv2.distanceTransform((~cut).astype(np.uint8), cv2.DIST_L2, 5)
    inner = cv2.distanceTransform(cut.astype(np.uint8), cv2.DIST_L2, 5)
    look = within & (distance <= reach) & (inner <= 1.5 * step)
    odds = np.zeros((height, width), np.float32)
    colours = fine[look].astype(np.float64)
    odds[look] = np.clip(_log_density(colours, foreground) - _log_density(colours, background), -6, 6)
    odds = np.asarray(cv2.GaussianBlur(odds, (0, 0), 0.7), np.float32)
    rim = look & (distance <= 1.5 * step)
    refined = np.where(rim, odds + 6 * (soft - 0.5) > 0, cut)
    # what is as the object and thin: a strap, a pole; a broad patch would be something behind it
    likely = ((odds > _SURE) & look).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(2 * step) + 3,) * 2)
    thin = (likely - cv2.morphologyEx(likely, cv2.MORPH_OPEN, disc)) | refined
    _, labels = cv2.connectedComponents(thin.astype(np.uint8), connectivity=8)
    attached = np.unique(labels[cut & refined])
    joined = np.isin(labels, attached[attached > 0]) & (thin > 0)
    grow = max(2, round(0.004 * max(height, width)))
    joined = _dilated(_tidied(joined, ()), grow)
    size = view.shape[1], view.shape[0]
    return np.asarray(cv2.resize(joined.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5)


def _log_density(colours: NDArray[np.float64], model: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log density of colours (N, 3) under a mixture of GrabCut's: five weights, means and covariances."""
    weights, means = model[0, :5], model[0, 5:20].reshape(5, 3)
    covariances = model[0, 20:].reshape(5, 3, 3) + 1e-2 * np.eye(3)
    total = np.full(len(colours), 1e-300)
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        if weight > 0:
            apart = colours - mean
            power = -0.5 * np.einsum("ni,ij,nj->n", apart, np.linalg.inv(covariance), apart)
            total += weight * np.exp(power) / np.sqrt(np.linalg.det(covariance))
    return np.asarray(np.log(total))
