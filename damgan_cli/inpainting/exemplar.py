"""Fine detail for enlarged fills: known pixels of the photo are copied, octave by octave, guided by the fill.

A reduced window has the structure of a fill and lacks what is finer than its own pixels. Each octave from the
window to the photo starts from the one below it, enlarged: every place of the hole looks for a known patch
that is like it and takes its pixels. Which patch, a nearest-neighbour field says (patchmatch.py): found on
the window, handed on from octave to octave, and searched anew, first among known pixels as blurred as the
fill, then once more among sharp ones. A pixel mixes the copies of the four places around it and no more, as
votes of many patches average the detail away. Colours on a scale above a few pixels stay the network's, and
so does the whole fill where nothing known is like it. What stood before a background is filled with large
pieces instead (shifts.py), as copies that were found one by one tear lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import cv2
import numpy as np

from damgan_cli.inpainting.patchmatch import Field, Octave
from damgan_cli.inpainting.resample import (
    at_points,
    blurred,
    mixed,
    pasted,
    rescaled,
    sampled,
    squared,
    widely_blurred,
)
from damgan_cli.inpainting.shifts import in_pieces, nudged

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from damgan_cli.inpainting.lines import Lines

    Reduce = Callable[[int], tuple[NDArray[np.float32], NDArray[np.bool_]]]

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
    return Copying(blur=float(np.interp(trained, (128, 256), (1.5, 0.9))), colours=4)


class Exemplar:
    """The detail for one window.

    ``filled`` is the window (h, w, 3) in [-1, 1] with its fill, ``scale`` times smaller than ``photo``,
    (H, W, 3) uint8, with the hole ``unknown`` (H, W). ``reduce`` gives photo and hole reduced by a whole
    number, as (h, w, 3) in [-1, 1] with anything in the hole, and (h, w). Looks at known pixels of ``photo``
    only. Detail is found for ``wanted`` (H, W), a part of the hole. With ``rough`` (H, W), of hole and known
    pixels, patches are to be alike in that too. With ``lines``, those of the window that go on behind the
    hole, large pieces are copied whole, with their own colours.
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
        *,
        lines: Lines | None = None,
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
            octave = Octave(pasted(known, start, hole), hole, near, alike_in)
            # What is in the hole is blurred: among sharp patches it would find the smoothest. So known
            # pixels are as blurred while it looks: as a network's fill is, or as the octave below has them.
            softened = blurred(known, hole, copying.blur) if field is None else start
            alike = octave.of(pasted(softened, start, hole))
            handed = field and field.at(octave, finest)
            here = lines and lines.at(finest / scale, shape)
            if here is not None and handed is not None:
                field = nudged(handed, alike, octave, here)
            else:
                field = Field.found(alike, finest, handed, random)
                if field is None:  # too little is known
                    return
                if here is not None:
                    field = in_pieces(field, alike, octave, here, random)
                else:  # sharp by now: once more, among sharp patches
                    octave = octave.of(field.copied(octave))
                    field = field.searched(octave, random)
            image = field.copied(octave)
            finer = -(-finest // 2)
            if finest == 1 or photo.shape[0] * photo.shape[1] > finer * finer * _LARGEST:
                break
            finest = finer
        self.finest, self.field = finest, field
        self.copied: NDArray[np.float32] = image
        self.agreement: NDArray[np.float32] = np.ones(image.shape[:2], np.float32)
        if lines is None:
            colours: Any = pasted(known, guide, hole) - image
            self.copied = image + widely_blurred(colours, max(copying.colours / finest, 0.5))
            self.agreement = agreement(self.copied, filled, scale / finest, copying.blur)
        self.result = pasted(known, mixed(guide, self.copied, self.agreement), hole)

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
        blurred = at_points(self.result, (sources + 0.5) / self.finest - 0.5)
        pixels = self.photo[sources[:, 0], sources[:, 1]].astype(np.float32) / 127.5 - 1
        residual: NDArray[np.float32] = pixels - blurred
        residual[self.unknown[sources[:, 0], sources[:, 1]]] = 0
        residual *= self.agreement[ys // self.finest, xs // self.finest][:, None]
        return residual


def agreement(
    copied: NDArray[np.float32], fill: NDArray[np.float32], scale: float, blur: float
) -> NDArray[np.float32]:
    """(H, W) in [0, 1]: how far ``copied`` (H, W, 3) shows what ``fill`` (h, w, 3) shows, both in [-1, 1].

    1 where they differ by less than the fill varies nearby, 0 where by several times as much: there what was
    copied belongs elsewhere, and is seen as blots and torn edges. ``scale`` is how many pixels make one of
    the fill, and ``blur`` of those the standard deviation of what is finer than the fill, and not compared.
    """

    def averaged(layer: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        return cast("NDArray[np.float32]", cv2.GaussianBlur(layer, (0, 0), sigma))

    seen = rescaled(averaged(copied, blur * scale), scale, fill.shape[:2])
    off = averaged(squared(seen - averaged(fill, blur)), 2)
    variance = averaged(squared(fill), 2) - squared(averaged(fill, 2))
    alike = averaged(1 / (1 + (off / (np.maximum(variance, 0) + _LEVELS)) ** 4), 1)
    return np.clip(rescaled(alike, 1 / scale, copied.shape[:2]), 0, 1)
