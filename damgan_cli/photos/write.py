"""Photos to files, of their own format or another."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from damgan_cli.errors import ImageFileError
from damgan_cli.photos.color import convert_cmyk, eight_bit, image_of, pixels_of
from damgan_cli.photos.exif import turn_upright
from damgan_cli.photos.formats import EXTENSIONS, FORMATS
from damgan_cli.photos.formats.common import DECODER_ERRORS, NotInstalled
from damgan_cli.photos.limits import memory_for, out_of_memory
from damgan_cli.photos.photo import display
from damgan_cli.runtime.atomic import write_atomically
from damgan_cli.runtime.paths import STREAM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from damgan_cli.photos.formats.common import Format
    from damgan_cli.photos.photo import Photo


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
    with memory_for(path):
        try:
            data = form.write(_fitting(photo, form, path), quality)
        except DECODER_ERRORS as problem:
            if out_of_memory(problem):
                raise
            raise ImageFileError(f"Cannot encode {path} as {form.name} ({problem}).") from problem
    write_atomically(path, data, sync=sync)


def output_format(photo: Photo, path: Path) -> Format:
    """The format that ``path`` is written in: the source's own, also on stdout, or that of another extension.

    Raises ImageFileError for an extension that is not written.
    """
    suffix = path.suffix.lower()
    form = EXTENSIONS.get(suffix)
    if path == STREAM or suffix == photo.path.suffix.lower():  # also where the extension lies about it
        form = next((own for own in FORMATS if own.name == photo.format), form)
    if form is None:
        raise ImageFileError(
            f"Cannot write {path}: {suffix or 'no extension'} is no known image format.",
            f"Use one of {', '.join(sorted(EXTENSIONS))}.",
        )
    try:
        form.check_writable()
    except NotInstalled as problem:
        raise ImageFileError(f"Cannot write {path}: {problem.args[0]}.", problem.args[1]) from None
    return form


def _fitting(photo: Photo, form: Format, path: Path) -> Photo:
    """A photo as ``form`` can hold it: of one of its modes, and upright in another format than its own.

    So programs that ignore the orientation show it right as well. Raises ImageFileError if transparency would
    be lost.
    """
    if form.name != photo.format and photo.orientation != 1:
        photo = replace(
            photo,
            pixels=display(photo.pixels, photo.orientation),
            orientation=1,
            # XMP may tell the orientation too
            metadata=replace(photo.metadata, exif=turn_upright(photo.metadata.exif), xmp=b""),
        )
    if photo.kind in form.modes:
        return photo
    if photo.pixels.dtype == np.uint16:
        photo = replace(photo, pixels=eight_bit(photo.pixels))
        if photo.kind in form.modes:
            return photo
    image = _converted(image_of(photo), form, path, photo.metadata.icc)
    metadata = photo.metadata
    if (photo.mode in {"1", "L", "LA"}, photo.mode == "CMYK") != (image.mode in {"1", "L"}, False):
        metadata = replace(metadata, icc=b"")  # of another colour model now
    return replace(photo, palette=b"", opacity=b"", metadata=metadata, **pixels_of(image))


def _converted(image: Image.Image, form: Format, path: Path, profile: bytes) -> Image.Image:
    """Bring ``image`` into a mode that ``form`` can hold, without losing transparency."""
    if image.mode == "CMYK":
        return convert_cmyk(image, "RGB", profile)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if "RGBA" in form.modes:
            return image
        if np.asarray(image.getchannel("A")).min() < 255:
            raise ImageFileError(
                f"Cannot write {path}: the photo is partly transparent and {form.name} holds no "
                "transparency.",
                "Write PNG, WebP or TIFF.",
            )
        return image.convert("RGB")
    gray = image.mode in {"1", "L", "LA"} and "L" in form.modes
    return image.convert("L" if gray else "RGB")


def write_png(path: Path, array: NDArray[np.generic], *, sync: bool = False) -> None:
    """Write a mask, sheet or fakeness map as PNG, by `write_atomically`.

    ``array`` is (H, W) or (H, W, 3) uint8, or (H, W) bool, written as 0 / 255.
    Raises ImageFileError.
    """
    pixels = array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array
    if pixels.dtype != np.uint8:
        raise TypeError(f"write_png takes uint8 or bool pixels, not {pixels.dtype}")
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue(), sync=sync)
