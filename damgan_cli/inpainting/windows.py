"""A window: the surroundings of one part of a hole, at the scale at which the model sees them, and back.

What the model makes of it is enlarged again, gets the colours of its border (membrane.py) and the detail of
its surroundings (exemplar.py, deep.py), and is pasted into that part of the hole alone. Nothing under the
hole ever gets into a window. plan.py says which windows a photo gets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import cv2
import numpy as np

from damgan_cli.inpainting.deep import with_copied_detail
from damgan_cli.inpainting.exemplar import Copying, Exemplar
from damgan_cli.inpainting.lines import Lines, with_lines
from damgan_cli.inpainting.membrane import match_seam
from damgan_cli.inpainting.resample import enlarged, mixed, pasted, rescaled, sampled, widely_blurred

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BAND = 1 << 20  # pixels of the photo that are reduced at a time: what a band needs, memory must hold
_PIECE = 1024  # side (px) of what is enlarged and pasted at a time, likewise
_FADE = 2  # depth (px, on the window) within which the seam is matched again at full resolution
_REGION = 12  # px (σ, on the window) over which fakeness is averaged before fills are compared
_MARGIN = 0.95  # how much of the earlier fill's fakeness a second one may have at most: it is less sharp
_SOFT = 3  # px (σ, on the window) over which one fill fades into the other
_NEARLY_ALL = 0.8  # share of the hole in sight that is one part's, if that is alone
_STEADY = 6.0  # px (σ): on larger scales colours stay those of what is refined
SEEN = 3
"""How far (px) from the hole a fill is looked at in a window that is not reduced: seams are matched at its
border. In a reduced one it is looked at wherever a pixel of the photo is missing, also if most around it are
known."""
SEEN_OF_GIVEN = SEEN + math.ceil(4 * _STEADY)
"""The same of what refines a fill: as far as OpenCV's Gaussian reaches."""
_COLOURS = np.arange(256, dtype=np.float32) / 127.5 - 1
_HALO = 4  # px of the window around a piece: enough for pieces to agree


class Prepared(NamedTuple):
    """What a window has to give."""

    fill: NDArray[np.float32]
    """(h, w, 4): RGB in [-1, 1] with the colours of its border, and fakeness."""
    choice: NDArray[np.float32] | None
    """(h, w): how much of it is wanted; None: all."""
    source: Exemplar | None
    """Of its detail."""


