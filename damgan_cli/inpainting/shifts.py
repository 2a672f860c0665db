"""A shift map: a hole is filled with few large pieces of what is known, each copied by one shift.

Where every patch is found for itself (patchmatch.py), a horizon or a skirting behind an object is torn where
patches of unlike shifts meet. Here the shift of each place is one of some dozens, of which the photo repeats
itself (He & Sun 2012), and those that were found; which one, belief propagation chooses, so that all of them
together cost least (Pritch et al. 2009): a shift costs what its patch differs from the network's fill, and
two neighbours what their shifts show differently between them. So pieces meet where they agree, and known
surroundings go on. Each piece gets brighter or darker until it meets its neighbours (as photos of a panorama,
Brown & Lowe 2007), but not where they differ in more than brightness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import cv2
import numpy as np

from damgan_cli.inpainting.patchmatch import multiplied, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from damgan_cli.inpainting.lines import Lines
    from damgan_cli.inpainting.patchmatch import Field, Numbers, Octave

_QUERIES = 600  # known patches that look for one like them, to tell by which shifts the photo repeats itself
_BATCH = 64  # of them at once
_SOURCES = 1 << 17  # known patches that are looked at, at most
_FAR = 16  # px: a patch is always like those beside it
_REPEATED, _FOUND = 25, 15  # shifts, of the ones and of the others, at most
_LEVEL_AND_UPRIGHT = np.array(  # px: horizons and walls go on so, and too few patches of theirs may tell it
    [(0, sign * by) for sign in (-1, 1) for by in (12, 18, 24, 32, 42, 56, 74, 96)]
    + [(sign * by, 0) for sign in (-1, 1) for by in (12, 18, 24, 32, 42, 56)]
)
_APART = 4, 2  # px between two of them, likewise
_AROUND = np.array([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)])  # cells whose found shifts a cell may take too
_NUDGES = np.array([(y, x) for y in (0, -1, 1) for x in (0, -1, 1)])  # px of a finer octave
_LEVEL = 0.01  # costs are mean squared differences of colours in [-1, 1], in units of this
_GUIDED, _GUIDED_FINER = 0.6, 0.01  # weight of the difference from the network's fill, at first and later
_SURE, _NEARBY = 20.0, 5.0  # so many times more it counts at the border; px of depth in which that fades
_WORST_GUIDE, _WORST_SEAM = 15.0, 60.0  # no difference costs more
_HEIGHT = 0.02  # cost of a px up or down: a photo changes more that way, from ground to sky
_HIGH, _HIGHER = 64, 0.2  # px; cost of each beyond
_STRAIGHT, _ASTRAY = 20.0, 8.0  # cost of a px across a line that goes on there, and px at most that cost
_ALONG = np.array([6, 12, 18, 24, 32, 42, 56, 74, 96])  # px: lines may go on so
_CHANGE = 0.5  # cost of unlike shifts as such
_SWEEPS, _SWEEPS_FINER = 3, 2
_NEVER = np.float32(1e6)
_DETAIL, _BRIGHTNESS = 0.06, 0.3  # differences (RMS, mean) of two pieces that halve how far they are matched
_EDGE = 0.1  # likewise the contrast (σ) of what is copied
_STAY = 5e-4  # how strongly a piece keeps its own brightness
_STEPS, _STEPS_FINER = 200, 60  # of conjugate gradients, at most
_ENOUGH = 1e-9  # squared residual a place


class _Grid(NamedTuple):
    """The places of a field as a grid of (R, C) cells."""

    who: NDArray[np.intp]
    """(R, C): numbers of places."""
    there: NDArray[np.bool_]
    """(R, C): whether there is one."""
    inside: NDArray[np.bool_]
    """(R, C): whether it lies in the hole."""
    places: Numbers
    """(R, C)"""

    @classmethod
    def of(cls, field: Field, octave: Octave) -> _Grid:
        rows, columns = (np.flatnonzero((field.cells >= 0).any(axis)) for axis in (1, 0))
        cells = field.cells[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        who = np.maximum(cells, 0)
        places = field.places[who]
        return cls(who, cells >= 0, (cells >= 0) & ~rows_of(octave.known, places), places)

    def edges(self, row: int, axis: int) -> tuple[Numbers, NDArray[np.bool_]]:
        """The pixels between neighbours along an axis, and whether both are there."""
        first, second = _halves(self.places, axis)
        one, two = _halves(self.there, axis)
        between = (second - first) // row // 2 * row if axis == 0 else (second - first) // 2
        return first + between, one & two


def _halves(layer: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """What lies before, and behind, each edge along an axis."""
    return (layer[:-1], layer[1:]) if axis == 0 else (layer[:, :-1], layer[:, 1:])


def in_pieces(
    found: Field, alike: Octave, octave: Octave, lines: Lines, random: np.random.Generator
) -> Field:
    """The shift map of an octave, from the field ``found`` in ``alike`` (it changes).

    ``octave`` has sharp known pixels and the network's fill in the hole, ``alike`` known pixels as blurred as
    the fill. ``lines`` go on behind the hole (h, w).
    """
    grid = _Grid.of(found, octave)
    row = octave.row
    own = rows_of(found.offset, grid.who)
    repeated = _frequent(_repeats(octave, random), _REPEATED, _APART[0])
    guessed = _frequent(_shift(grid.places, own, row)[grid.inside], _FOUND, _APART[1])
    along = np.rint(np.outer(np.concatenate([-_ALONG, _ALONG]), lines.directions.ravel())).astype(np.intp)
    common = np.unique(np.concatenate([repeated, guessed, _LEVEL_AND_UPRIGHT, along.reshape(-1, 2)]), axis=0)
    shifts = np.broadcast_to(common[:, 0] * row + common[:, 1], (*grid.who.shape, len(common)))
    across = (grid.places % row)[..., None] + common[:, 1]
    down = (grid.places // row)[..., None] + common[:, 0]
    beyond = (across < 0) | (across >= row) | (down < 0) | (down >= len(octave.pixels) // row)
    near = np.stack([_moved(own, step) for step in _AROUND], -1)
    shifts = np.concatenate([near, np.where(beyond, own[..., None], shifts)], -1)
    high = np.abs(_shift(grid.places[..., None], shifts, row)[..., 0]).astype(np.float32)
    depth = cv2.distanceTransform(octave.hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    sure = 1 + np.float32(_SURE) * np.exp(-octave.in_layer(depth, grid.places) / np.float32(_NEARBY))
    cost = _cost(grid, shifts, alike, lines, _GUIDED * sure[..., None])
    cost += np.float32(_HEIGHT) * high + np.float32(_HIGHER) * np.maximum(high - np.float32(_HIGH), 0)
    return _chosen(found, grid, shifts, cost, octave, (_SWEEPS, _STEPS))


def nudged(handed: Field, alike: Octave, octave: Octave, lines: Lines) -> Field:
    """The shift map of a finer octave: the one ``handed`` on, each shift changed by one pixel at most."""
    grid = _Grid.of(handed, octave)
    shifts = rows_of(handed.offset, grid.who)[..., None] + _NUDGES[:, 0] * octave.row + _NUDGES[:, 1]
    cost = _cost(grid, shifts, alike, lines, _GUIDED_FINER)
    return _chosen(handed, grid, shifts, cost, octave, (_SWEEPS_FINER, _STEPS_FINER))


def _cost(
    grid: _Grid, shifts: NDArray[np.intp], alike: Octave, lines: Lines, guided: float | NDArray[np.float32]
) -> NDArray[np.float32]:
    """(R, C, K): what each shift of a place costs, for the weight of the fill, (R, C, 1) or one for all."""
    across = alike.in_layer(lines.across, grid.places)
    moved = _shift(grid.places[..., None], shifts, alike.row).astype(np.float32)
    astray = np.minimum(np.abs(np.einsum("rckd,rcd->rck", moved, across)), np.float32(_ASTRAY))
    return cast("NDArray[np.float32]", guided * _unlike_fill(grid, shifts, alike) + _STRAIGHT * astray)


def _chosen(
    field: Field,
    grid: _Grid,
    shifts: NDArray[np.intp],
    cost: NDArray[np.float32],
    octave: Octave,
    effort: tuple[int, int],
) -> Field:
    """``field`` with one of ``shifts`` (R, C, K) for each place, for their ``cost``, and its brightness.

    ``effort`` is the sweeps over the costs, and the steps for the brightness.
    """
    sweeps, steps = effort
    shifts = np.where(grid.inside[..., None], shifts, 0)  # known pixels stay
    usable = rows_of(octave.usable, grid.places[..., None] + shifts)
    usable[..., 0] |= ~usable.any(-1)  # then the first, as it was found
    cost = np.where(usable, cost, _NEVER).astype(np.float32)
    cost[~grid.inside] = _NEVER
    cost[~grid.inside, 0] = 0
    down, across = (_seams(grid, shifts, octave, axis) for axis in (0, 1))
    best = _propagated(cost, down, across, sweeps)
    chosen = np.take_along_axis(shifts, best[..., None], 2)[..., 0]
    field.offset[grid.who[grid.there]] = chosen[grid.there]
    field.cost[:] = 0
    gain = np.zeros((len(field.places), 3), np.float32) if field.gain is None else field.gain
    gain[grid.who[grid.there]] = _gains(grid, chosen, octave, gain[grid.who], steps)[grid.there]
    field.gain = gain
    return field


def _repeats(octave: Octave, random: np.random.Generator) -> NDArray[np.intp]:
    """(N, 2): the shifts (rows, columns) from some known patches to the ones most like them, not near."""
    sources = np.flatnonzero(octave.usable)
    queries = random.choice(sources, min(_QUERIES, len(sources)), replace=False)
    if len(sources) > _SOURCES:
        sources = np.sort(random.choice(sources, _SOURCES, replace=False))
    keys, wanted = (octave.patches(some)[..., :3].reshape(len(some), -1) for some in (sources, queries))
    number = np.full(len(octave.usable), -1)
    number[sources] = np.arange(len(sources))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _FAR + 1, 2 * _FAR + 1))
    down, across = np.nonzero(disk)
    beside = (down - _FAR) * octave.row + across - _FAR
    norms, keys = np.square(keys).sum(1), -2 * keys.T
    found = []
    for start in range(0, len(queries), _BATCH):
        some = queries[start : start + _BATCH]
        distance = multiplied(wanted[start : start + _BATCH], keys) + norms
        near = rows_of(number, some[:, None] + beside)
        who, at = np.nonzero(near >= 0)
        distance[who, near[who, at]] = np.inf
        found.append(_shift(some, sources[distance.argmin(1)] - some, octave.row))
    return np.concatenate(found)


def _shift(places: Numbers, offset: Numbers, row: int) -> NDArray[np.intp]:
    """(..., 2): offsets of numbers as rows and columns."""
    ends, starts = np.divmod(places + offset, row), np.divmod(places, row)
    return cast("NDArray[np.intp]", np.stack(ends, -1) - np.stack(starts, -1))


def _frequent(shifts: NDArray[np.intp], most: int, apart: int) -> NDArray[np.intp]:
    """(n, 2): the most frequent of ``shifts`` (N, 2), at most so many, none nearer than so many px."""
    middle = int(np.abs(shifts).max(initial=0)) + apart
    count = np.zeros((2 * middle + 1, 2 * middle + 1), np.float32)
    np.add.at(count, (shifts[:, 0] + middle, shifts[:, 1] + middle), 1)
    smooth: Any = cv2.GaussianBlur(count, (0, 0), 1)
    around = np.ones((2 * apart + 1, 2 * apart + 1), np.uint8)
    rows, columns = np.nonzero((smooth >= cv2.dilate(smooth, around)) & (smooth > 0))
    order = np.argsort(-smooth[rows, columns], kind="stable")[:most]
    return np.stack([rows[order] - middle, columns[order] - middle], 1)


def _moved(layer: NDArray[Any], step: NDArray[np.intp]) -> NDArray[Any]:
    """(R, C): what the neighbour so many cells away has; at the border a cell's own."""
    rows, columns = (
        np.clip(np.arange(side) + by, 0, side - 1) for side, by in zip(layer.shape, step, strict=True)
    )
    return layer[np.ix_(rows, columns)]


