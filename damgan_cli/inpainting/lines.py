"""Lines behind a hole: an edge that ends at the hole on one side, and goes on at the other.

Horizons, skirtings and table edges behind an object are straight, but a network's fill lets them sag, and
shift maps (shifts.py) would follow it. So wherever two edges at the border of a hole lie on one straight line
and look alike across it, the line is drawn into the fill, and pieces there are to be moved along it (as
curves a user draws are in Sun et al. 2005; Huang et al. 2014 find regularity at the border likewise).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import cv2
import numpy as np

from damgan_cli.inpainting.resample import at_points, gray, rescaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float32]  # (N, 2): rows and columns

_ENDS = 3, 8  # px from the hole: where edges that reach it are looked for
_UNSEEN = 2.5  # px from the hole: what touches it tells no direction
_FINE, _NEARBY = 1.0, 2.0  # px (σ): slopes are of what is coarser than the one, averaged over the other
_COHERENT, _STEEP = 0.7, 0.1  # least coherence (0 to 1) and slope (RMS a pixel, sum of colours) of an edge
_LONG = 12  # px at least from end to end
_ANGLE = np.cos(np.deg2rad(8))  # an edge may differ so much from the line, as few pixels tell its direction
_PAIRS = 400  # of the steepest edges, at most
_NUDGES = np.arange(-1.5, 1.6, 0.25)  # px by which the second end is moved across
_OUTWARD = np.arange(6)  # px from an end, away from the hole: what a profile is the mean of
_ACROSS = np.arange(-4, 4.5, 0.5)  # px from the line: what is compared
_STEP, _WIDE = 0.5, np.arange(-10, 10.5, 0.5)  # likewise what is drawn, if both ends agree
_SEEN = 0.7  # share of it that must be known
_UNLIKE = 0.25  # difference of both profiles, squared, against their contrast, at most
_DRAWN = 6.0  # px: so far from a line its profile is drawn in any case,
_AGREE = 0.15  # and farther while both ends differ by less (RMS)
_FADE = 3.0  # px
_MOST = 8  # lines
_SAME = 3.0  # px: nearer lines are one


class Lines(NamedTuple):
    """What goes on behind a hole, for shift maps."""

    directions: Points
    """(n, 2): unit vectors along the lines, possibly none."""
    across: NDArray[np.float32]
    """(h, w, 2): unit vectors across the line that is drawn there, shorter where it fades, 0 beside."""

    def at(self, factor: float, shape: tuple[int, ...]) -> Lines:
        """The same for an image 1 / ``factor`` times as large, cut or continued to ``shape``."""
        return Lines(self.directions, rescaled(self.across, factor, shape))


def with_lines(
    fill: NDArray[np.float32], image: NDArray[np.float32], hole: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], Lines]:
    """``fill`` (h, w, 3) in [-1, 1] with the lines that go on behind ``hole`` (h, w), and these.

    ``image`` (h, w, 3) has the known pixels. Known pixels of ``fill`` stay as they are.
    """
    known = (~hole).astype(np.float32)
    at: Points = np.argwhere(hole).astype(np.float32)
    share, weights = (np.zeros(len(at), np.float32) for _ in range(2))
    colours = np.zeros((len(at), 3), np.float32)
    across = np.zeros((len(at), 2), np.float32)
    directions = []
    for first, second in _through(image, hole):
        length = np.linalg.norm(second - first)
        along = (second - first) / length
        normal = _normal(along)
        profiles = []
        for end, outward in ((first, -along), (second, along)):
            seen, there = _beside(image, known, end[None], outward[None], normal[None], _WIDE)
            counts = there[0].sum(0)
            mean = (seen[0] * there[0][..., None]).sum(0) / np.maximum(counts, 1)[:, None]
            profiles.append((mean, counts > _OUTWARD.size / 3))
        (one, there), (other, too) = profiles
        low, high = _extent(one - other, there & too)
        far, beside = (at - first) @ along / length, (at - first) @ normal
        drawn = np.clip(np.minimum(beside - low, high - beside) / _FADE, 0, 1).astype(np.float32)
        drawn[(far < 0) | (far > 1)] = 0
        bins = np.clip((beside - _WIDE[0]) / _STEP, 0, len(_WIDE) - 1).astype(np.float32)
        where = np.stack([np.zeros_like(bins), bins], 1)
        one, other = (at_points(side[None].astype(np.float32), where) for side in (one, other))
        mine = drawn * np.exp(-np.abs(beside) / _FADE)
        colours += mine[:, None] * (one + far[:, None] * (other - one))
        weights += mine
        stronger = drawn > np.linalg.norm(across, axis=1)
        across[stronger] = drawn[stronger, None] * normal
        share = np.maximum(share, drawn)
        directions.append(along)
    result = fill.copy()
    kept = fill[hole]
    mean = colours / np.maximum(weights, 1e-6)[:, None]
    result[hole] = kept + share[:, None] * (np.where(weights[:, None] > 0, mean, kept) - kept)
    layer = np.zeros((*hole.shape, 2), np.float32)
    layer[hole] = across
    return result, Lines(np.array(directions, np.float32).reshape(-1, 2), layer)


def _normal(along: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([along[..., 1], -along[..., 0]], -1)


def _extent(differ: NDArray[np.float32], there: NDArray[np.bool_]) -> tuple[float, float]:
    """From where to where (px across) a profile is drawn, if both ends ``differ`` (n, 3) so, where known."""
    agree = there & ((np.sqrt(np.square(differ).mean(1)) < _AGREE) | (np.abs(_WIDE) <= _DRAWN))
    low = high = len(_WIDE) // 2
    while low > 0 and agree[low - 1]:
        low -= 1
    while high < len(_WIDE) - 1 and agree[high + 1]:
        high += 1
    return float(_WIDE[low]), float(_WIDE[high])


def _through(image: NDArray[np.float32], hole: NDArray[np.bool_]) -> list[tuple[Points, Points]]:
    """Both ends (2,) of each line, the surest first: none crosses another, or is the same."""
    places, along, steep = _edges(image, hole)
    first, second = _facing(places, along, steep, hole)
    if not len(first):
        return []
    costs = []
    known = (~hole).astype(np.float32)
    whole = places[second] - places[first]
    normal = _normal(whole / np.linalg.norm(whole, axis=1)[:, None])
    for by in _NUDGES:
        ends = places[first], places[second] + by * normal
        costs.append(_unlike(image, known, *ends))
    best = np.argmin(costs, 0)
    cost = np.take_along_axis(np.array(costs), best[None], 0)[0]
    moved = places[second] + _NUDGES[best][:, None].astype(np.float32) * normal
    lines: list[tuple[Points, Points]] = []
    for number in np.argsort(cost / (steep[first] + steep[second])):
        line = places[first[number]], moved[number]
        if cost[number] <= _UNLIKE and not any(_in_conflict(line, other) for other in lines):
            lines.append(line)
    return lines[:_MOST]


def _edges(image: NDArray[np.float32], hole: NDArray[np.bool_]) -> tuple[Points, Points, NDArray[np.float32]]:
    """Places of edges near the hole, their directions (unit vectors), and how steep they are.

    By the structure tensor of known pixels (Bigün & Granlund 1987).
    """
    depth = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    counts = (depth > _UNSEEN).astype(np.float32)
    smooth = cv2.GaussianBlur(image, (0, 0), _FINE)
    across, down = (cv2.Scharr(smooth, cv2.CV_32F, *axis, scale=1 / 32) for axis in ((1, 0), (0, 1)))
    weight = np.maximum(cv2.GaussianBlur(counts, (0, 0), _NEARBY), 1e-3)
    xx, yy, xy = (
        cv2.GaussianBlur(3 * gray(one * other) * counts, (0, 0), _NEARBY) / weight
        for one, other in ((across, across), (down, down), (across, down))
    )
    apart = np.hypot(xx - yy, 2 * xy)  # of the tensor's two eigenvalues
    steep = np.sqrt(apart)
    ring = (depth >= _ENDS[0]) & (depth <= _ENDS[1])
    ring &= (apart > _COHERENT * (xx + yy)) & (steep > _STEEP)
    ring[:2] = ring[-2:] = ring[:, :2] = ring[:, -2:] = False
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)[ring]
    slope: Points = np.stack([np.sin(angle), np.cos(angle)], 1)
    places: Points = np.argwhere(ring).astype(np.float32)
    beside = [at_points(steep, places + side * slope) for side in (-1, 1)]
    thin = (steep[ring] >= beside[0]) & (steep[ring] >= beside[1])  # the middle of each edge
    return places[thin], _normal(slope[thin]), steep[ring][thin]


def _facing(
    places: Points, along: Points, steep: NDArray[np.float32], hole: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of edges, two and two, that lie on one line with nothing but hole between them."""
    first, second = np.triu_indices(len(places), 1)
    whole = places[second] - places[first]
    length = np.maximum(np.linalg.norm(whole, axis=1), 1e-6)
    fits = length > _LONG
    for edge in (first, second):
        fits &= np.abs((whole * along[edge]).sum(1)) > _ANGLE * length
    first, second, whole, length = first[fits], second[fits], whole[fits], length[fits]
    steps = np.linspace(0, 1, 33, dtype=np.float32)[None, :, None]
    inside = at_points(hole.astype(np.float32), places[first][:, None] + steps * whole[:, None]).mean(1)
    fits = inside * length > length - 2 * _ENDS[1] - 3
    first, second = first[fits], second[fits]
    steepest = np.argsort(-steep[first] - steep[second], kind="stable")[:_PAIRS]
    return first[steepest], second[steepest]


