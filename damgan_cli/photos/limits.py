"""How large an image may be, and what happens where memory runs out nevertheless."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

import cv2
from PIL import Image

from damgan_cli.errors import ImageFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Pillow warns from 89 and refuses from 179 million pixels: a 100 megapixel photo is no attack, so only the
# refusal is kept.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

MAX_PIXELS = 178_956_970
"""Default of the largest number of pixels an image may have: Pillow's."""
_limit = MAX_PIXELS


def limit_pixels(count: int = MAX_PIXELS) -> None:
    """From now on refuse images of more than ``count`` pixels, as a few kB can unpack to many GB."""
    global _limit  # noqa: PLW0603  # Pillow's own limit is one per process too
    _limit = count
    if Image.MAX_IMAGE_PIXELS is not None and count > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = -(-count // 2)  # Pillow refuses from twice of this on


def most_pixels() -> int:
    """The limit that holds now."""
    return _limit


def most_bytes() -> int:
    """More than any image has that `limit_pixels` allows: 16-bit RGBA, stored raw, with metadata."""
    return 8 * _limit + (1 << 26)


@contextlib.contextmanager
def memory_for(path: Path) -> Iterator[None]:
    """Memory that runs out inside is an ImageFileError of this one file, which a run over many survives."""
    try:
        yield
    except (MemoryError, cv2.error) as problem:
        if not out_of_memory(problem):
            raise
    else:
        return
    # not in the handler: there the failed attempt still holds its memory
    raise ImageFileError(f"{path} does not fit in memory.", "Free some, or reduce the image.")


def out_of_memory(problem: BaseException) -> bool:
    """Whether an error of Python, NumPy, Pillow or OpenCV says that there is too little memory."""
    return isinstance(problem, MemoryError) or getattr(problem, "code", None) == cv2.Error.StsNoMem
