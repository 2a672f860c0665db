"""Decode image files into pixels as they are stored, with one clear error for every bad file.

Pillow decodes everything except 16-bit PNG and TIFF, which it silently reduces to 8 bits when they have
colour; OpenCV reads those. What neither reads right is refused: OpenCV gives wrong pixels for planar 16-bit
TIFF, and tifffile, which reads every TIFF, needs 80 MB of imagecodecs for the most common compression, LZW.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import struct
import warnings
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from damgan_cli.errors import ImageFileError
from damgan_cli.photos.metadata import (
    ORIENTATION,
    PHOTOSHOP,
    TIFF_PREVIEWS,
    XMP,
    patch_photoshop,
    patch_xmp,
    png_chunks,
    png_stand_in,
    turn_upright,
)
from damgan_cli.photos.received import received
from damgan_cli.runtime.paths import is_folder, is_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

EXTENSIONS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".hif": "HEIF",
}
"""Extensions of photos and masks, and the Pillow format that each is written in."""

OTHER_IMAGES = frozenset(
    f".{kind}"
    for kind in (
        *("gif", "jp2", "j2k", "jpx", "jxl", "tga", "psd", "xcf", "exr", "hdr", "ppm", "pgm", "pnm"),
        *("qoi", "dds", "ico", "svg", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf"),
    )
)
"""Extensions of pictures that are not read: in a folder they are left out, which its owner is told."""

_READABLE = "Use a JPEG, PNG, WebP, TIFF, BMP, AVIF or HEIC file."

# TIFF tags that say how pixels lie in the file (TIFF 6.0), and the ICC profile, which travels by itself.
_TIFF_LAYOUT = {*range(254, 270), 273, *range(277, 282), *range(284, 294), 317, *range(320, 326)}
_TIFF_LAYOUT |= {330, *range(332, 344), 347, *range(512, 533), 34675}
# What Pillow's decoders raise on malformed files, next to OSError.
_DECODER_ERRORS = (
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
_UNDO_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

# Pillow warns from 89 and refuses from 179 million pixels: a 100 megapixel photo is no attack, so only the
# refusal is kept. OpenCV would print libtiff's remarks on stderr.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
_set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # OpenCV 4, or 5
_set_log_level(0)

_BUILT_IN = sorted(set(EXTENSIONS.values()) - {"HEIF"})

MAX_PIXELS = 178_956_970
"""Default of the largest number of pixels an image may have: Pillow's."""
_limit = MAX_PIXELS


