"""A photo in memory: its pixels as they are stored, and what its file says beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class Metadata:
    """What a photo carries beside its pixels, without pictures of any kind."""

    exif: bytes = b""
    """EXIF block, with or without the head ``Exif\\0\\0``; of a TIFF its descriptive tags in that form."""
    icc: bytes = b""
    """ICC profile of the colours."""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    """Horizontal and vertical resolution."""
    comment: bytes = b""
    own: tuple[tuple[bytes, bytes], ...] = ()
    """What only the photo's own format holds, in its words: the chunks of a PNG, segments of a JPEG."""


@dataclass(frozen=True)
class Photo:
    """A photo, or one picture of a file with several. It never changes."""

    pixels: NDArray[Any]
    """As stored, before EXIF orientation: (H, W[, C]) of bool (1 bit), uint8 or uint16."""
    mode: str
    """What the channels mean, in Pillow's words for 8 bits: 1, L, LA, P, RGB, RGBA, RGBX, CMYK, ..."""
    palette: bytes = b""
    """Of mode P: red, green and blue of each entry."""
    opacity: bytes = b""
    """Of mode P: opacity (0-255) of the first entries; further ones are opaque."""
    orientation: int = 1
    """EXIF orientation, 1-8."""
    metadata: Metadata = Metadata()
    format: str = ""
    """Name of the file format it came in; empty if it came in none."""
    coding: dict[str, Any] = field(default_factory=dict)
    """How its file was coded, for the writer of the same format."""
    lossless: bool = True
    """Whether it was stored without loss."""
    pages: int = 1
    """Number of pictures in the file: more than 1 if animated or multi-page. This is the first."""
    path: Path = Path("given")
    """Where it was read, for messages."""

    @property
    def kind(self) -> str:
        """``mode`` as formats list what they hold: ``;16`` for 16 bits, ``P;A`` for a palette with alpha."""
        if self.mode == "P" and self.opacity:
            return "P;A"
        return f"{self.mode};16" if self.pixels.dtype == np.uint16 else self.mode


def display(pixels: NDArray[_Scalar], orientation: int) -> NDArray[_Scalar]:
    """Turn stored pixels (H, W, ...) as EXIF ``orientation`` asks for."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def store(pixels: NDArray[_Scalar], orientation: int) -> NDArray[_Scalar]:
    """Turn displayed pixels (H, W, ...) back; the inverse of `display`."""
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)
