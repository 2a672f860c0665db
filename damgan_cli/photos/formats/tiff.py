"""TIFF: Pillow decodes 8 bits, OpenCV 16, of which Pillow keeps 8 where there is colour.

What neither reads right is refused: OpenCV gives wrong pixels for planar 16-bit TIFF, and tifffile, which
reads every TIFF, needs 80 MB of imagecodecs for the most common compression, LZW. Files are put together here
around Pillow's writer of tags: Pillow writes no 16-bit colour, and no EXIF into a compressed TIFF; tifffile
writes no EXIF; OpenCV writes TIFF without metadata (Pillow 13.0, tifffile 2026.3, OpenCV 5.0).
"""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from damgan_cli.photos.color import pixels_of
from damgan_cli.photos.exif import (
    KEPT_BYTES,
    ORIENTATION,
    PHOTOSHOP,
    XMP,
    patch_photoshop,
    patch_xmp,
    turn_upright,
)
from damgan_cli.photos.formats.common import (
    Format,
    NotKept,
    metadata_of,
    open_image,
    orientation_of,
    tags_of,
    turned_size,
)
from damgan_cli.photos.photo import Photo

if TYPE_CHECKING:
    from numpy.typing import NDArray

_set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # OpenCV 4, or 5
_set_log_level(0)  # or OpenCV prints libtiff's remarks on stderr

# Tags that say how pixels lie in the file (TIFF 6.0), and the ICC profile, which travels by itself.
_LAYOUT = {*range(254, 270), 273, *range(277, 282), *range(284, 294), 317, *range(320, 326)}
_LAYOUT |= {330, *range(332, 344), 347, *range(512, 533), 34675}
_UNDO_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def _size(source: BinaryIO) -> tuple[int, int]:
    with open_image(source, "TIFF") as image:
        tags = image.tag_v2
        return turned_size((tags[256], tags[257]), tags_of(image))  # newer Pillows turn image.size


def _read(data: bytes) -> Photo:
    with open_image(BytesIO(data), "TIFF") as image:
        layout = image.tag_v2
        pages = getattr(image, "n_frames", 1)
        if obstacle := _obstacle(image, layout, data):
            raise NotKept(obstacle)
        tags = tags_of(image)
        orientation = orientation_of(tags)  # before load(), which takes it away
        metadata = metadata_of(image.info, exif=_descriptive(tags))
        coding = {"compression": image.info.get("compression"), "colormap": layout.get(320)}
        if max(layout.get(258, (1,))) == 16:
            pixels = _decode_deep(data, image.size)
            mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels[0, 0].size]
            known: dict[str, Any] = {"pixels": pixels, "mode": mode}
        else:
            image.load()
            info, upright = image.info, orientation == 1
            stored = image if upright else image.transpose(_UNDO_TURN[orientation])  # Pillow has turned it
            stored.info = info
            known = pixels_of(stored)
        return Photo(
            **known, orientation=orientation, metadata=metadata, format="TIFF", coding=coding, pages=pages
        )


def _obstacle(image: Image.Image, tags: Any, data: bytes) -> str | None:
    """What keeps the pixels from being kept as they are, if anything."""
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


def _decode_deep(data: bytes, size: tuple[int, int]) -> NDArray[np.uint16]:
    upright = turn_upright(data)  # OpenCV would turn the pixels, and fail at a quarter turn
    decoded = cv2.imdecode(np.frombuffer(upright, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or sorted(decoded.shape[:2]) != sorted(size):
        raise ValueError("its 16-bit pixels cannot be decoded")
    pixels = decoded.astype(np.uint16, copy=False)
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])


