"""What the values of options of ``damgan mask`` mean."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from damgan_cli.errors import MaskError
from damgan_cli.masks.segmenter import load_segmenter
from damgan_cli.masks.shapes import FORMS, Shape, parse_shape

if TYPE_CHECKING:
    from pathlib import Path

_MOST_PIXELS = 178_956_970  # what Pillow reads back without taking it for a decompression bomb


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from ``256`` or ``512x384``."""
    match = re.fullmatch(r"(\d{1,9})(?:[xX×](\d{1,9}))?", text.strip())
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if width < 1 or height < 1:
        raise MaskError(
            f"--size {text} is no size in pixels.", "Give one side, as 256, or width and height, as 512x384."
        )
    if width * height > _MOST_PIXELS:
        raise MaskError(
            f"--size {text} is {width * height / 1e6:.0f} million pixels.",
            "At most 178 million are supported.",
        )
    return width, height


def parse_range(option: str, text: str, what: str, least: int, most: int) -> tuple[float, float]:
    """Lowest and highest from ``LOW-HIGH``."""
    try:
        low, high = (float(part) for part in text.split("-"))
    except ValueError:
        low, high = 1.0, 0.0
    if not least <= low <= high <= most or (most > 1 and not low.is_integer() & high.is_integer()):
        example = "1-4" if most > 1 else "0.2-0.3"
        raise MaskError(
            f"{option} {text} is no range of {what}.",
            f"Give LOW-HIGH within {least} and {most}, such as {example}.",
        )
    return low, high


def parse_region(text: str) -> Shape:
    """A box, also from ``WIDTHxHEIGHT+LEFT+TOP`` in px. Raises MaskError."""
    match = re.fullmatch(r"(\d{1,9})[xX×](\d{1,9})\+(\d{1,9})\+(\d{1,9})", text.strip())
    try:
        shape = parse_shape("box", f"{match[3]},{match[4]},{match[1]},{match[2]}" if match else text)
    except MaskError as problem:
        raise MaskError(
            f"--region {text} is no region.",
            f"Give width, height, left and top in pixels, as 200x100+30+40. {problem.hint}",
        ) from None
    return replace(shape, text=text)


def _parse_color(text: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise MaskError(
            f"--color {text} is no colour.", "Give a name, as red, or '#rrggbb', as '#ff0000'."
        ) from None
    return red, green, blue


def source_options(
    kind: str, color: str | None, tolerance: int, dilate: int | None, region: str | None, *, invert: bool
) -> dict[str, object]:
    """Arguments of `derive.hole_from`. Raises MaskError for options that do not go with ``kind``."""
    if (color is None) == (kind == "from-color"):
        raise MaskError(f"{kind} {'needs' if color is None else 'takes no'} --color.")
    if dilate is None and kind in {"expand", "contract"}:
        raise MaskError(f"{kind} needs --dilate PX.", f"Say by how many pixels to {kind}.")
    if region is not None and kind in {"expand", "contract"}:
        raise MaskError(f"--region does not go with {kind}.", "It is for masks made from photos.")
    if invert and kind not in {"expand", "contract", "from-alpha"}:
        raise MaskError(f"--invert-mask does not go with {kind}.", "It is for from-alpha, expand, contract.")
    return {
        "color": _parse_color(color) if color else (0, 0, 0),
        "tolerance": tolerance,
        "dilate": dilate or 0,
        "invert": invert,
        "region": parse_region(region) if region is not None else None,
    }


def found_options(
    kind: str,
    boxes: list[str],
    points: list[str],
    not_points: list[str],
    segmenter: Path | None,
    strength: float | None,
    region: str | None,
    dilate: int | None,
) -> dict[str, object]:
    """Arguments of `find.found_hole`. Raises MaskError for options that do not go with ``kind``.

    And as `segmenter.load_segmenter` does, for a file that would fail with every photo.
    """
    for option, given, kinds in (
        ("--box", boxes, {"object"}),
        ("--point", points, {"object"}),
        ("--not-point", not_points, {"object"}),
        ("--segmenter", segmenter is not None, {"object"}),
        ("--strength", strength is not None, {"scratches"}),
        ("--region", region is not None, {"text", "scratches"}),
    ):
        if given and kind not in kinds:
            raise MaskError(f"{option} does not go with {kind}.", f"It is for {' and '.join(sorted(kinds))}.")
    if kind == "object" and not boxes and not points:
        raise MaskError(
            "An object needs a box or a point.", "Give --box X,Y,W,H around it, or --point X,Y on it."
        )
    if segmenter is not None:
        load_segmenter(segmenter)
    return {
        "boxes": tuple(parse_shape("box", text) for text in boxes),
        "points": tuple(parse_shape("point", text) for text in points),
        "not_points": tuple(parse_shape("point", text) for text in not_points),
        "segmenter": segmenter,
        "strength": 0.5 if strength is None else strength,
        "region": parse_region(region) if region is not None else None,
        "dilate": dilate or 0,
    }


def shapes_of(words: list[str]) -> tuple[Shape, ...]:
    """The shapes that ``box X,Y,W,H [X,Y,W,H ...] circle X,Y,R ...`` means; none if it is a list of kinds.

    A ``box`` without numbers is a kind, random rectangles. Raises MaskError.
    """
    drawn = ("box", "polygon", "circle")
    if words[0] not in drawn or (words[0] == "box" and not any("," in word for word in words)):
        return ()
    shapes: list[Shape] = []
    kind, numbers = "", 1
    for word in words:
        if word in drawn:
            if not numbers:
                break
            kind, numbers = word, 0
        else:
            shapes.append(parse_shape(kind, word))
            numbers += 1
    if not numbers:
        raise MaskError(f"{kind} needs numbers.", f"Write {kind} {FORMS[kind]}.")
    return tuple(shapes)
