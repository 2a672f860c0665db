"""What a file format is to the rest of the program, and what those that Pillow reads have in common."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
from PIL import Image

from damgan_cli.photos.color import image_of, pixels_of
from damgan_cli.photos.exif import ORIENTATION, patch_exif, patch_xmp
from damgan_cli.photos.limits import most_pixels
from damgan_cli.photos.photo import Metadata, Photo

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import ImageFile

HEADER = 512
"""Bytes at the start of a file by which its format is known."""
QUALITY = 95
"""Of formats with loss, unless the source or the user says otherwise."""
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    cv2.error,
)
"""What decoders raise on malformed files."""


class NotKept(Exception):  # noqa: N818  # not every refusal is an error of the file
    """A photo whose pixels cannot be kept as they are; the message says what it has, after "it has"."""


class NotInstalled(Exception):  # noqa: N818
    """A format that needs a package that is not here: what is the matter, and what to do."""


def _nothing() -> None:
    """Of formats that need nothing to be written."""


@dataclass(frozen=True)
class Format:
    """A file format of photos and masks. What is not said to raise something raises `DECODER_ERRORS`."""

    name: str
    """In messages, and in `Photo.format`."""
    extensions: tuple[str, ...]
    """In small letters, with their dots."""
    modes: frozenset[str]
    """Each `Photo.kind` that it holds without conversion."""
    probe: Callable[[bytes], bool]
    """Whether a file that starts with these bytes (`HEADER` of them, or all there are) is of this format."""
    size: Callable[[BinaryIO], tuple[int, int]]
    """Displayed width and height of a file, without decoding pixels. Raises NotInstalled."""
    read: Callable[[bytes], Photo]
    """Decode a whole file, as it is stored. Raises NotKept, NotInstalled."""
    write: Callable[[Photo, int | None], bytes]
    """The whole file of a photo of one of ``modes``, at a quality of 1-100, or the format's own way."""
    check_writable: Callable[[], None] = _nothing
    """Raises NotInstalled if files of this format can only be read."""


def open_image(source: BinaryIO, form: str) -> ImageFile.ImageFile:
    """Open an image by Pillow's reader of ``form`` without decoding pixels.

    Raises DecompressionBombError if it has more pixels than `limits.limit_pixels` allows.
    """
    image = Image.open(source, formats=[form])
    if image.width * image.height > most_pixels():
        image.close()
        raise Image.DecompressionBombError
    return image


def size_by(form: str) -> Callable[[BinaryIO], tuple[int, int]]:
    """`Format.size` by Pillow's reader of ``form``, whose header has the orientation."""

    def size(source: BinaryIO) -> tuple[int, int]:
        with open_image(source, form) as image:
            return turned_size(image.size, tags_of(image))

    return size


def turned_size(size: tuple[int, int], tags: Image.Exif) -> tuple[int, int]:
    """Width and height as displayed."""
    return size[::-1] if orientation_of(tags) >= 5 else size


def tags_of(image: Image.Image) -> Image.Exif:
    """EXIF of an image; none if it is damaged, which does not make a photo unreadable."""
    try:
        return image.getexif()
    except DECODER_ERRORS:
        return Image.Exif()


def orientation_of(tags: Image.Exif) -> int:
    """EXIF orientation, 1-8."""
    orientation = tags.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def photo_of(image: Image.Image, form: str, **more: Any) -> Photo:
    """Decode an opened Pillow image of up to 8 bits; ``more`` is what only its format tells."""
    known: dict[str, Any] = {"pages": getattr(image, "n_frames", 1)}
    image.load()  # before the tags, as EXIF may lie behind the pixels
    known |= {"orientation": orientation_of(tags_of(image)), "metadata": metadata_of(image.info)}
    return Photo(**pixels_of(image), format=form, **known | more)


def metadata_of(
    info: dict[Any, Any], *, exif: bytes | None = None, own: tuple[tuple[bytes, bytes], ...] = ()
) -> Metadata:
    """What Pillow says of a file's metadata; ``exif`` if it is known better, ``own`` of the format."""
    return Metadata(
        exif=patch_exif(info.get("exif") or b"" if exif is None else exif),
        icc=info.get("icc_profile") or b"",
        xmp=patch_xmp(info.get("xmp") or b""),
        dpi=info.get("dpi") or None,
        comment=info.get("comment") or b"",
        own=own,
    )


def options_of(metadata: Metadata) -> dict[str, Any]:
    """Metadata as Pillow's writers take them."""
    known = {
        "exif": metadata.exif,
        "icc_profile": metadata.icc,
        "dpi": metadata.dpi,
        "xmp": metadata.xmp,
        "comment": metadata.comment,
    }
    return {key: value for key, value in known.items() if value}


def save(photo: Photo, form: str, **options: Any) -> bytes:
    """The file that Pillow's writer of ``form`` makes of a photo of up to 8 bits."""
    buffer = BytesIO()
    image_of(photo).save(buffer, form, **options)
    return buffer.getvalue()