def limit_pixels(count: int = MAX_PIXELS) -> None:
    """From now on refuse images of more than ``count`` pixels, as a few kB can unpack to many GB."""
    global _limit  # noqa: PLW0603  # Pillow's own limit is one per process too
    _limit = count
    if Image.MAX_IMAGE_PIXELS is not None and count > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = -(-count // 2)  # Pillow refuses from twice of this on


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


@dataclass(frozen=True)
class Decoded:
    """A decoded file, its pixels turned as they are *stored* (before EXIF orientation)."""

    image: Image.Image
    """Pixels of a file of up to 8 bits per channel; of a deeper one only a rough copy."""
    deep: NDArray[np.uint16] | None
    """Pixels of a 16-bit file: (H, W) gray, (H, W, 2) gray and alpha, (H, W, 3) RGB or (H, W, 4) RGBA."""
    orientation: int
    """EXIF orientation, 1–8."""
    format: str
    """Pillow's name of the file format, one of the values of `EXTENSIONS`."""
    exif: bytes
    """EXIF block, or a TIFF's descriptive tags in that form; may be empty."""
    pages: int
    """Number of pictures in the file: more than 1 if animated or multi-page."""
    data: bytes = b""
    """The whole file, read once: it may change or vanish in the meantime."""


def decode(path: Path, unkept: str = "it cannot be kept as it is") -> Decoded:
    """Read a file of one of the formats of `EXTENSIONS` (the first picture of several).

    Raises ImageFileError if the file is missing, empty, truncated, no image, has more pixels than
    `limit_pixels` allows, or pixels that cannot be kept as they are: what ``unkept`` says of them.
    """
    path = Path(path)
    with memory_for(path):
        return _decode(path, unkept)


def _decode(path: Path, unkept: str) -> Decoded:
    try:
        with open_header(path):  # a huge file that is no image is not read
            pass
        data = received(path) or path.read_bytes()
        image: Image.Image = open_header(path, data)
    except OSError as problem:
        raise ImageFileError(f"{path} cannot be read ({problem.strerror or problem}).") from None
    try:
        # An MPO is a JPEG with previews or a second view behind it: the first picture is the photo.
        kind, pages = ("JPEG", 1) if image.format == "MPO" else (image.format or "", _pages(image))
        if obstacle := _not_kept(image, data):
            raise ImageFileError(
                f"{path} ({kind}) has {obstacle}: {unkept}.",
                "Save it with 8 or 16 bits in gray or RGB, as a PNG for example.",
            )
        if kind != "TIFF":  # whose orientation load() would take away; a PNG's may lie behind the pixels
            image.load()
        if kind == "PNG" and image.mode in {"1", "L"} and "transparency" in image.info:
            image.info["transparency"] = _transparent_gray(data)
        tags = _tags(image)
        orientation = _orientation(tags)
        exif = _descriptive_tags(tags) if kind == "TIFF" else image.info.get("exif") or b""
        deep = _decode_16_bit(image, data) if _bits_per_sample(image, data) == 16 else None
        image.load()
        if kind == "TIFF":
            image.info["colormap"] = image.tag_v2.get(320)  # type: ignore[attr-defined]
        if kind == "TIFF" and orientation != 1:  # which Pillow has turned by itself
            info = image.info
            image = image.transpose(_UNDO_TURN[orientation])
            image.info = info
    except _DECODER_ERRORS as problem:
        if out_of_memory(problem):
            raise
        raise ImageFileError(
            f"{path} is truncated or damaged ({problem}).", "Export or download it again, or leave it out."
        ) from None
    return Decoded(image, deep, orientation, kind, exif, pages, data)


def displayed_size(path: Path, *, exact: bool = False) -> tuple[int, int]:
    """Width and height of an image once EXIF orientation is applied, without decoding pixels.

    A PNG may keep its orientation behind the pixels, where only ``exact`` looks. Raises ImageFileError.
    """
    path = Path(path)
    with memory_for(path):
        return _displayed_size(path, exact=exact)


def _displayed_size(path: Path, *, exact: bool) -> tuple[int, int]:
    image = open_header(path)
    try:
        if image.format != "PNG":
            turned = _orientation(_tags(image)) >= 5
        elif exact:  # Pillow would decode the pixels on its way to what follows them
            data = received(path)
            source = BytesIO(data) if data else path.open("rb")
            with source as file, Image.open(BytesIO(png_stand_in(file)), formats=["PNG"]) as small:
                turned = _orientation(_tags(small)) >= 5
        else:
            turned = "exif" in image.info and _orientation(_tags(image)) >= 5
        # Newer Pillows turn the size of a TIFF by themselves
        width, height = (
            (image.tag_v2[256], image.tag_v2[257]) if image.format == "TIFF" else image.size  # type: ignore[attr-defined]
        )
    except _DECODER_ERRORS as problem:
        raise ImageFileError(f"{path} is truncated or damaged ({problem}).") from None
    finally:
        image.close()
    return (height, width) if turned else (width, height)


def open_header(path: Path, data: bytes | None = None) -> ImageFile.ImageFile:
    """Open ``path`` (or its ``data``) without decoding pixels. Raises ImageFileError, see `decode`."""
    data = received(path) if data is None else data
    try:
        if data is None and is_folder(path):
            raise ImageFileError(f"{path} is a folder, not an image file.")
        if data is None and is_stream(path):
            raise ImageFileError(f"{path} is a pipe, not an image file.")
        if not (path.stat().st_size if data is None else data):
            raise ImageFileError(f"{path} is empty (0 bytes).", "Export or download it again.")
        source = path if data is None else BytesIO(data)
        try:
            image = Image.open(source, formats=_BUILT_IN)
        except UnidentifiedImageError:
            image = _open_unusual(path, source)
        if image.width * image.height <= _limit:
            return image
        image.close()
    except FileNotFoundError:
        raise ImageFileError(f"{path} does not exist.") from None
    except PermissionError:
        raise ImageFileError(f"{path} may not be read (permission denied).") from None
    except Image.DecompressionBombError:
        pass
    except _DECODER_ERRORS as problem:
        reason = problem.strerror if isinstance(problem, OSError) else None
        raise ImageFileError(f"{path} cannot be opened ({reason or problem}).") from None
    limit = f"{_limit / 1e6:.4g} million" if _limit >= 1e6 else str(_limit)
    raise ImageFileError(
        f"{path} has more than {limit} pixels, the limit against decompression bombs.",
        "If you trust it, raise the limit: --max-pixels COUNT.",
    )


def _open_unusual(path: Path, source: Path | BytesIO) -> ImageFile.ImageFile:
    """Open a HEIF photo, for which Pillow needs a plugin; of anything else say what it is."""
    if isinstance(source, BytesIO):
        head = source.getvalue()[:12]
    else:
        with source.open("rb") as file:
            head = file.read(12)
    is_heif = head[4:8] == b"ftyp" and head[8:11] in {b"hei", b"hev", b"mif", b"msf"}
    if is_heif and not heif_plugin():
        raise ImageFileError(
            f"{path} is a HEIC photo, for which a plugin is needed.",
            "Install it: pip install 'damgan[heif]'.",
        )
    known = {b"\xff\xd8": "JPEG", b"II": "TIFF", b"MM": "TIFF"}.get(head[:2], "HEIC" if is_heif else None)
    with contextlib.suppress(*_DECODER_ERRORS):
        image = Image.open(source, formats=["HEIF"] if is_heif else None)
        if is_heif:
            return image
        image.close()
        raise ImageFileError(
            f"{path} is an image of the format {image.format}, which is not supported.", _READABLE
        )
    if known:
        raise ImageFileError(
            f"{path} is a {known} file that is damaged, or has pixels of a kind that is not supported.",
            "Save it with 8 or 16 bits in gray or RGB.",
        )
    raise ImageFileError(f"{path} is not an image that can be read.", _READABLE)


@cache
def heif_plugin() -> str | None:
    """Name of the package that reads HEIC here, None without one. pi_heif does not write it."""
    for name in ("pillow_heif", "pi_heif"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name).register_heif_opener()
            return name
    return None


def _not_kept(image: Image.Image, data: bytes) -> str | None:
    """What keeps the pixels of a file opened by `open_header` from being kept as they are, if anything."""
    if image.format == "HEIF":
        bits = image.info.get("bit_depth", 8)
        return f"{bits} bits per channel" if bits > 8 else None
    if image.format == "AVIF":
        # AV1 Codec ISO Media File Format Binding, 2.3: high_bitdepth and twelve_bit; ISO/IEC 23091-2: colours
        coding = re.search(rb"av1C..(.)", data, re.DOTALL)
        if coding and coding[1][0] & 0x40:
            return f"{12 if coding[1][0] & 0x20 else 10} bits per channel"
        colours = re.search(rb"colrnclx(..)(..)", data, re.DOTALL)
        plain = colours is None or (
            colours[1] in {b"\0\1", b"\0\2"} and colours[2] not in {b"\0\x10", b"\0\x12"}
        )
        return (
            None if plain or "icc_profile" in image.info else "wide-gamut or HDR colours but no ICC profile"
        )
    if image.format != "TIFF":
        return None
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = max(tags.get(258, (1,)))
    if set(tags.get(339, (1,))) - {1, 4}:
        return "signed or floating-point pixels"
    if bits not in {1, 2, 4, 8, 16}:
        return f"{bits} bits per channel"
    if bits < 16:
        return None
    if tags.get(262) not in {1, 2}:
        return f"16 bits per channel in a colour space that is not supported (photometric {tags.get(262)})"
    if tags.get(284, 1) != 1 and tags.get(277, 1) > 1:
        return "16 bits per channel that are not interleaved (planar)"
    if tags.get(ORIENTATION, 1) != 1 and data[2:4] in {b"+\0", b"\0+"}:
        return "16 bits per channel that are to be turned, in a BigTIFF"
    if set(tags.get(338, ())) - {2}:
        return "16 bits per channel and premultiplied alpha, or a fourth channel that is no alpha"
    if tags.get(259, 1) not in {1, 5, 8, 32773, 32946}:
        return (
            f"16 bits per channel and a compression that is not supported ({image.info.get('compression')})"
        )
    return None


def _bits_per_sample(image: Image.Image, data: bytes) -> int:
    """Bits per channel of a file opened by `open_header`, read from its header (Pillow does not tell)."""
    if image.format == "PNG":
        return data[24]  # after the signature 8, chunk head 8, width 4, height 4
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(258, (1,))))  # type: ignore[attr-defined]
    return 1 if image.mode == "1" else 8


