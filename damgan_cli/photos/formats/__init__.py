"""The file formats of photos and masks. A new one is one module in this folder with a `Format`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from damgan_cli.photos.formats.common import Format


def _found() -> tuple[Format, ...]:
    """The FORMAT of every module here that has one."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return tuple(module.FORMAT for module in modules if hasattr(module, "FORMAT"))


FORMATS: tuple[Format, ...] = _found()

EXTENSIONS: dict[str, Format] = {suffix: form for form in FORMATS for suffix in form.extensions}
"""The format that a photo or mask with this extension is written in."""

OTHER_IMAGES = frozenset(
    f".{kind}"
    for kind in (
        *("gif", "jp2", "j2k", "jpx", "jxl", "tga", "psd", "xcf", "exr", "hdr", "ppm", "pgm", "pnm"),
        *("qoi", "dds", "ico", "svg", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf"),
    )
).difference(EXTENSIONS)
"""Extensions of pictures that are not read: in a folder they are left out, which its owner is told."""

HELD_MODES: frozenset[str] = frozenset(mode for form in FORMATS for mode in form.modes)
"""Every `Photo.kind` that some format holds: what can be filled and written again."""


def format_of(header: bytes) -> Format | None:
    """The format of a file that starts with these bytes, `common.HEADER` of them or all there are."""
    return next((form for form in FORMATS if form.probe(header)), None)
