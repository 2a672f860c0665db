"""Turn a photo back into the bytes of a file of any format of `MODES`, with its metadata.

Pillow encodes 8-bit pixels, OpenCV the 16-bit ones of PNG. TIFF is put together here around Pillow's writer
of tags: Pillow writes no 16-bit colour, and no EXIF into a compressed TIFF; tifffile writes no EXIF; OpenCV
writes TIFF without metadata (Pillow 13.0, tifffile 2026.3, OpenCV 5.0).
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from damgan_cli.errors import ImageFileError
from damgan_cli.photos.metadata import patch_exif, png_chunks, png_file, png_metadata, turn_upright
from damgan_cli.photos.pixels import convert_cmyk, display

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from damgan_cli.photos.photo import Photo

QUALITY = 95
"""Of the formats with loss, unless the source or the user says otherwise."""
_GRAPHICS = 4  # what shrinks by more than this from runs alone is no photo
MODES = {  # what each format can hold without loss, by Pillow mode; 16-bit ones are written by us
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK"),
    "BMP": ("1", "L", "P", "RGB"),
    "AVIF": ("L", "RGB", "RGBA"),
    "HEIF": ("L", "RGB", "RGBA"),
}


def encode(photo: Photo, form: str, path: Path, quality: int | None = None) -> bytes:
    """The bytes of ``photo`` as a file of format ``form``; ``path`` serves the messages.

    ``quality`` is that of JPEG and WebP, see `photo.write_photo`.
    Raises ImageFileError if ``form`` would lose transparency; Pillow's errors come through.
    """
    decoded, info = photo.decoded, dict(photo.info)
    upright = form != photo.format and decoded.orientation != 1
    exif = patch_exif(turn_upright(decoded.exif) if upright else decoded.exif)
    deep, image = decoded.deep, decoded.image
    if upright:
        info.pop("xmp", None)  # may tell the orientation too
        if deep is not None:
            deep = display(deep, decoded.orientation)
        else:
            image = as_image(display(np.array(image), decoded.orientation), image)
    if deep is not None and form not in {"PNG", "TIFF"}:
        image = _eight_bit(deep)
        deep = None
    loses_alpha = image.mode == "P" and form != "PNG" and image.has_transparency_data
    if deep is None and (image.mode not in MODES[form] or loses_alpha):
        mode = image.mode
        image = _convert(image, form, path, info.get("icc_profile"))
        if (mode in {"1", "L", "LA"}, mode == "CMYK") != (image.mode in {"1", "L"}, False):
            info.pop("icc_profile", None)  # of another colour model now
    if form == "TIFF" and deep is not None and deep.shape[2:] == (2,):
        deep = deep[..., [0, 0, 0, 1]]  # few programs read 16-bit gray with alpha from TIFF
    if form == "PNG":
        return _encode_png(photo, deep, image, exif, info)
    if form == "TIFF":
        return _encode_tiff(photo, deep, image, exif, info)
    options: dict[str, Any] = {k: info[k] for k in ("icc_profile", "dpi", "xmp", "comment") if k in info}
    if exif:
        options["exif"] = exif
    if form == "JPEG":
        segments = list(photo.extra) if photo.format == "JPEG" else []
        if xmp := options.pop("xmp", None):  # only Pillow 11 writes it by itself
            segments.append((b"\xff\xe1", b"http://ns.adobe.com/xap/1.0/\0" + xmp))
        options["extra"] = b"".join(mark + struct.pack(">H", len(data) + 2) + data for mark, data in segments)
        if quality is None and info.get("coding") and image.mode == decoded.image.mode:
            # coded as before, values away from the hole change least, see docs/formats.md; neither the
            # decoder's own YCbCr planes nor coding again what was lost would help at high quality
            options.update(info["coding"])
        else:
            options.update(quality=quality or QUALITY, subsampling=0)
    elif form == "WEBP":
        # exact: colours under transparent pixels are known pixels too
        lossless = photo.lossless and quality is None
        options.update(lossless=lossless, quality=100 if lossless else quality or QUALITY, exact=True)
    elif form == "AVIF":  # speed 8 takes a quarter of the default's time for a fifth more bytes
        options.update(
            quality=quality or QUALITY, subsampling="4:0:0" if image.mode == "L" else "4:4:4", speed=8
        )
    elif form == "HEIF":  # few decoders take other than the 4:2:0 of cameras: the source's own is kept
        options.update({key: info[key] for key in ("nclx_profile",) if key in info})
        # x265's slower presets take 8 times as long for the same size and error at this quality
        options.update(
            quality=quality or QUALITY, chroma=info.get("chroma", 420), enc_params={"preset": "ultrafast"}
        )
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def as_image(pixels: NDArray[Any], like: Image.Image) -> Image.Image:
    """Pixels as an image of the mode, palette and transparency of ``like``."""
    if like.mode in {"P", "CMYK", "RGBX"}:  # which numpy's shapes do not tell from L and RGBA
        image = Image.frombytes(like.mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
    else:
        image = Image.fromarray(np.ascontiguousarray(pixels))
    if like.mode == "P":
        image.putpalette(like.getpalette() or [])
        if "transparency" in like.info:
            image.info["transparency"] = like.info["transparency"]
    return image


def _eight_bit(deep: NDArray[np.uint16]) -> Image.Image:
    return Image.fromarray(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _convert(image: Image.Image, form: str, path: Path, profile: bytes | None) -> Image.Image:
    """Bring ``image`` into a mode that ``form`` can hold, without losing transparency."""
    if image.mode == "CMYK":
        return convert_cmyk(image, "RGB", profile)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if "RGBA" in MODES[form]:
            return image
        if np.asarray(image.getchannel("A")).min() < 255:
            raise ImageFileError(
                f"Cannot write {path}: the photo is partly transparent and {form} holds no transparency.",
                "Write PNG, WebP or TIFF.",
            )
        return image.convert("RGB")
    gray = image.mode in {"1", "L", "LA"} and "L" in MODES[form]
    return image.convert("L" if gray else "RGB")


def _encode_png(
    photo: Photo, deep: NDArray[np.uint16] | None, image: Image.Image, exif: bytes, info: dict[str, Any]
) -> bytes:
    if photo.format == "PNG":
        metadata = [(k, exif.removeprefix(b"Exif\0\0") if k == b"eXIf" else body) for k, body in photo.extra]
    else:
        known = {key: info[key] for key in ("icc_profile", "dpi") if key in info}
        buffer = BytesIO()
        Image.new("L", (1, 1)).save(buffer, "PNG", exif=exif, **known)
        metadata = png_metadata(buffer.getvalue())
        if "xmp" in info:
            metadata.append((b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + info["xmp"]))
    pixels = _png(image) if deep is None else _deep_png(deep)
    return png_file(png_chunks(pixels), metadata)


def _png(image: Image.Image) -> bytes:
    """A PNG file of 8-bit pixels.

    Photos repeat themselves in runs alone. To look for nothing else takes a third of the time or less, and
    makes files at most 3 % larger. Graphics are worth the full search.
    """
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_type=zlib.Z_RLE)
    if buffer.tell() < image.width * image.height * len(image.getbands()) / _GRAPHICS:
        buffer = BytesIO()
        image.save(buffer, "PNG")
    return buffer.getvalue()


def _deep_png(deep: NDArray[np.uint16]) -> bytes:
    """A PNG file of 16-bit pixels."""
    if deep.shape[2:] != (2,):
        done, data = cv2.imencode(
            ".png", deep if deep.ndim == 2 else deep[..., [2, 1, 0, 3][: deep.shape[2]]]
        )
        if not done:
            raise ValueError("OpenCV cannot encode its pixels")
        return bytes(data)
    # OpenCV writes no gray with alpha. Its bytes are those of 8-bit RGBA, with another header.
    buffer = BytesIO()
    Image.fromarray(deep.astype(">u2", order="C").view(np.uint8)).save(buffer, "PNG")
    (_, head), *rest = png_chunks(buffer.getvalue())
    return png_file([(b"IHDR", head[:8] + b"\x10\x04" + head[10:]), *rest], [])


def _encode_tiff(
    photo: Photo, deep: NDArray[np.uint16] | None, image: Image.Image, exif: bytes, info: dict[str, Any]
) -> bytes:
    """One strip, deflated unless the source was raw."""
    pixels = np.array(image) if deep is None else deep
    mode = image.mode if deep is None else {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels[0, 0].size]
    bits = 1 if mode == "1" else 8 * pixels.itemsize
    samples = pixels[0, 0].size
    ifd = ImageFileDirectory_v2(b"II\x2a\x00\x08\x00\x00\x00")
    if exif:
        tags = Image.Exif()
        tags.load(exif)
        for tag in tags:
            if tag in {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}:
                ifd[tag] = {t: v for t, v in tags.get_ifd(tag).items() if t != ExifTags.IFD.Interop}
            else:
                ifd[tag] = tags[tag]
    if photo.format != "TIFF" and "dpi" in info:
        ifd[282], ifd[283] = info["dpi"]  # resolution in x and y ...
        ifd[296] = 2  # ... per inch
    if photo.format != "TIFF" and "xmp" in info:
        ifd[700] = info["xmp"]
    if "icc_profile" in info:
        ifd[34675] = info["icc_profile"]
    photometric = {"1": 1, "L": 1, "LA": 1, "P": 3, "CMYK": 5}.get(mode, 2)
    squeezed = info.get("compression") != "raw"
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
        colours = np.array(image.getpalette() or [], np.uint16).reshape(-1, 3)
        palette[: len(colours)] = colours * 257
        own = info.get("colormap", ())  # in 16 bits, of which Pillow gives eight
        ifd[320] = own if len(own) == palette.size else tuple(palette.T.ravel().tolist())
    ifd[273], ifd[279] = 0, len(data)  # the offset is moved behind the tags by save()
    buffer = BytesIO()
    ifd.save(buffer)
    return buffer.getvalue() + data