def _unlike_fill(grid: _Grid, shifts: NDArray[np.intp], alike: Octave) -> NDArray[np.float32]:
    """(R, C, K): how far the patch to which each shift leads differs from the fill."""
    here = np.flatnonzero(grid.inside)
    places, count = grid.places.ravel()[here], shifts.shape[2]
    middles = (places[:, None] + shifts.reshape(-1, count)[here]).ravel()
    patches = alike.patches(places)
    cost = np.zeros((grid.who.size, count), np.float32)
    values = patches[0, :, :3].size * _LEVEL if len(here) else 1
    distance = alike.distances(middles, patches, np.repeat(np.arange(len(here)), count))
    cost[here] = np.minimum(distance.reshape(-1, count) / values, _WORST_GUIDE)
    return cost.reshape(shifts.shape)


def _seams(grid: _Grid, shifts: NDArray[np.intp], octave: Octave, axis: int) -> NDArray[np.float32]:
    """(R - 1, C, K, K) or (R, C - 1, K, K): what two shifts of neighbours along an axis cost together."""
    middles, both = grid.edges(octave.row, axis)
    one, two = _halves(shifts, axis)
    before, behind = _halves(grid.inside, axis)
    count = shifts.shape[2]
    cost = np.zeros((*both.shape, count, count), np.float32)
    for number, some in enumerate(both):  # row by row
        if not some.any():
            continue
        first, second = (
            octave.patches((middles[number, some][:, None] + side[number, some]).ravel())[..., :3]
            for side in (one, two)
        )
        # at the border only what is known is compared, and not the fill
        seen = octave.patch_known(middles[number, some]) | (before & behind)[number, some][:, None]
        if not seen.all():
            unseen = ~seen.repeat(count, axis=0)
            first[unseen] = second[unseen] = 0
        first, second = (side.reshape(len(seen), count, -1) for side in (first, second))
        differ = multiplied(first, -2 * second.swapaxes(1, 2))
        differ += np.square(first).sum(2)[:, :, None]
        differ += np.square(second).sum(2)[:, None]
        differ /= 3 * np.maximum(seen.sum(1), 1)[:, None, None].astype(np.float32) * np.float32(_LEVEL)
        np.clip(differ, 0, _WORST_SEAM, out=differ)
        differ += _CHANGE * (one[number, some][:, :, None] != two[number, some][:, None])
        cost[number, some] = differ
    return cost


