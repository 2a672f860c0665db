"""Fine detail for enlarged fills: known pixels of the photo are copied, octave by octave, guided by the fill.

A reduced window has the structure of a fill and lacks what is finer than its own pixels. Each octave from the
window to the photo starts from the one below it, enlarged: every place of the hole looks for a known patch
that is like it and takes its pixels. Which patch, a nearest-neighbour field says (PatchMatch, Barnes et al.
2009): found by exhaustive search on the window, handed on from octave to octave, and improved by what
neighbours found and by random search; first among known pixels as blurred as the fill, then once more among
sharp ones. A pixel mixes the copies of the four places around it and no more, as votes of many patches
average the detail away. Colours on a scale above a few pixels stay the network's, and so does the whole fill
where nothing known is like it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import cv2
import numpy as np

from damgan_cli.inpainting.resample import blurred, rescaled, sampled, squared, widely_blurred

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Places = NDArray[np.intp]  # (N, 2), rows and columns
    Reduce = Callable[[int], tuple[NDArray[np.float32], NDArray[np.bool_]]]

RADIUS = 3
"""A patch reaches this far (px of its octave) from its middle."""
STRIDE = 2
"""Every other pixel, along a side, looks for a patch of its own."""
COHERENCE = 0.8
"""A neighbour's offset wins already if it costs at most 1 / this of the own one: agreement copies exactly."""
_SAMPLES = np.array([(y, x) for y in (-3, -1, 1, 3) for x in (-3, -1, 1, 3)] + [(0, 0)])  # of a patch
_SOURCES = 6000  # of the exhaustive search
_TARGETS = 1 << 14  # at most, likewise
_BATCH = 1024
_NEAR = 0.15  # weight of the distance across the whole window, against colours in [-1, 1]
_JUMP = 8  # (px) of the random search
_LEVELS = 0.005  # variance of a fill at least, for comparison: some five levels in each colour
_LARGEST = 3 << 19  # pixels of an octave that is searched; finer ones take its offsets


class Copying(NamedTuple):
    """How detail is copied, which depends on the network; see docs/fit.md."""

    blur: float
    """Standard deviation (px of the window) of the blur of the network's fill, about."""
    colours: float
    """Standard deviation (px of the photo) of the blur above which colours are the network's."""


def copying_of(trained: int) -> Copying:
    """What was measured with weights trained on images of 128 and of 256 px, for ``trained`` px a side."""
    return Copying(*(float(np.interp(trained, (128, 256), ends)) for ends in ((1.5, 0.9), (4, 10))))


