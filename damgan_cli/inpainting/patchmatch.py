"""Which known patch of an image is like each place of a hole: a nearest-neighbour field (PatchMatch).

Barnes et al. 2009: found by exhaustive search or handed on from a coarser octave, and improved by what
neighbours found and by random search. Images lie in a padded array, and a pixel is its number there, so that
a shift is one addition: no shift of a search leads from one row's known patches to those of another.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.intp]  # (N,)

RADIUS = 3
"""A patch reaches this far (px of its octave) from its middle."""
STRIDE = 3
"""Every third pixel, along a side, looks for a patch of its own."""
COHERENCE = 0.8
"""A neighbour's offset wins already if it costs at most 1 / this of the own one: agreement copies exactly."""
_SAMPLES = np.array([(y, x) for y in (-3, -1, 1, 3) for x in (-3, -1, 1, 3)] + [(0, 0)])  # of a patch
_BLOCK = 2048  # patches that are compared at a time: a core's cache holds them
_SOURCES = 6000  # of the exhaustive search
_TARGETS = 1 << 14  # at most, likewise
_BATCH = 256  # places
_NEAR = 0.15  # weight of the distance across the whole image, against colours in [-1, 1]
_JUMP = 8  # (px) of the random search
_STEPS = ((1, 4), (1, 2))  # cells between neighbours, in either sweep
_RIM = max(map(max, _STEPS))
# rows are as far apart as a search looks, and patches at the rim have room
_PAD = max(RADIUS, -(-max(_RIM * STRIDE, _JUMP) // 2) - RADIUS)


class Octave:
    """One scale of the photo: ``image`` (h, w, 3), with some fill in ``hole`` (h, w), and its patches.

    In the hole, what is ``wanted`` (h, w) looks for patches, alike in colours and, where given, in ``rough``
    (h, w).
    """

    def __init__(
        self,
        image: NDArray[np.float32],
        hole: NDArray[np.bool_],
        wanted: NDArray[np.bool_],
        rough: NDArray[np.float32] | None = None,
    ) -> None:
        self.hole, self.wanted = hole, hole & wanted
        bad = cv2.dilate(hole.astype(np.uint8), np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8))
        bad[:RADIUS] = bad[-RADIUS:] = bad[:, :RADIUS] = bad[:, -RADIUS:] = 1
        self.usable = np.pad(bad == 0, _PAD).ravel()
        """Middles of patches that are known and lie within the photo."""
        self.known = np.pad(~hole, _PAD).ravel()
        self.row = hole.shape[1] + 2 * _PAD
        """Pixels of a padded row."""
        self._samples = _SAMPLES[:, 0] * self.row + _SAMPLES[:, 1]
        self._rough = rough
        self.image, self.pixels = image, self._padded(image)

    def _padded(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        edges = (_PAD, _PAD, _PAD, _PAD, cv2.BORDER_REFLECT_101)
        colours = cv2.split(cv2.copyMakeBorder(image, *edges))
        rough = np.zeros_like(colours[0])  # four values are read faster than three
        if self._rough is not None:
            rough = cv2.copyMakeBorder(self._rough, *edges)
        return cast("NDArray[np.float32]", cv2.merge([*colours, rough]).reshape(-1, 4))

    def of(self, image: NDArray[np.float32]) -> Octave:
        """The same octave with another image."""
        other = copy(self)
        other.image, other.pixels = image, self._padded(image)
        return other

    def at(self, rows: Numbers, columns: Numbers) -> Numbers:
        """The numbers of pixels."""
        return cast("Numbers", (rows + _PAD) * self.row + columns + _PAD)

    def in_layer(self, layer: NDArray[Any], places: Numbers) -> NDArray[Any]:
        """What a ``layer`` (h, w, ...) of the image has at pixels of these numbers, all within it."""
        rows, columns = np.divmod(places, self.row)
        return cast("NDArray[Any]", layer[rows - _PAD, columns - _PAD])

    def patches(self, middles: Numbers) -> NDArray[np.float32]:
        """(N, samples, 4): the patches around pixels."""
        return cast("NDArray[np.float32]", rows_of(self.pixels, middles[:, None] + self._samples))

    def distances(self, middles: Numbers, patches: NDArray[np.float32], who: Numbers) -> NDArray[np.float32]:
        """(N,): sums of squared differences of the patches around ``middles`` and ``patches[who]``."""
        result = np.empty(len(middles), np.float32)
        for start in range(0, len(middles), _BLOCK):
            some = slice(start, start + _BLOCK)
            difference = self.patches(middles[some]) - rows_of(patches, who[some])
            np.einsum("nkc,nkc->n", difference, difference, out=result[some])
        return result

    def patch_known(self, middles: Numbers) -> NDArray[np.bool_]:
        """(N, samples): which pixels of the patches around pixels are known."""
        return rows_of(self.known, middles[:, None] + self._samples)

    def targets(self) -> tuple[Numbers, Numbers]:
        """Places of the hole that look for a patch, and which of them is in each cell of a grid; -1 = none.

        The grid has a rim as wide as a search looks.
        """
        near = cv2.dilate(self.wanted.astype(np.uint8), np.ones((2 * STRIDE + 1, 2 * STRIDE + 1), np.uint8))
        rows, columns = (
            np.minimum(np.arange(-(-side // STRIDE) + 1) * STRIDE, side - 1) for side in self.hole.shape
        )
        wanted = near[np.ix_(rows, columns)] > 0
        down, across = np.nonzero(wanted)
        cells = np.full((len(rows) + 2 * _RIM, len(columns) + 2 * _RIM), -1, np.intp)
        cells[_RIM:-_RIM, _RIM:-_RIM][wanted] = np.arange(len(down))
        return self.at(rows[down], columns[across]), cells


class Field:
    """A nearest-neighbour field at ``scale``: for each of ``places`` an offset to a known patch.

    ``row`` and ``cells`` are those of its `Octave`.
    """

    def __init__(self, scale: int, row: int, places: Numbers, cells: Numbers, offset: Numbers) -> None:
        self.scale, self.row, self.places, self.cells, self.offset = scale, row, places, cells, offset
        self.cost = np.zeros(len(places), np.float32)
        self.gain: NDArray[np.float32] | None = None
        """(N, 3): what is added to the colours of each place's copy, if anything."""

    @classmethod
    def found(
        cls, octave: Octave, scale: int, start: Field | None, random: np.random.Generator
    ) -> Field | None:
        """The field of an octave, from ``start`` (it changes) or from nothing; None if no patch is known."""
        sources = np.flatnonzero(octave.usable)
        if start is None:
            places, cells = octave.targets()
            start = cls(scale, octave.row, places, cells, np.zeros_like(places))
            if len(sources) and len(places) > _TARGETS:
                start.offset = sources[random.integers(len(sources), size=len(places))] - places
            elif len(sources) and len(places):
                start.offset = _nearest(octave, places, sources, random) - places
        if not len(sources) or not len(start.places):
            return None
        middles = start.places + start.offset
        lost = ~rows_of(octave.usable, middles)
        middles[lost] = sources[random.integers(len(sources), size=int(lost.sum()))]
        start.offset = middles - start.places
        return start.searched(octave, random)

    def at(self, octave: Octave, scale: int) -> Field:
        """The same offsets for the places of a finer octave."""
        places, cells = octave.targets()
        rows, columns = (
            ((at - _PAD + 0.5) * (scale / self.scale)).astype(np.intp) for at in np.divmod(places, octave.row)
        )
        finer = np.rint(self.offset_at(rows, columns) * (self.scale / scale)).astype(np.intp)
        field = Field(scale, octave.row, places, cells, finer[:, 0] * octave.row + finer[:, 1])
        if self.gain is not None:
            field.gain = rows_of(self.gain, self._nearest(rows, columns))
        return field

    def offset_at(self, rows: Numbers, columns: Numbers) -> NDArray[np.intp]:
        """(N, 2): rows and columns to the patch of the place nearest to each pixel; 0 where there is none."""
        who = self._nearest(rows, columns)
        offset = np.where(who >= 0, rows_of(self.offset, who), 0)
        place = rows_of(self.places, who)
        ends, starts = np.divmod(place + offset, self.row), np.divmod(place, self.row)
        return cast("NDArray[np.intp]", np.stack(ends, 1) - np.stack(starts, 1))

    def _nearest(self, rows: Numbers, columns: Numbers) -> Numbers:
        """(N,): the place nearest to each pixel, -1 where there is none."""
        down, across = (
            np.minimum((at + STRIDE // 2) // STRIDE, limit - 2 * _RIM - 1) + _RIM
            for at, limit in zip((rows, columns), self.cells.shape, strict=True)
        )
        return cast("Numbers", self.cells[down, across])

    def searched(self, octave: Octave, random: np.random.Generator) -> Field:
        """The same field after two sweeps in ``octave``; its costs are of that octave.

        A sweep is over what neighbours found, at several distances, and a random search.
        """
        everyone = np.arange(len(self.places))
        wanted = octave.patches(self.places)
        self.cost = octave.distances(self.places + self.offset, wanted, everyone)

        def offer(who: Numbers, middles: Numbers, demand: float) -> None:
            fine = np.flatnonzero(rows_of(octave.usable, middles))
            who, middles = rows_of(who, fine), rows_of(middles, fine)
            cost = octave.distances(middles, wanted, who)
            better = np.flatnonzero(cost * demand < rows_of(self.cost, who))
            who = rows_of(who, better)
            self.cost[who] = rows_of(cost, better)
            self.offset[who] = rows_of(middles, better) - rows_of(self.places, who)

        row = self.cells.shape[1]
        cells = self.cells.ravel()
        mine = np.flatnonzero(cells >= 0)  # in the order of the places
        for sweep in _STEPS:
            for step in sweep:
                for direction in (-step * row, -step, step * row, step):
                    other = rows_of(cells, mine + direction)
                    theirs = rows_of(self.offset, other)
                    who = np.flatnonzero((other >= 0) & (theirs != self.offset))
                    offer(who, rows_of(self.places, who) + rows_of(theirs, who), COHERENCE)
            jump = random.integers(-_JUMP, _JUMP + 1, (len(self.places), 2))
            offer(everyone, self.places + self.offset + jump[:, 0] * self.row + jump[:, 1], 1.1)
        return self

    def copied(self, octave: Octave) -> NDArray[np.float32]:
        """(h, w, 3): the octave, every wanted pixel a mixture of the copies of the four places around it."""
        rows, columns = np.nonzero(octave.wanted)
        places = octave.at(rows, columns)
        row = self.cells.shape[1]
        cells = (rows // STRIDE + _RIM) * row + columns // STRIDE + _RIM
        good = (1 / (1 + (self.cost / (np.median(self.cost) + 1e-4)) ** 2)).astype(np.float32)
        weight = np.full((len(places), 1), 1e-6, np.float32)
        total = weight * rows_of(octave.pixels, places)
        # share of the place below, and of that to the right
        down, right = (((at % STRIDE + 0.5) / STRIDE).astype(np.float32) for at in (rows, columns))
        for below, beside in ((0, 0), (0, 1), (1, 0), (1, 1)):
            who = rows_of(self.cells.ravel(), cells + below * row + beside)
            sources = places + rows_of(self.offset, who)
            counts = (who >= 0) & rows_of(octave.known, sources)
            bilinear = (down if below else 1 - down) * (right if beside else 1 - right)
            mine = np.where(counts, bilinear**2 * rows_of(good, who), np.float32(0))[:, None]
            total += mine * rows_of(octave.pixels, sources)
            if self.gain is not None:
                total[:, :3] += mine * rows_of(self.gain, who)
            weight += mine
        result: NDArray[np.float32] = octave.image.copy()
        result[octave.wanted] = (total / weight)[:, :3]
        return result


def rows_of(values: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
    """``values[numbers]``, several times as fast; the first or last where there is none of that number."""
    return values.take(numbers, axis=0, mode="clip")


def multiplied(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """``first @ second`` by torch, on a worker's own threads.

    numpy's product has others, which take cores from the other workers and wait at full speed.
    """
    import torch  # here, as `damgan paint` asks plan.py for its options before it loads torch

    return cast("NDArray[np.float32]", (torch.from_numpy(first) @ torch.from_numpy(second)).numpy())


def _nearest(octave: Octave, places: Numbers, sources: Numbers, random: np.random.Generator) -> Numbers:
    """The known patch most like each place, and near it, among some thousands."""
    if len(sources) > _SOURCES:
        sources = sources[np.sort(random.choice(len(sources), _SOURCES, replace=False))]
    near = np.float32(_NEAR * np.sqrt(3 * len(_SAMPLES)) / max(octave.hole.shape))
    keys, wanted = (
        np.hstack(
            [
                octave.patches(some)[..., :3].reshape(len(some), -1),
                (np.stack(np.divmod(some, octave.row), 1) * near).astype(np.float32),
            ]
        )
        for some in (sources, places)
    )
    # |key - wanted|² less |wanted|², as one product
    keys = np.hstack([-2 * keys, np.square(keys).sum(1, keepdims=True)]).T
    wanted = np.hstack([wanted, np.ones((len(wanted), 1), np.float32)])
    starts = range(0, len(wanted), _BATCH)
    best = [multiplied(wanted[start : start + _BATCH], keys).argmin(1) for start in starts]
    nearest: Numbers = sources[np.concatenate(best)]
    return nearest
