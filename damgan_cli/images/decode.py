"""Decode image files into pixels as they are stored, with one clear error for every bad file.

Pillow decodes everything except 16-bit PNG and TIFF, which it silently reduces to 8 bits when they have
colour; OpenCV reads those.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from damgan_cli.errors import ImageFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)

EXTENSIONS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Extensions of photos and masks, and the Pillow format that each is written in."""

ORIENTATION = 0x0112
"""EXIF and TIFF tag: how the stored pixels must be turned to be displayed (1–8)."""

# TIFF tags that say how pixels lie in the file (TIFF 6.0), and the ICC profile, which travels by itself.
_TIFF_LAYOUT = {*range(254, 270), 273, *range(277, 282), *range(284, 294), 317, *range(320, 326)}
_TIFF_LAYOUT |= {330, *range(332, 344), 347, *range(512, 533), 34675}
_UNSUPPORTED_MODES = ("I", "F", "LAB", "HSV")
# What Pillow's decoders raise on malformed files, next to OSError.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
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

MAX_PIXELS = 178_956_970
"""Default of the largest number of pixels an image may have: Pillow's."""
_limit = MAX_PIXELS


def limit_pixels(count: int = MAX_PIXELS) -> None:
    """From now on refuse images of more than ``count`` pixels, as a few kB can unpack to many GB."""
    global _limit  # noqa: PLW0603  # Pillow's own limit is one per process too
    _limit = count
    if Image.MAX_IMAGE_PIXELS is not None and count > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = -(-count // 2)  # Pillow refuses from twice of this on


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


def decode(path: Path) -> Decoded:
    """Read a JPEG, PNG, WebP, TIFF or BMP file (of an animated or multi-page one, the first picture).

    Raises ImageFileError if the file is missing, empty, truncated, no image, or has more pixels than
    `limit_pixels` allows.
    """
    path = Path(path)
    try:
        with open_header(path):  # a huge file that is no image is not read
            pass
        data = path.read_bytes()
        image = open_header(path, data)
    except OSError as problem:
        raise ImageFileError(f"{path} cannot be read ({problem.strerror or problem}).") from None
    except MemoryError:
        raise ImageFileError(f"{path} does not fit in memory.") from None
    try:
        # An MPO is a JPEG with previews or a second view behind it: the first picture is the photo.
        kind, pages = ("JPEG", 1) if image.format == "MPO" else (image.format or "", _pages(image))
        if kind != "TIFF":  # whose orientation load() would take away; a PNG's may lie behind the pixels
            image.load()
        tags = _tags(image)
        orientation = _orientation(tags)
        exif = _descriptive_tags(tags) if kind == "TIFF" else image.info.get("exif", b"")
        deep = _decode_16_bit(path, image, data) if _bits_per_sample(image, data) == 16 else None
        image.load()
        if kind == "TIFF" and orientation != 1:  # which Pillow has turned by itself
            info = image.info
            image = image.transpose(_UNDO_TURN[orientation])
            image.info = info
    except _DECODER_ERRORS as problem:
        raise ImageFileError(
            f"{path} is truncated or damaged ({problem}).", "Export or download it again, or leave it out."
        ) from None
    except MemoryError:
        raise ImageFileError(f"{path} ({image.width}x{image.height}) does not fit in memory.") from None
    return Decoded(image, deep, orientation, kind, exif, pages, data)


def displayed_size(path: Path, *, exact: bool = False) -> tuple[int, int]:
    """Width and height of an image once EXIF orientation is applied, from its header.

    A PNG may keep its orientation behind the pixels, where only ``exact`` looks. Raises ImageFileError.
    """
    image = open_header(path)
    early = exact or image.format != "PNG" or "exif" in image.info
    try:
        turned = early and _orientation(_tags(image)) >= 5
        # Newer Pillows turn the size of a TIFF by themselves
        width, height = (
            (image.tag_v2[256], image.tag_v2[257]) if image.format == "TIFF" else image.size  # type: ignore[attr-defined]
        )
    except _DECODER_ERRORS as problem:
        raise ImageFileError(f"{path} is truncated or damaged ({problem}).") from None
    finally:
        image.close()
    return (height, width) if turned else (width, height)


def open_header(path: Path, data: bytes | None = None) -> Image.Image:
    """Open ``path`` (or its ``data``) without decoding pixels. Raises ImageFileError, see `decode`."""
    try:
        if data is None and path.is_dir():
            raise ImageFileError(f"{path} is a folder, not an image file.")
        if not (path.stat().st_size if data is None else data):
            raise ImageFileError(f"{path} is empty (0 bytes).", "Export or download it again.")
        image = Image.open(path if data is None else BytesIO(data), formats=sorted(set(EXTENSIONS.values())))
        if image.width * image.height <= _limit:
            return image
        image.close()
    except FileNotFoundError:
        raise ImageFileError(f"{path} does not exist.") from None
    except PermissionError:
        raise ImageFileError(f"{path} may not be read (permission denied).") from None
    except UnidentifiedImageError:
        raise ImageFileError(
            f"{path} is not an image that can be read.", "Use a JPEG, PNG, WebP, TIFF or BMP file."
        ) from None
    except Image.DecompressionBombError:
        pass
    except _DECODER_ERRORS as problem:
        reason = problem.strerror if isinstance(problem, OSError) else None
        raise ImageFileError(f"{path} cannot be opened ({reason or problem}).") from None
    raise ImageFileError(
        f"{path} has more than {_limit / 1e6:.4g} million pixels, the limit against decompression bombs.",
        "If you trust it, raise the limit: --max-pixels COUNT.",
    )


def _bits_per_sample(image: Image.Image, data: bytes) -> int:
    """Bits per channel of a file opened by `open_header`, read from its header (Pillow does not tell)."""
    if image.format == "PNG":
        return data[24]  # after the signature 8, chunk head 8, width 4, height 4
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(258, (1,))))  # type: ignore[attr-defined]
    return 1 if image.mode == "1" else 8


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
        elif tag not in _TIFF_LAYOUT:
            kept[tag] = tags[tag]
    return kept.tobytes() if len(kept) else b""