@dataclass
class Window:
    """The surroundings of one part of a hole, at the scale at which the model sees it."""

    box: tuple[slice, slice]
    """Where in the photo, rows and columns."""
    part: NDArray[np.bool_]
    """The pixels in ``box`` that this window fills."""
    unknown: NDArray[np.bool_]
    """All hole pixels in ``box``, also of parts that other windows fill."""
    scale: int
    """How many pixels of the photo make one of the window, along a side."""
    image: NDArray[np.float32]
    """(h, w, 3) in [-1, 1], 0 under the hole."""
    hole: NDArray[np.bool_]
    """(h, w): ``unknown`` on the window."""
    blend: tuple[NDArray[np.float32], NDArray[np.float32]]
    """For each row and column of ``box``, how much counts what this window gives there against what earlier
    ones gave; the smaller of both does."""
    second: bool = False
    """Whether others have filled this part before: its fill counts only where it expects to be less off."""
    given: NDArray[np.float32] | None = None
    """(h, w, 3) in [-1, 1], if it is filled by refining this, instead of the coarse stage's result."""

    @property
    def depth(self) -> float:
        """How far (px, on the window) the deepest hole pixel is from the nearest known one."""
        return float(self.depths.max())

    @cached_property
    def depths(self) -> NDArray[np.float32]:
        """(h, w): how far (px, on the window) each pixel is from the nearest known one."""
        hole = self.hole.astype(np.uint8)
        return cast("NDArray[np.float32]", cv2.distanceTransform(hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))

    def overlaps(self, other: Window) -> bool:
        """Whether both fill some of the same pixels of the photo."""
        common = [
            (max(one.start, two.start), min(one.stop, two.stop))
            for one, two in zip(self.box, other.box, strict=True)
        ]
        if any(start >= stop for start, stop in common):
            return False
        mine, theirs = (
            window.part[
                tuple(
                    slice(start - side.start, stop - side.start)
                    for (start, stop), side in zip(common, window.box, strict=True)
                )
            ]
            for window in (self, other)
        )
        return bool((mine & theirs).any())

    @property
    def alone(self) -> bool:
        """Whether this part is nearly all of the hole in sight, and not a blot where strokes meet."""
        return bool(np.count_nonzero(self.part) > _NEARLY_ALL * np.count_nonzero(self.unknown))

    @property
    def mirrored(self) -> Window:
        """What the model sees of it, left and right exchanged; to be filled, but not to be pasted."""
        image, hole = self.image[:, ::-1], self.hole[:, ::-1]
        return replace(self, image=np.ascontiguousarray(image), hole=np.ascontiguousarray(hole))

    def finer(self, fill: NDArray[np.float32], rgb: NDArray[np.uint8], blur: float) -> Window:
        """The next octave: the same window at twice the size, where ``fill`` (h, w, 4), enlarged, is given.

        It is blurred by ``blur`` px of the finer window, as detail of this size is none of the next.
        ``rgb`` is as for `prepared`, if this window is reduced.
        """
        scale = -(-self.scale // 2)
        image, hole = reduced(rgb[self.box], self.unknown, scale)
        smooth = cv2.GaussianBlur(self._matched(fill), (0, 0), blur * scale / self.scale)
        given = rescaled(cast("NDArray[np.float32]", smooth), scale / self.scale, hole.shape)
        return replace(self, scale=scale, image=image, hole=hole, given=given)

    def _matched(self, fill: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w, 3): known pixels, and ``fill`` (h, w, 4) with the colours of their border and of `given`."""
        colours: Any = cv2.cvtColor(fill, cv2.COLOR_BGRA2BGR)  # the first three, in their order
        if self.given is not None:
            colours += widely_blurred(self.given - colours, _STEADY)
        return pasted(self.image, match_seam(colours, self.image, self.hole), self.hole)

    def prepared(
        self,
        fill: NDArray[np.float32],
        rgb: NDArray[np.uint8],
        fakeness: NDArray[np.float32],
        *,
        copying: Copying | None = None,
        pieces: bool = False,
    ) -> Prepared | None:
        """What is to be pasted of what the model made of it, for a photo's (H, W, 3) and (H, W).

        ``fill`` is (h, w, 4), RGB in [-1, 1] and fakeness in [0, 1]. With ``copying`` the fill of a window
        that is reduced, or deep, gets detail from its surroundings; with ``pieces`` a reduced one gets large
        pieces of them (shifts.py). Reads known pixels of ``rgb`` only; a
        second window reads ``fakeness`` too, as earlier windows left it: where its own is not lower it has
        nothing to give, and None says so if that is everywhere.
        """
        choice = self._less_fake(fill[..., 3], fakeness[self.box]) if self.second else None
        if choice is not None and not choice.any():
            return None
        colours = self._matched(fill)
        photo = rgb[self.box]
        source: Exemplar | None = None
        reduce = partial(reduced, photo, self.unknown)
        if copying is not None and self.scale == 1:
            colours = with_copied_detail(
                colours,
                photo,
                self.unknown,
                self.part,
                self.depths,
                reduce,
                edges_kept=self.given is not None,
            )
        if copying is not None and self.scale > 1:
            wanted = self.part
            if choice is not None:
                size = [side * self.scale for side in choice.shape[::-1]]
                kept = cv2.resize((choice > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
                wanted = wanted & (kept[: wanted.shape[0], : wanted.shape[1]] > 0)
            lines: Lines | None = None
            if pieces:
                colours, lines = with_lines(colours, self.image, self.hole)
            source = Exemplar(colours, photo, self.unknown, wanted, self.scale, reduce, copying, lines=lines)
        matched = cast("NDArray[np.float32]", cv2.merge([*cv2.split(colours), fill[..., 3]]))
        return Prepared(matched, choice, source)

    def paste(self, prepared: Prepared, rgb: NDArray[np.uint8], fakeness: NDArray[np.float32]) -> None:
        """Write into this part of the hole, in a photo's (H, W, 3) and (H, W); second windows come last."""
        fill, choice, source = prepared
        photo = rgb[self.box]
        if self.scale == 1:
            self._write((slice(None), slice(None)), fill, photo, fakeness[self.box], choice)
            return
        deep = self.depths > _FADE
        rows, columns = np.flatnonzero(self.part.any(1)), np.flatnonzero(self.part.any(0))
        for top in range(rows[0], rows[-1] + 1, _PIECE):
            for left in range(columns[0], columns[-1] + 1, _PIECE):
                piece = (
                    slice(top, min(top + _PIECE, rows[-1] + 1)),
                    slice(left, min(left + _PIECE, columns[-1] + 1)),
                )
                if self.part[piece].any():
                    full = self._full(fill, deep, photo, piece)
                    if source is not None:
                        full[..., :3] += source.detail(piece)
                    counts = None if choice is None else sampled(choice, self.scale, piece)
                    self._write(piece, full, photo, fakeness[self.box], counts)

    def _less_fake(self, fill: NDArray[np.float32], fakeness: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w): 1 where a fill's fakeness (h, w) is clearly lower than the photo's (H, W) so far, else 0.

        Both are averaged over their surroundings in this part, and 1 fades into 0.
        """
        own, before = (layer[:: self.scale, :: self.scale] for layer in (self.part, fakeness))
        gain = np.where(own, np.float32(_MARGIN) * before - np.clip(fill, 0, 1), np.float32(0))
        better: NDArray[Any] = cv2.GaussianBlur(gain, (0, 0), _REGION) > 0
        chosen: NDArray[Any] = cv2.GaussianBlur(better.astype(np.float32), (0, 0), _SOFT)
        return chosen

    def _full(
        self,
        fill: NDArray[np.float32],
        deep: NDArray[np.bool_],
        photo: NDArray[np.uint8],
        piece: tuple[slice, slice],
    ) -> NDArray[np.float32]:
        """A piece of ``fill`` at the photo's resolution, matched to the known pixels there."""
        scale = self.scale
        rows, columns = (  # of the window around it
            slice(max(0, span.start // scale - _HALO), min(side, -(-span.stop // scale) + _HALO))
            for span, side in zip(piece, self.hole.shape, strict=True)
        )
        around = (
            slice(rows.start * scale, rows.stop * scale),
            slice(columns.start * scale, columns.stop * scale),
        )
        hole = self.unknown[around]  # the window may reach beyond the photo's border
        height, width = hole.shape
        full = enlarged(fill, scale, (rows, columns))[:height, :width]
        still = deep[rows, columns].repeat(scale, axis=0).repeat(scale, axis=1)[:height, :width]
        full[..., :3] = match_seam(full[..., :3], blanked(photo[around], hole), hole, still & hole)
        top, left = piece[0].start - around[0].start, piece[1].start - around[1].start
        return full[top : top + piece[0].stop - piece[0].start, left : left + piece[1].stop - piece[1].start]

    def _write(
        self,
        piece: tuple[slice, slice],
        fill: NDArray[np.float32],
        photo: NDArray[np.uint8],
        fakeness: NDArray[np.float32],
        counts: NDArray[np.float32] | None,
    ) -> None:
        before, seen, part = photo[piece], fakeness[piece], self.part[piece]
        colours: Any = cv2.cvtColor(fill, cv2.COLOR_BGRA2BGR)
        fakes: Any = np.clip(fill[..., 3], 0, 1)
        weight = np.minimum(self.blend[0][piece[0]][:, None], self.blend[1][piece[1]])
        if counts is not None:
            weight *= np.clip(counts, 0, 1)
        if weight.min() < 1:
            colours = mixed(blanked(before, ~part), np.clip(colours, -1, 1), weight)
            fakes = weight * fakes + (1 - weight) * seen
        levels = cv2.addWeighted(colours, 127.5, colours, 0, 127.5, dtype=cv2.CV_8U)  # rounds and clips
        for new, old in ((levels, before), (fakes, seen)):
            cv2.copyTo(new, part.astype(np.uint8), old)


def blanked(rgb: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """``rgb`` (h, w, 3) in [-1, 1], 0 in ``hole`` (h, w)."""
    image: Any = cv2.LUT(rgb, _COLOURS)  # several times as fast as arithmetic
    cv2.copyTo(np.zeros_like(image), hole.astype(np.uint8), image)
    return cast("NDArray[np.float32]", image)


def reduced(
    rgb: NDArray[np.uint8], hole: NDArray[np.bool_], scale: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Image and hole ``scale`` times smaller: averages over known pixels, known where most of the area is."""
    if scale == 1:
        return blanked(rgb, hole), hole
    height, width = (-(-side // scale) for side in hole.shape)
    image, lost = np.empty((height, width, 3), np.float32), np.empty((height, width), bool)
    step = max(1, _BAND // (scale * scale * width))
    for row in range(0, height, step):
        rows = slice(row, min(row + step, height))
        band = slice(rows.start * scale, rows.stop * scale)
        bottom, right = (rows.stop - row) * scale - hole[band].shape[0], width * scale - hole.shape[1]
        known = (~hole[band]).astype(np.float32)
        sums = [
            cv2.resize(
                cv2.copyMakeBorder(layer, 0, bottom, 0, right, cv2.BORDER_REPLICATE),
                (width, rows.stop - row),
                interpolation=cv2.INTER_AREA,
            )
            for layer in (blanked(rgb[band], hole[band]), known)
        ]
        lost[rows] = sums[1] < 0.5
        image[rows] = sums[0] / cv2.merge([np.maximum(sums[1], 0.5)] * 3)
        image[rows][lost[rows]] = 0
    return image, lost