def _unlike(
    image: NDArray[np.float32], known: NDArray[np.float32], first: Points, second: Points
) -> NDArray[np.float32]:
    """(N,): how unlike two ends of lines (N, 2) look across the line, but for their brightness; 0 = alike."""
    along = second - first
    along = along / np.linalg.norm(along, axis=1)[:, None]
    normal = _normal(along)
    (one, there), (other, too) = (
        _beside(image, known, end, outward, normal, _ACROSS)
        for end, outward in ((first, -along), (second, along))
    )
    counts = (there & too)[..., None]
    total = np.maximum(counts.sum((1, 2)), 1)
    profiles = []
    for side in (one, other):
        centred = (side - ((side * counts).sum((1, 2)) / total)[:, None, None]) * counts
        profiles.append(centred.sum(1) / np.maximum(counts.sum(1), 1))
    contrast = sum(np.square(profile).mean((1, 2)) for profile in profiles) / 2 + 1e-6
    cost = np.square(profiles[0] - profiles[1]).mean((1, 2)) / contrast
    cost[counts.mean((1, 2, 3)) < _SEEN] = np.inf
    return cast("NDArray[np.float32]", cost)


def _beside(
    image: NDArray[np.float32],
    known: NDArray[np.float32],
    ends: Points,
    outward: Points,
    normal: Points,
    across: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(N, outward, across, 3): what there is at ends of lines, and whether it is known."""
    points = (
        ends[:, None, None]
        + _OUTWARD[None, :, None, None] * outward[:, None, None]
        + across[None, None, :, None] * normal[:, None, None]
    )
    return at_points(image, points), at_points(known, points) > 0.99


def _in_conflict(one: tuple[Points, Points], other: tuple[Points, Points]) -> bool:
    """Whether two lines cross or share an end, or are the same."""
    if min(np.linalg.norm(end - theirs) for end in one for theirs in other) < _SAME:
        return True

    def sides(line: tuple[Points, Points], points: tuple[Points, Points]) -> list[float]:
        normal = _normal((line[1] - line[0]) / np.linalg.norm(line[1] - line[0]))
        return [float((point - line[0]) @ normal) for point in points]

    theirs, mine = sides(one, other), sides(other, one)
    crossing = np.prod(theirs) < 0 and np.prod(mine) < 0
    return bool(crossing or max(map(abs, mine)) < _SAME)