def _descriptive(tags: Image.Exif) -> bytes:
    """The tags that describe the photo, not the layout of its pixels in the file, as EXIF bytes."""
    kept = Image.Exif()
    for tag in tags:
        if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            kept[tag] = {t: v for t, v in tags.get_ifd(tag).items() if t != ExifTags.IFD.Interop}
        elif patch := {PHOTOSHOP: patch_photoshop, XMP: patch_xmp}.get(tag):
            if isinstance(tags[tag], bytes):  # else of a type it should not have, and cannot be patched
                kept[tag] = patch(tags[tag])
        elif tag not in _LAYOUT and (tag in KEPT_BYTES or not isinstance(tags[tag], bytes)):
            kept[tag] = tags[tag]
    return kept.tobytes() if len(kept) else b""


def _write(photo: Photo, quality: int | None) -> bytes:  # noqa: ARG001  # it has no loss
    """One strip, deflated unless the source was raw."""
    is_own, metadata, pixels, mode = photo.format == "TIFF", photo.metadata, photo.pixels, photo.mode
    if photo.kind == "LA;16":  # which few programs read from TIFF
        pixels, mode = pixels[..., [0, 0, 0, 1]], "RGBA"
    bits = 1 if mode == "1" else 8 * pixels.itemsize
    samples = pixels[0, 0].size
    ifd = ImageFileDirectory_v2(b"II\x2a\x00\x08\x00\x00\x00")
    if metadata.exif:
        tags = Image.Exif()
        tags.load(metadata.exif)
        for tag in tags:
            if tag in {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}:
                ifd[tag] = {t: v for t, v in tags.get_ifd(tag).items() if t != ExifTags.IFD.Interop}
            else:
                ifd[tag] = tags[tag]
    if not is_own and metadata.dpi:
        ifd[282], ifd[283] = metadata.dpi  # resolution in x and y ...
        ifd[296] = 2  # ... per inch
    if not is_own and metadata.xmp:
        ifd[700] = metadata.xmp
    if metadata.icc:
        ifd[34675] = metadata.icc
    photometric = {"1": 1, "L": 1, "LA": 1, "P": 3, "CMYK": 5}.get(mode, 2)
    squeezed = not is_own or photo.coding.get("compression") != "raw"
    predicted = squeezed and photometric != 3 and bits > 1
    if bits == 1:
        data = np.packbits(pixels, axis=1).tobytes()
    else:
        little = pixels.astype(f"<u{bits // 8}", copy=False)
        if predicted:  # predictor 2: differences to the pixel on the left
            little = np.concatenate([little[:, :1], np.diff(little, axis=1)], axis=1)
        data = little.tobytes()
    data = zlib.compress(data, 4) if squeezed else data  # level 6: 5 % fewer bytes in 2.6 times the time
    ifd[256], ifd[257] = pixels.shape[1], pixels.shape[0]
    ifd[258] = (bits,) * samples
    ifd[259] = 8 if squeezed else 1
    ifd[262], ifd[277], ifd[278], ifd[284] = photometric, samples, pixels.shape[0], 1
    if predicted:
        ifd[317] = 2
    if mode in {"LA", "RGBA", "RGBX"}:
        ifd[338] = 0 if mode == "RGBX" else 2  # the extra sample: unspecified, or unassociated alpha
    if mode == "P":
        palette = np.zeros((256, 3), np.uint16)
        colours = np.frombuffer(photo.palette, np.uint8).reshape(-1, 3).astype(np.uint16)
        palette[: len(colours)] = colours * 257
        own = (photo.coding.get("colormap") if is_own else None) or ()  # in 16 bits, of which Pillow gives 8
        ifd[320] = own if len(own) == palette.size else tuple(palette.T.ravel().tolist())
    ifd[273], ifd[279] = 0, len(data)  # the offset is moved behind the tags by save()
    buffer = BytesIO()
    ifd.save(buffer)
    return buffer.getvalue() + data


FORMAT = Format(
    name="TIFF",
    extensions=(".tif", ".tiff"),
    modes=frozenset(
        {"1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "L;16", "LA;16", "RGB;16", "RGBA;16"}
    ),
    probe=lambda header: header.startswith((b"II", b"MM")),
    size=_size,
    read=_read,
    write=_write,
)