def _decode_16_bit(path: Path, image: Image.Image, data: bytes) -> NDArray[np.uint16]:
    if image.format == "TIFF" and (photometric := image.tag_v2.get(262)) not in (1, 2):  # type: ignore[attr-defined]
        raise ImageFileError(
            f"{path} is a 16-bit TIFF in a colour space that is not supported (photometric {photometric}).",
            "Convert it to 16-bit gray or RGB.",
        )
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


def rgb_pixels(decoded: Decoded, path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of a decoded file, turned as stored; alpha is dropped, 16 bits are scaled to 8."""
    if decoded.deep is not None:
        deep = decoded.deep
        pixels = ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)  # exact inverse of 8 bits * 257
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]
    if decoded.image.mode in _UNSUPPORTED_MODES or decoded.image.mode.startswith("I;"):
        raise ImageFileError(
            f"{path} has pixels of a kind that is not supported (Pillow mode {decoded.image.mode}).",
            "Convert it to 8-bit or 16-bit gray or RGB.",
        )
    if decoded.image.mode == "CMYK":
        return np.asarray(convert_cmyk(decoded.image, "RGB", decoded.image.info.get("icc_profile")))
    if decoded.image.mode == "P":  # by way of RGBA, or Pillow warns that alpha is lost
        return np.asarray(decoded.image.convert("RGBA").convert("RGB"))
    image = decoded.image
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def convert_cmyk(image: Image.Image, mode: str, profile: bytes | None) -> Image.Image:
    """Convert CMYK to sRGB (``mode`` "RGB") or back ("CMYK") by the photo's ICC profile if it has one."""
    if profile:
        try:
            cmyk = ImageCms.ImageCmsProfile(BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            origin, target = (cmyk, srgb) if mode == "RGB" else (srgb, cmyk)
            converted = ImageCms.profileToProfile(image, origin, target, outputMode=mode)
        except (ImageCms.PyCMSError, OSError):  # a broken profile, or one of another colour model
            pass
        else:
            assert converted is not None  # noqa: S101  # only None with inPlace=True
            return converted
    return image.convert(mode)


def alpha_pixels(decoded: Decoded) -> NDArray[np.uint8] | None:
    """(H, W) uint8 opacity of a decoded file, turned as stored; None if it has none."""
    if decoded.deep is not None:
        if decoded.deep.ndim == 2 or decoded.deep.shape[2] == 3:
            return None
        return (decoded.deep[..., -1] >> 8).astype(np.uint8)  # 255 only if (nearly) opaque: never rounds up
    if not decoded.image.has_transparency_data:
        return None
    return np.asarray(decoded.image.convert("RGBA").getchannel("A"))


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB -> (H, W) uint8 luma (Rec. 601)."""
    gray: NDArray[np.uint8] = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    return gray