def _propagated(
    cost: NDArray[np.float32], down: NDArray[np.float32], across: NDArray[np.float32], sweeps: int
) -> NDArray[np.intp]:
    """(R, C): which of K labels each cell takes, by min-sum belief propagation.

    ``cost`` (R, C, K) is of each label, ``down`` and ``across`` of labels of neighbours (`_seams`).
    """
    told = np.zeros((4, *cost.shape), np.float32)  # what each cell was told from above, below, left and right

    def belief(rows: Any, columns: Any, but: int) -> NDArray[np.float32]:
        others = [told[side][rows, columns] for side in range(4) if side != but]
        return cast("NDArray[np.float32]", cost[rows, columns] + others[0] + others[1] + others[2])

    def message(belief: NDArray[np.float32], seam: NDArray[np.float32]) -> NDArray[np.float32]:
        best: NDArray[np.float32] = (belief[:, :, None] + seam).min(1)
        best -= best.min(1, keepdims=True)
        return best

    everything = slice(None)
    height, width = cost.shape[:2]
    for _ in range(sweeps):
        for column in range(1, width):
            seam = across[:, column - 1]
            told[2][:, column] = message(belief(everything, column - 1, 3), seam)
        for column in range(width - 1, 0, -1):
            seam = across[:, column - 1].swapaxes(1, 2)
            told[3][:, column - 1] = message(belief(everything, column, 2), seam)
        for row in range(1, height):
            told[0][row] = message(belief(row - 1, everything, 1), down[row - 1])
        for row in range(height - 1, 0, -1):
            told[1][row - 1] = message(belief(row, everything, 0), down[row - 1].swapaxes(1, 2))
    return cast("NDArray[np.intp]", (cost + told.sum(0)).argmin(-1))


