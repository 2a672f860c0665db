"""A photo with all it carries: read it, fill its hole, write it with every known pixel as it was.

The rules (DESIGN §3, "Known pixels are sacred"):

- Pixels are kept as the file stores them, in their own mode and depth; only hole pixels are ever replaced.
- Masks and fills are in *displayed* orientation. The stored orientation and its tag stay in the output,
  except where that is of another file format: there pixels are turned upright and the tag is set to 1.
- Alpha is kept, also under the hole, unless the caller asks for an opaque fill.
- A palette photo keeps its palette, as new colours would change its mode or its known colours: the fill is
  dithered to the opaque colours at hand. PNG may drop entries that no pixel uses; no colour changes.
- Gray takes the fill's luma, 16 bits take it scaled by 257, CMYK by its ICC profile (or naively without).
- What would be stored otherwise is refused (see `decode`), but for what shows the same: gray of 2 or 4 bits
  gets 8, one transparent colour becomes an alpha channel, premultiplied 8-bit alpha is divided out.
- EXIF, ICC profile, XMP, DPI, PNG text and the like are kept. Thumbnails, previews and layers are cut: they
  would still show what was removed (see `metadata`).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.photos.atomic import write_atomically
from damgan_cli.photos.decode import EXTENSIONS, Decoded, decode, heif_plugin, memory_for
from damgan_cli.photos.encode import MODES, as_image, encode
from damgan_cli.photos.metadata import patch_photoshop, patch_xmp, png_metadata
from damgan_cli.photos.pixels import alpha_pixels, convert_cmyk, display, luma, rgb_pixels, store
from damgan_cli.runtime.paths import STREAM

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEPT = ("icc_profile", "dpi", "xmp", "comment", "chroma", "nclx_profile", "colormap")
_FILLABLE = {mode for modes in MODES.values() for mode in modes}
_PAINT_COLOURS = 8  # what a photo shows has many more
_BAND = 512  # rows of a hole that are filled at once


@dataclass(frozen=True)
class Photo:
    """A decoded photo file. Make one with `read_photo`; it never changes."""

    path: Path
    decoded: Decoded
    info: dict[str, Any]
    """Metadata beside EXIF and the coding of a JPEG, in Pillow's names: icc_profile, dpi, qtables, ..."""
    extra: list[tuple[bytes, bytes]]
    """Further metadata of the same format, byte for byte: PNG chunks, or JPEG's APP13 segments (IPTC)."""
    lossless: bool
    """Whether the source file was stored without loss."""

    @property
    def format(self) -> str:
        """Pillow's name of the source's file format."""
        return self.decoded.format

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, upright: what the model sees."""
        return display(rgb_pixels(self.decoded, self.path), self.decoded.orientation)

    @property
    def alpha(self) -> NDArray[np.uint8] | None:
        """(H, W) uint8 opacity, upright; None if the photo has none."""
        alpha = alpha_pixels(self.decoded)
        return None if alpha is None else display(alpha, self.decoded.orientation)

    def see_through(self) -> NDArray[np.bool_]:
        """(H, W) bool hole of ``--mask alpha``: every pixel not fully opaque. MaskError without alpha."""
        alpha = self.alpha
        if alpha is None:
            raise MaskError(
                f"{self.path} has no transparency to take the mask from.",
                "Give a mask image with --mask FILE.",
            )
        return alpha < 255

    def is_paint(self) -> bool:
        """Whether this is no photo but a layer with paint: few colours, and more than half transparent."""
        alpha = self.alpha
        if alpha is None or 2 * np.count_nonzero(alpha > 127) > alpha.size:
            return False
        solid = self.rgb[alpha == max(1, alpha.max())].astype(np.uint32)  # soft edges may round their colours
        return 0 < len(np.unique(solid @ np.array([65536, 256, 1], np.uint32))) <= _PAINT_COLOURS

    def filled(self, fill: NDArray[np.uint8], hole: NDArray[np.bool_], *, opaque: bool = False) -> Photo:
        """Replace the pixels where ``hole`` (H, W) by ``fill`` (H, W, 3) uint8 RGB, both upright.

        ``opaque`` makes the filled pixels opaque, else they keep their alpha.
        """
        hole = store(hole, self.decoded.orientation)
        fill = store(fill, self.decoded.orientation)
        decoded = self.decoded
        if not hole.any():
            return self
        box = bounding_box(hole)  # a small hole in a huge photo must not cost much
        hole, fill = hole[box], np.ascontiguousarray(fill[box])
        if decoded.deep is not None:
            deep = decoded.deep.copy()
            deep[box] = _fill_deep(deep[box], fill, hole, opaque=opaque)
            return replace(self, decoded=replace(decoded, deep=deep))
        image = decoded.image.copy()
        image.info = {key: image.info[key] for key in ("transparency",) if key in image.info}
        for top in range(0, len(hole), _BAND):  # and a huge hole must not take many copies of itself
            band = slice(top, top + _BAND)
            corner = box[1].start, box[0].start + top
            piece = decoded.image.crop((*corner, box[1].stop, min(corner[1] + _BAND, box[0].stop)))
            piece = _fill_image(piece, fill[band], hole[band], self.info.get("icc_profile"), opaque=opaque)
            image.paste(piece, corner)
        return replace(self, decoded=replace(decoded, image=image))


def read_photo(path: Path) -> Photo:
    """Read a photo to be filled. Raises ImageFileError for a bad file or one that cannot be kept whole."""
    path = Path(path)
    with memory_for(path):
        return _read_photo(path)


def _read_photo(path: Path) -> Photo:
    decoded = decode(path)
    if decoded.pages > 1:
        raise ImageFileError(
            f"{path} holds {decoded.pages} pictures (it is animated or multi-page): only one can be filled.",
            "Save the picture you mean as a file of its own.",
        )
    image = decoded.image
    info = {key: image.info[key] for key in _KEPT if image.info.get(key)}
    if "xmp" in info:
        info["xmp"] = patch_xmp(info["xmp"])
    extra: list[tuple[bytes, bytes]] = []
    if decoded.format == "PNG":
        extra = png_metadata(decoded.data)
    elif decoded.format == "JPEG":
        info["coding"] = _jpeg_coding(image)
        segments = [data for name, data in image.applist if name == "APP13"]  # type: ignore[attr-defined]
        extra = [(b"\xff\xed", patch_photoshop(data)) for data in segments]
    elif decoded.format == "TIFF":
        info["compression"] = image.info.get("compression")
    lossless = decoded.format in {"PNG", "BMP", "TIFF"}
    if decoded.format == "WEBP":
        stream = re.search(rb"VP8[ L]", decoded.data)
        lossless = stream is not None and stream[0] == b"VP8L"
    if decoded.deep is None:
        if "transparency" in image.info and image.mode in {"1", "L", "RGB"}:
            # One colour stands for "transparent": a fill must not hit it by chance, so make alpha a channel.
            if image.mode == "1":  # Pillow makes RGBA of it only
                white = bool(image.info["transparency"])
                image = image.convert("L")
                image.info["transparency"] = 255 * white
            image = image.convert("LA" if image.mode == "L" else "RGBA")
        if image.mode not in _FILLABLE:
            raise ImageFileError(
                f"{path} has pixels of a kind that cannot be filled (Pillow mode {image.mode}).",
                "Convert it to 8-bit or 16-bit gray or RGB.",
            )
        decoded = replace(decoded, image=image)
    return Photo(path, decoded, info, extra, lossless)


def _jpeg_coding(image: Image.Image) -> dict[str, Any]:
    """How a JPEG was coded, as Pillow's options for coding one in the same way; empty if Pillow cannot.

    Chroma sampled in another way than 4:4:4, 4:2:2 or 4:2:0 (Pillow writes no other) is written in full.
    """
    layers = image.layer  # type: ignore[attr-defined]  # of each channel: name, sampling (2), number of table
    tables = [image.quantization.get(layer[3]) for layer in layers]  # type: ignore[attr-defined]
    transform = image.info.get("adobe_transform")
    if None in tables or transform == 2:
        return {}  # lossless JPEG; or YCCK, which Pillow writes as CMYK
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()  # the last one serves all channels that follow
    coding = {"qtables": tables, "progressive": bool(image.info.get("progressive"))}
    is_rgb = transform == 0 or (transform is None and [layer[0] for layer in layers] == list(b"RGB"))
    if image.mode == "RGB" and is_rgb and "jfif" not in image.info:
        return {**coding, "keep_rgb": True}
    return {**coding, "subsampling": max(get_sampling(image), 0)}


def photo_of(image: Any) -> Photo:
    """A photo that is at hand instead of in a file: a PIL image, or an array (H, W[, C]) of uint8 or uint16.

    Raises ImageFileError for modes and shapes that no photo has.
    """
    deep = None
    if isinstance(image, np.ndarray):
        shaped = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in {2, 3, 4})
        if not shaped or image.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
            raise ImageFileError(
                f"A photo cannot be an array of {image.dtype} with shape {image.shape}.",
                "Give (H, W), (H, W, 3) or (H, W, 4) of uint8 or uint16.",
            )
        if image.dtype == np.uint16:
            deep, image = image, Image.new("L", image.shape[1::-1])
        else:
            image = Image.fromarray(np.ascontiguousarray(image))
    elif not isinstance(image, Image.Image):
        kind = type(image).__name__
        raise ImageFileError(f"A photo cannot be a {kind}.", "Give a PIL image or a numpy array.")
    elif image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint16)
    elif image.mode not in _FILLABLE:
        raise ImageFileError(f"A PIL image of mode {image.mode} cannot be filled.", "Convert it to RGB.")
    return Photo(Path("given"), Decoded(image, deep, 1, "PNG", b"", 1), dict(image.info), [], lossless=True)


def output_format(photo: Photo, path: Path) -> str:
    """The format that ``path`` is written in: the source's own, also on stdout, or that of another extension.

    Raises ImageFileError for an extension that is not written.
    """
    suffix = path.suffix.lower()
    form = EXTENSIONS.get(suffix)
    if path == STREAM or suffix == photo.path.suffix.lower():
        form = photo.format  # also where the source's extension lies about it
    if form is None:
        raise ImageFileError(
            f"Cannot write {path}: {suffix or 'no extension'} is no known image format.",
            f"Use one of {', '.join(sorted(EXTENSIONS))}.",
        )
    if form == "HEIF" and heif_plugin() != "pillow_heif":
        raise ImageFileError(
            f"Cannot write {path}: HEIC is not written by what is installed here.",
            "Install what is missing: pip install 'damgan[heif]'. Or write another format: -o photo.png.",
        )
    return form


def write_photo(photo: Photo, path: Path, quality: int | None = None, *, sync: bool = True) -> None:
    """Write ``photo`` with its metadata to ``path`` by `write_atomically`, in the format of `output_format`.

    A JPEG from a JPEG is coded with the source's own quantisation tables and chroma subsampling, so that
    values away from the hole change little or not at all; any other at quality 95 without subsampling. WebP
    is written without loss if the source had none. WebP with loss, AVIF and HEIC get quality 95. ``quality``
    (1-100) overrules all this. A format that cannot hold the photo's mode gets the nearest it can hold.
    Raises ImageFileError if transparency would be lost, or if the file cannot be written.
    """
    path = Path(path)
    form = output_format(photo, path)
    try:
        with memory_for(path):
            data = encode(photo, form, path, quality)
    except (OSError, ValueError, RuntimeError, struct.error, ArithmeticError) as problem:
        raise ImageFileError(f"Cannot encode {path} as {form} ({problem}).") from problem
    write_atomically(path, data, sync=sync)


# ------------------------------------------------------------------------------------------ filling
def bounding_box(hole: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around the True pixels of (H, W); there must be some."""
    rows = np.flatnonzero(hole.any(1))
    band = slice(int(rows[0]), int(rows[-1]) + 1)
    columns = np.flatnonzero(hole[band].any(0))
    return band, slice(int(columns[0]), int(columns[-1]) + 1)


