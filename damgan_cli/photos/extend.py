"""A larger canvas around a photo: what is added is to be filled, what was there keeps its bits."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from damgan_cli.errors import ImageFileError
from damgan_cli.photos.limits import most_pixels
from damgan_cli.photos.photo import display, store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from damgan_cli.photos.photo import Photo

_SIDES = ("left", "top", "right", "bottom", "all")
_PART = re.compile(r"(\w+)=(\d+(?:\.\d+)?)(%?)")


@dataclass(frozen=True)
class Margins:
    """What is added at each side of a photo as it is displayed."""

    sides: tuple[tuple[str, float, bool], ...]
    """Side, amount, and whether that is in per cent of the photo's width (left, right) or height."""

    def px(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in px for a photo of (height, width)."""
        added = dict.fromkeys(_SIDES[:4], 0)
        for side, amount, percent in self.sides:
            for each in _SIDES[:4] if side == "all" else (side,):
                whole = width if each in {"left", "right"} else height
                added[each] = round(amount * whole / 100 if percent else amount)
        return added["left"], added["top"], added["right"], added["bottom"]


def parse_margins(text: str) -> Margins:
    """Read ``left=20%,top=100`` (sides left, top, right, bottom or all; px or %). Raises ImageFileError."""
    sides = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if not match or match[1] not in _SIDES or not float(match[2]):
            raise ImageFileError(
                f"--extend {text} is not understood.",
                "Name sides and how much is added, in px or %, such as left=20%,top=100, or all=10%.",
            )
        sides.append((match[1], float(match[2]), match[3] == "%"))
    names = [side for side, *_ in sides]
    if len(set(names)) < len(names) or ("all" in names and len(names) > 1):
        raise ImageFileError(f"--extend {text} names a side twice.", "Give each side once, or all alone.")
    return Margins(tuple(sides))


def extended_size(size: tuple[int, int], margins: Margins) -> tuple[int, int]:
    """Width and height of a photo of ``size`` (width, height) with ``margins``."""
    left, top, right, bottom = margins.px(size[1], size[0])
    return size[0] + left + right, size[1] + top + bottom


def extended(photo: Photo, hole: NDArray[np.bool_], margins: Margins) -> tuple[Photo, NDArray[np.bool_]]:
    """``photo`` and its ``hole`` (H, W) on a larger canvas; what was added is hole.

    There pixels repeat those of the border, opacity too, until they are filled. Raises ImageFileError if the
    canvas is larger than `limits.limit_pixels` allows.
    """
    left, top, right, bottom = margins.px(*hole.shape)
    width, height = extended_size((hole.shape[1], hole.shape[0]), margins)
    if width * height > most_pixels():
        raise ImageFileError(
            f"{photo.path} extended to {width}x{height} has more than {most_pixels()} pixels.",
            "Add less, or raise the limit: --max-pixels COUNT.",
        )
    shown = display(photo.pixels, photo.orientation)
    around = ((top, bottom), (left, right), *[(0, 0)] * (shown.ndim - 2))
    pixels = store(np.pad(shown, around, mode="edge"), photo.orientation)
    return replace(photo, pixels=pixels), np.pad(hole, around[:2], constant_values=True)