def _gains(
    grid: _Grid, shifts: NDArray[np.intp], octave: Octave, start: NDArray[np.float32], steps: int
) -> NDArray[np.float32]:
    """(R, C, 3): what is added to each place's copy so that pieces meet, from ``start``; 0 where known.

    Least squares over neighbours, by conjugate gradients: the difference of both gains is to be the mean
    difference of both copies, if that is small and they are alike but for it.
    """
    weights, wanted = zip(*(_steps_between(grid, shifts, octave, axis) for axis in (0, 1)), strict=True)
    free = grid.inside[..., None].astype(np.float32)

    def spread(flows: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        total = np.zeros_like(start)
        for axis, flow in enumerate(flows):
            before, behind = _halves(total, axis)
            before -= flow
            behind += flow
        return total * free

    def applied(gains: NDArray[np.float32]) -> NDArray[np.float32]:
        flows = []
        for axis, weight in enumerate(weights):
            before, behind = _halves(gains, axis)
            flows.append(weight * (behind - before))
        return spread(flows) + _STAY * gains

    diagonal = np.full(start.shape, _STAY, np.float32)
    for axis, weight in enumerate(weights):
        before, behind = _halves(diagonal, axis)
        before += weight
        behind += weight
    gains = start * free
    residual = spread([weight * by for weight, by in zip(weights, wanted, strict=True)]) - applied(gains)
    direction = np.zeros_like(gains)
    before_it = np.inf
    for _ in range(steps):
        if np.square(residual).sum() < _ENOUGH * residual.size:
            break
        scaled = residual / diagonal
        power = np.sum(residual * scaled)
        direction = scaled + np.float32(power / before_it) * direction
        image = applied(direction)
        length = power / np.sum(direction * image)
        gains = gains + length * direction
        residual = residual - length * image
        before_it = power
    return gains


def _steps_between(
    grid: _Grid, shifts: NDArray[np.intp], octave: Octave, axis: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each edge along an axis its weight (..., 1) and the wanted difference of gains (..., 3)."""
    middles, both = grid.edges(octave.row, axis)
    (one, two), (before, behind) = _halves(grid.places, axis), _halves(grid.inside, axis)
    middles = np.where(before, np.where(behind, middles, two), one)  # towards known pixels
    first, second = (octave.patches((middles + shift).ravel())[..., :3] for shift in _halves(shifts, axis))
    seen = np.where((before & behind).ravel()[:, None], True, octave.patch_known(middles.ravel()))
    counts = seen.astype(np.float32)[..., None]
    total = np.maximum(counts.sum(1), 1)
    differ = first - second
    mean = (differ * counts).sum(1) / total
    rest = (np.square(differ - mean[:, None]) * counts).sum(1) / total
    weight = 1 / (1 + rest.mean(1) / _DETAIL**2) / (1 + np.square(mean).mean(1) / _BRIGHTNESS**2)
    weight /= 1 + first.var(1).mean(1) / _EDGE**2  # what lies at one side of an edge has other light
    weight *= seen.mean(1) * (both & (before | behind)).ravel()
    return weight.reshape(*both.shape, 1).astype(np.float32), mean.reshape(*both.shape, 3)