def _fill_deep(
    deep: NDArray[np.uint16], fill: NDArray[np.uint8], hole: NDArray[np.bool_], *, opaque: bool
) -> NDArray[np.uint16]:
    deep = deep.copy()
    layers = deep if deep.ndim == 3 else deep[..., None]
    colours = fill if layers.shape[2] >= 3 else luma(fill)[..., None]
    for channel in range(colours.shape[2]):
        np.copyto(layers[..., channel], colours[..., channel].astype(np.uint16) * 257, where=hole)
    if opaque and layers.shape[2] in (2, 4):
        np.copyto(layers[..., -1], 65535, where=hole)
    return deep


def _fill_image(
    image: Image.Image,
    fill: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    profile: bytes | None,
    *,
    opaque: bool,
) -> Image.Image:
    if image.mode == "P":
        return _fill_palette(image, fill, hole, opaque=opaque)
    pixels = np.array(image)  # copyto: an index by a large hole takes 16 bytes a pixel
    if image.mode == "1":
        np.copyto(pixels, luma(fill) > 127, where=hole)
    elif image.mode == "L":
        np.copyto(pixels, luma(fill), where=hole)
    elif image.mode == "CMYK":
        inks = np.asarray(convert_cmyk(Image.fromarray(fill), "CMYK", profile))
        np.copyto(pixels, inks, where=hole[..., None])
    else:
        colours = luma(fill)[..., None] if image.mode == "LA" else fill
        np.copyto(pixels[..., : colours.shape[2]], colours, where=hole[..., None])
        if opaque and image.mode in {"LA", "RGBA"}:
            np.copyto(pixels[..., -1], 255, where=hole)
    return as_image(pixels, image)


def _fill_palette(
    image: Image.Image, fill: NDArray[np.uint8], hole: NDArray[np.bool_], *, opaque: bool
) -> Image.Image:
    indices = np.array(image)
    alpha = _palette_alpha(image)
    if not opaque:
        hole = hole & (alpha[indices] > 0)  # what is wholly transparent stays so
    palette = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    solid = np.flatnonzero(alpha[: len(palette)] == 255)
    solid = solid if len(solid) else np.arange(len(palette))
    usable = np.resize(solid, 256)  # repeats: Pillow would else fill up with black of its own
    target = Image.new("P", (1, 1))
    target.putpalette(palette[usable].tobytes())
    nearest = np.asarray(Image.fromarray(fill).quantize(palette=target, dither=Image.Dither.FLOYDSTEINBERG))
    indices[hole] = usable[nearest[hole]]
    return as_image(indices, image)


def _palette_alpha(image: Image.Image) -> NDArray[np.uint8]:
    """Opacity of each of 256 palette entries."""
    alpha = np.full(256, 255, np.uint8)
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):
        alpha[: len(transparency)] = np.frombuffer(transparency, np.uint8)
    elif transparency is not None:
        alpha[transparency] = 0
    return alpha