def _transparent_gray(data: bytes) -> int:
    """The gray that a PNG of up to 8 bits declares transparent, scaled to 8 bits like Pillow's pixels."""
    most = (1 << data[24]) - 1
    gray = next(int.from_bytes(body[:2], "big") for kind, body in png_chunks(data) if kind == b"tRNS")
    return (gray & most) * 255 // most  # PNG 11.3.1.1: of a value too large the lower bits count


def _pages(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1))


def _tags(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except _DECODER_ERRORS:  # damaged metadata do not make a photo unreadable
        return Image.Exif()


def _orientation(tags: Image.Exif) -> int:
    orientation = tags.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _descriptive_tags(tags: Image.Exif) -> bytes:
    """The tags of a TIFF that describe the photo, not the layout of its pixels in the file, as EXIF bytes."""
    kept = Image.Exif()
    for tag in tags:
        if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            kept[tag] = {t: v for t, v in tags.get_ifd(tag).items() if t != ExifTags.IFD.Interop}
        elif patch := {PHOTOSHOP: patch_photoshop, XMP: patch_xmp}.get(tag):
            if isinstance(tags[tag], bytes):  # else of a type it should not have, and cannot be patched
                kept[tag] = patch(tags[tag])
        elif tag not in _TIFF_LAYOUT | TIFF_PREVIEWS:
            kept[tag] = tags[tag]
    return kept.tobytes() if len(kept) else b""


def _decode_16_bit(image: Image.Image, data: bytes) -> NDArray[np.uint16]:
    if image.format == "TIFF":
        data = turn_upright(data)  # OpenCV would turn the pixels, and fail at a quarter turn
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or sorted(decoded.shape[:2]) != sorted(image.size):
        raise ValueError("its 16-bit pixels cannot be decoded")
    pixels = decoded.astype(np.uint16, copy=False)
    if pixels.ndim == 2:
        if "transparency" not in image.info:
            return pixels
        # one gray means "transparent": OpenCV forgets it (in colour it makes an alpha channel of it)
        opaque = np.where(pixels == image.info["transparency"], 0, 65535).astype(np.uint16)
        return np.stack([pixels, opaque], axis=2)
    if image.format == "PNG" and data[25] == 4:  # gray with alpha, which OpenCV spreads over four channels
        return pixels[..., [0, 3]]
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
