"""Photos and their sizes from files: right pixels, or one clear error for every bad file."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from damgan_cli.errors import ImageFileError
from damgan_cli.photos.color import pixels_of, rgb_of
from damgan_cli.photos.formats import FORMATS, HELD_MODES, format_of
from damgan_cli.photos.formats.common import DECODER_ERRORS, HEADER, NotInstalled, NotKept
from damgan_cli.photos.limits import MAX_PIXELS, memory_for, most_bytes, most_pixels, out_of_memory
from damgan_cli.photos.photo import Photo
from damgan_cli.photos.received import received
from damgan_cli.runtime.paths import is_folder, is_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from damgan_cli.photos.formats.common import Format

_SAVE = "Save it with 8 or 16 bits in gray or RGB, as a PNG for example."


def read_photo(path: Path, data: bytes | None = None) -> Photo:
    """Read a photo to be filled, from its ``data`` if it is at hand.

    Raises ImageFileError for a bad file or one that cannot be kept whole.
    """
    photo = decode(path, data)
    if photo.pages > 1:
        raise ImageFileError(
            f"{path} holds {photo.pages} pictures (it is animated or multi-page): only one can be filled.",
            "Save the picture you mean as a file of its own.",
        )
    if photo.kind not in HELD_MODES:
        raise ImageFileError(
            f"{path} has pixels of a kind that cannot be filled (Pillow mode {photo.mode}).",
            "Convert it to 8-bit or 16-bit gray or RGB.",
        )
    return photo


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a photo for training or scoring: (H, W, 3) uint8, 0-255, upright.

    EXIF orientation is applied, alpha dropped, 16 bits scaled to 8, gray repeated. Raises ImageFileError.
    """
    with memory_for(path):
        return rgb_of(decode(path))


def refuse_narrow(path: Path, photo: NDArray[np.uint8], short: int) -> None:
    """Raise ImageFileError for a photo so narrow that a shorter side of ``short`` would fill all memory."""
    height, width = photo.shape[:2]
    if height * width * (short / min(height, width)) ** 2 > MAX_PIXELS:
        raise ImageFileError(
            f"{path} is {width}x{height}: too narrow to be enlarged to {short} pixels.", "Leave it out."
        )


def photo_in_memory(image: Any) -> Photo:
    """A photo at hand instead of in a file: a PIL image, or an array (H, W[, C]) of uint8 or uint16.

    Raises ImageFileError for modes and shapes that no photo has.
    """
    if isinstance(image, np.ndarray):
        shaped = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in {2, 3, 4})
        if not shaped or image.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
            raise ImageFileError(
                f"A photo cannot be an array of {image.dtype} with shape {image.shape}.",
                "Give (H, W), (H, W, 3) or (H, W, 4) of uint8 or uint16.",
            )
        mode = "L" if image.ndim == 2 else {2: "LA", 3: "RGB", 4: "RGBA"}[image.shape[2]]
        return Photo(image, mode)
    if not isinstance(image, Image.Image):
        kind = type(image).__name__
        raise ImageFileError(f"A photo cannot be a {kind}.", "Give a PIL image or a numpy array.")
    if image.mode.startswith("I;16"):
        return Photo(np.asarray(image).astype(np.uint16), "L")
    if image.mode not in HELD_MODES:
        raise ImageFileError(f"A PIL image of mode {image.mode} cannot be filled.", "Convert it to RGB.")
    return Photo(**pixels_of(image))


def read_file(path: Path) -> bytes:
    """The bytes of a file that begins as an image does, or of a pipe. Raises ImageFileError."""
    path = Path(path)
    if (data := received(path)) is not None:
        return data
    with memory_for(path), _opened(path) as (source, _, header):
        data = header + source.read(most_bytes() + 1 - len(header))
    if len(data) > most_bytes():
        raise _too_large(path)
    return data


def decode(path: Path, data: bytes | None = None, unkept: str = "it cannot be kept as it is") -> Photo:
    """Read a file of any of the formats (the first picture of several), from its ``data`` if at hand.

    Raises ImageFileError if the file is missing, empty, truncated, no image, has more pixels than
    `limit_pixels` allows, or pixels that cannot be kept as they are: what ``unkept`` says of them.
    """
    path = Path(path)
    with memory_for(path):
        data = read_file(path) if data is None else data
        with _opened(path, data) as (_, form, _), _told(path, form, unkept):
            return replace(form.read(data), path=path)


def displayed_size(path: Path) -> tuple[int, int]:
    """Width and height of an image once EXIF orientation is applied, without decoding pixels.

    Raises ImageFileError.
    """
    path = Path(path)
    with memory_for(path), _opened(path, received(path)) as (source, form, _), _told(path, form):
        source.seek(0)
        return form.size(source)


@contextlib.contextmanager
def _opened(path: Path, data: bytes | None = None) -> Iterator[tuple[BinaryIO, Format, bytes]]:
    """Open a file (or its ``data``); gives the format and the header by which it is known, read already."""
    if data is None and is_folder(path):
        raise ImageFileError(f"{path} is a folder, not an image file.")
    if data is None and is_stream(path):
        raise ImageFileError(f"{path} is a pipe, not an image file.")
    try:
        with path.open("rb") if data is None else BytesIO(data) as source:
            header = source.read(HEADER)
            if not header:
                raise ImageFileError(f"{path} is empty (0 bytes).", "Export or download it again.")
            form = format_of(header)
            if form is None:
                source.seek(0)
                raise _unknown(path, source)
            yield source, form, header
    except FileNotFoundError:
        raise ImageFileError(f"{path} does not exist.") from None
    except PermissionError:
        raise ImageFileError(f"{path} may not be read (permission denied).") from None
    except OSError as problem:
        raise ImageFileError(f"{path} cannot be read ({problem.strerror or problem}).") from None


@contextlib.contextmanager
def _told(path: Path, form: Format, unkept: str = "") -> Iterator[None]:
    """What a format raises becomes an ImageFileError that names the file."""
    try:
        yield
    except NotInstalled as problem:
        raise ImageFileError(f"{path} {problem.args[0]}.", problem.args[1]) from None
    except NotKept as problem:
        raise ImageFileError(f"{path} ({form.name}) has {problem}: {unkept}.", _SAVE) from None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except UnidentifiedImageError:
        raise ImageFileError(
            f"{path} is a {form.name} file that is damaged, or has pixels of a kind that is not supported.",
            "Save it with 8 or 16 bits in gray or RGB.",
        ) from None
    except DECODER_ERRORS as problem:
        if out_of_memory(problem):
            raise
        raise ImageFileError(
            f"{path} is truncated or damaged ({problem}).", "Export or download it again, or leave it out."
        ) from None


def _unknown(path: Path, source: BinaryIO) -> ImageFileError:
    """Say of a file of no known format what it is."""
    *most, last = sorted({form.name for form in FORMATS})
    readable = f"Use a file of one of the formats {', '.join(most)} and {last}."
    with contextlib.suppress(*DECODER_ERRORS, Image.DecompressionBombError), Image.open(source) as image:
        return ImageFileError(
            f"{path} is an image of the format {image.format}, which is not supported.", readable
        )
    return ImageFileError(f"{path} is not an image that can be read.", readable)


def _too_large(path: Path) -> ImageFileError:
    most = most_pixels()
    limit = f"{most / 1e6:.4g} million" if most >= 1e6 else str(most)
    return ImageFileError(
        f"{path} has more than {limit} pixels, the limit against decompression bombs.",
        "If you trust it, raise the limit: --max-pixels COUNT.",
    )