class Exemplar:
    """The detail for one window.

    ``filled`` is the window (h, w, 3) in [-1, 1] with its fill, ``scale`` times smaller than ``photo``,
    (H, W, 3) uint8, with the hole ``unknown`` (H, W). ``reduce`` gives photo and hole reduced by a whole
    number, as (h, w, 3) in [-1, 1] with anything in the hole, and (h, w). Looks at known pixels of ``photo``
    only. Detail is found for ``wanted`` (H, W), a part of the hole. With ``rough`` (H, W), of hole and known
    pixels, patches are to be alike in that too.
    """

    def __init__(
        self,
        filled: NDArray[np.float32],
        photo: NDArray[np.uint8],
        unknown: NDArray[np.bool_],
        wanted: NDArray[np.bool_],
        scale: int,
        reduce: Reduce,
        copying: Copying,
        rough: NDArray[np.float32] | None = None,
    ) -> None:
        self.filled, self.photo, self.unknown, self.scale = filled, photo, unknown, scale
        self.finest, self.result = scale, filled
        self.field: Field | None = None
        random = np.random.default_rng(0)
        finest, image, guide = scale, filled, filled
        field: Field | None = None
        while True:
            known, hole = reduce(finest)
            shape = hole.shape
            guide = rescaled(filled, finest / scale, shape)
            start = guide if field is None else rescaled(image, finest / field.scale, shape)
            near = cv2.dilate(wanted[::finest, ::finest].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            alike_in = rough
            if rough is not None:
                smaller = cv2.resize(rough, shape[::-1], interpolation=cv2.INTER_AREA)
                alike_in = cast("NDArray[np.float32]", smaller)
            octave = Octave(np.where(hole[..., None], start, known), hole, near, alike_in)
            # What is in the hole is blurred: among sharp patches it would find the smoothest. So known
            # pixels are as blurred while it looks: as a network's fill is, or as the octave below has them.
            softened = blurred(known, hole, copying.blur) if field is None else start
            alike = Octave(np.where(hole[..., None], start, softened), hole, near, alike_in)
            handed = field and field.at(octave, finest)
            field = Field.found(alike, finest, handed, random)
            if field is None:  # too little is known
                return
            # sharp by now: once more, among sharp patches
            octave = Octave(field.copied(octave), hole, near, alike_in)
            field = field.searched(octave, random)
            image = field.copied(octave)
            finer = -(-finest // 2)
            if finest == 1 or photo.shape[0] * photo.shape[1] > finer * finer * _LARGEST:
                break
            finest = finer
        colours: Any = np.where(hole[..., None], guide, known) - image
        colours = widely_blurred(colours, max(copying.colours / finest, 0.5))
        self.finest, self.field = finest, field
        self.copied: NDArray[np.float32] = image + colours
        self.agreement = agreement(self.copied, guide, scale / finest, copying.blur)
        kept = guide + self.agreement[..., None] * (self.copied - guide)
        self.result = np.where(hole[..., None], kept, known)

    def detail(self, piece: tuple[slice, slice]) -> NDArray[np.float32]:
        """(h, w, 3), to be added to the enlarged window in ``piece`` (rows, columns) of the photo."""
        smooth = sampled(self.filled, self.scale, piece)
        if self.field is None:
            return np.zeros_like(smooth)
        if self.finest == 1:
            return self.result[piece] - smooth
        detail = sampled(self.result, self.finest, piece) - smooth
        detail[self.unknown[piece]] += self._residual(piece)
        return detail

    def _residual(self, piece: tuple[slice, slice]) -> NDArray[np.float32]:
        """What the photo has beyond the last octave where the hole pixels of ``piece`` copy from, (N, 3)."""
        ys, xs = np.nonzero(self.unknown[piece])
        ys, xs = ys + piece[0].start, xs + piece[1].start
        offsets = cast("Field", self.field).offset_at(ys // self.finest, xs // self.finest) * self.finest
        height, width = self.unknown.shape
        sources = np.clip(np.stack([ys, xs], 1) + offsets, 0, (height - 1, width - 1))
        at = ((sources + 0.5) / self.finest - 0.5).astype(np.float32)
        rows = -(-len(at) // 4096) if len(at) else 0  # remap takes no row longer than 32767
        grid = np.zeros((rows * 4096, 2), np.float32)
        grid[: len(at)] = at
        across, down = (grid[:, axis].reshape(rows, 4096) for axis in (1, 0))
        if not rows:
            return np.zeros((0, 3), np.float32)
        blurred: Any = cv2.remap(self.result, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        pixels = self.photo[sources[:, 0], sources[:, 1]].astype(np.float32) / 127.5 - 1
        residual: NDArray[np.float32] = pixels - blurred.reshape(-1, 3)[: len(at)]
        residual[self.unknown[sources[:, 0], sources[:, 1]]] = 0
        residual *= self.agreement[ys // self.finest, xs // self.finest][:, None]
        return residual


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
        self.image, self.hole, self.wanted = image, hole, hole & wanted
        bad = cv2.dilate(hole.astype(np.uint8), np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8))
        bad[:RADIUS] = bad[-RADIUS:] = bad[:, :RADIUS] = bad[:, -RADIUS:] = 1
        self.usable = bad == 0
        """Middles of patches that are known and lie within the photo."""
        padded = cv2.copyMakeBorder(image, RADIUS, RADIUS, RADIUS, RADIUS, cv2.BORDER_REFLECT_101)
        pixels = np.zeros((*padded.shape[:2], 4), np.float32)  # four values are read faster than three
        pixels[..., :3] = padded
        if rough is not None:
            pixels[..., 3] = cv2.copyMakeBorder(rough, RADIUS, RADIUS, RADIUS, RADIUS, cv2.BORDER_REFLECT_101)
        self._pixels, self._row = pixels.reshape(-1, 4), pixels.shape[1]
        self._samples = _SAMPLES[:, 0] * self._row + _SAMPLES[:, 1]

    def patches(self, places: Places) -> NDArray[np.float32]:
        """(N, samples, 4): the patches around ``places``."""
        first = (places[:, 0] + RADIUS) * self._row + places[:, 1] + RADIUS
        return cast("NDArray[np.float32]", _rows(self._pixels, first[:, None] + self._samples))

    def targets(self) -> tuple[Places, NDArray[np.intp]]:
        """Places of the hole that look for a patch, and their numbers on a grid with a rim; -1 = none."""
        near = cv2.dilate(self.wanted.astype(np.uint8), np.ones((2 * STRIDE + 1, 2 * STRIDE + 1), np.uint8))
        rows, columns = (
            np.minimum(np.arange(-(-side // STRIDE) + 1) * STRIDE, side - 1) for side in self.hole.shape
        )
        wanted = near[np.ix_(rows, columns)] > 0
        cells = np.argwhere(wanted)
        number = np.full((len(rows) + 2, len(columns) + 2), -1, np.intp)
        number[1:-1, 1:-1][wanted] = np.arange(len(cells))
        return np.stack([rows[cells[:, 0]], columns[cells[:, 1]]], 1), number


class Field:
    """A nearest-neighbour field at ``scale``: for each of ``places`` an offset to a known patch."""

    def __init__(self, scale: int, places: Places, number: NDArray[np.intp], offset: Places) -> None:
        self.scale, self.places, self.number, self.offset = scale, places, number, offset
        self.cost = np.zeros(len(places), np.float32)

    @classmethod
    def found(
        cls, octave: Octave, scale: int, start: Field | None, random: np.random.Generator
    ) -> Field | None:
        """The field of an octave, from ``start`` or from nothing; None where no patch is known."""
        places, number = octave.targets()
        sources = np.argwhere(octave.usable)
        if not len(sources) or not len(places):
            return None
        if start is not None:
            offset = start.offset.copy()
        elif len(places) > _TARGETS:
            offset = sources[random.integers(len(sources), size=len(places))] - places
        else:
            offset = _nearest(octave, places, sources, random) - places
        field = cls(scale, places, number, offset)
        middle = np.clip(places + offset, 0, np.array(octave.hole.shape) - 1)
        lost = ~octave.usable[middle[:, 0], middle[:, 1]]
        middle[lost] = sources[random.integers(len(sources), size=int(lost.sum()))]
        field.offset = middle - places
        field._improve(octave, random)
        return field

    def searched(self, octave: Octave, random: np.random.Generator) -> Field:
        """The same field, searched further in ``octave``, whose hole has another fill by now."""
        self._improve(octave, random)
        return self

    def at(self, octave: Octave, scale: int) -> Field:
        """The same offsets for the places of a finer octave."""
        places, number = octave.targets()
        middle = (places + 0.5) * (scale / self.scale)
        coarse = middle.astype(np.intp)
        exact = self.offset_at(coarse[:, 0], coarse[:, 1]) * (self.scale / scale)
        return Field(scale, places, number, np.rint(exact).astype(np.intp))

    def offset_at(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Places:
        """(N, 2): the offset of the place nearest to each pixel; 0 where there is none."""
        cells = [
            np.minimum((at + STRIDE // 2) // STRIDE + 1, limit - 2)
            for at, limit in zip((rows, columns), self.number.shape, strict=True)
        ]
        number = _at(self.number, np.stack(cells, 1))
        return np.where((number >= 0)[:, None], _rows(self.offset, number), 0)

    def _improve(self, octave: Octave, random: np.random.Generator) -> None:
        """Two sweeps over what neighbours found, at several distances, and of random search."""
        wanted = octave.patches(self.places)
        limit = np.array(octave.hole.shape) - 1
        self.cost = _distance(octave.patches(self.places + self.offset), wanted)
        grid = np.argwhere(self.number >= 0)
        grid = grid[np.argsort(self.number[grid[:, 0], grid[:, 1]])]

        def offer(who: NDArray[np.intp], sources: Places, demand: float) -> None:
            sources = np.clip(sources, 0, limit)
            fine = np.flatnonzero(_at(octave.usable, sources))
            who, sources = _rows(who, fine), _rows(sources, fine)
            cost = _distance(octave.patches(sources), _rows(wanted, who))
            better = np.flatnonzero(cost * demand < _rows(self.cost, who))
            who = _rows(who, better)
            self.cost[who] = _rows(cost, better)
            self.offset[who] = _rows(sources, better) - _rows(self.places, who)

        everyone = np.arange(len(self.places))
        for steps in ((1, 4), (1, 2)):
            for step in steps:
                for direction in ((-step, 0), (0, -step), (step, 0), (0, step)):
                    cell = np.clip(grid + direction, 0, np.array(self.number.shape) - 1)
                    other = _at(self.number, cell)
                    theirs = _rows(self.offset, other)
                    differs = (other >= 0) & (theirs != self.offset).any(1)
                    who = np.flatnonzero(differs)
                    offer(who, _rows(self.places, who) + _rows(theirs, who), COHERENCE)
            jump = random.integers(-_JUMP, _JUMP + 1, (len(self.places), 2))
            offer(everyone, self.places + self.offset + jump, 1.1)

    def copied(self, octave: Octave) -> NDArray[np.float32]:
        """(h, w, 3): the octave, every wanted pixel a mixture of the copies of the four places around it."""
        places = np.argwhere(octave.wanted)
        cells, within = places // STRIDE, places % STRIDE
        share = ((within + 0.5) / STRIDE).astype(np.float32)  # of the place below, and of that to the right
        good = (1 / (1 + (self.cost / (np.median(self.cost) + 1e-4)) ** 2)).astype(np.float32)
        weight = np.full((len(places), 1), 1e-6, np.float32)
        total = weight * _at(octave.image, places)
        limit = np.array(octave.hole.shape) - 1
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
            number = _at(self.number, cells + corner + 1)
            sources = np.clip(places + _rows(self.offset, number), 0, limit)
            counts = (number >= 0) & ~_at(octave.hole, sources)
            bilinear = np.abs(share - (1 - np.array(corner, np.float32))).prod(1)
            mine = np.where(counts, bilinear**2 * _rows(good, number), np.float32(0))[:, None]
            total += mine * _at(octave.image, sources)
            weight += mine
        result: NDArray[np.float32] = octave.image.copy()
        result[octave.wanted] = total / weight
        return result


def _rows(values: NDArray[Any], numbers: NDArray[np.intp]) -> NDArray[Any]:
    """``values[numbers]``, several times as fast."""
    return np.take(values, numbers, axis=0, mode="clip")


def _at(values: NDArray[Any], places: Places) -> NDArray[Any]:
    """What of ``values`` (h, w) or (h, w, C), copied if it is a view, is at ``places``."""
    flat = values.reshape(-1, *values.shape[2:])
    return _rows(flat, places[:, 0] * values.shape[1] + places[:, 1])


def _distance(patches: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of squared differences, (N,)."""
    difference = patches - others
    return cast("NDArray[np.float32]", np.einsum("nkc,nkc->n", difference, difference))


def _nearest(
    octave: Octave, places: Places, sources: Places, random: np.random.Generator
) -> NDArray[np.intp]:
    """The known patch most like each place, and near it, among some thousands."""
    if len(sources) > _SOURCES:
        sources = sources[np.sort(random.choice(len(sources), _SOURCES, replace=False))]
    near = np.float32(_NEAR * np.sqrt(3 * len(_SAMPLES)) / max(octave.hole.shape))
    keys, wanted = (
        np.hstack([octave.patches(some)[..., :3].reshape(len(some), -1), (some * near).astype(np.float32)])
        for some in (sources, places)
    )
    # |key - wanted|² less |wanted|², as one product
    keys = np.hstack([-2 * keys, np.square(keys).sum(1, keepdims=True)]).T
    wanted = np.hstack([wanted, np.ones((len(wanted), 1), np.float32)])
    best = [(wanted[start : start + _BATCH] @ keys).argmin(1) for start in range(0, len(wanted), _BATCH)]
    nearest: NDArray[np.intp] = sources[np.concatenate(best)]
    return nearest


def agreement(
    copied: NDArray[np.float32], fill: NDArray[np.float32], scale: float, blur: float
) -> NDArray[np.float32]:
    """(h, w) in [0, 1]: how far ``copied`` (h, w, 3) shows what ``fill`` shows, both in [-1, 1].

    1 where they differ by less than the fill varies nearby, 0 where by several times as much: there what was
    copied belongs elsewhere, and is seen as blots and torn edges. ``scale`` is how many pixels make one of
    the window, and ``blur`` of those the standard deviation of what is finer than the fill, and not compared.
    """

    def averaged(layer: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        return cast("NDArray[np.float32]", cv2.GaussianBlur(layer, (0, 0), sigma * scale))

    off = averaged(squared(averaged(copied - fill, blur)), 2)
    variance = averaged(squared(fill), 2) - squared(averaged(fill, 2))
    return averaged(1 / (1 + (off / (np.maximum(variance, 0) + _LEVELS)) ** 4), 1)
