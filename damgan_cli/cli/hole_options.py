"""The options of ``damgan inpaint`` that say what is to be filled, beside ``--mask``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from damgan_cli.errors import MaskError

if TYPE_CHECKING:
    from damgan_cli.inpainting.holes import HoleOptions

Boxes = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="X,Y,W,H",
        help="Fill a box, in px or %; right=X and bottom=Y count from those edges. May be repeated, and is "
        "filled beside --mask, as a polygon or circle is.",
        show_default=False,
    ),
]
Polygons = Annotated[
    list[str] | None,
    typer.Option("--polygon", metavar="X,Y,X,Y,...", help="Fill a polygon.", show_default=False),
]
Circles = Annotated[
    list[str] | None,
    typer.Option("--circle", metavar="X,Y,R", help="Fill a circle.", show_default=False),
]
Extend = Annotated[
    str | None,
    typer.Option(
        "--extend",
        metavar="SIDE=N,...",
        help="Fill a larger canvas: left, top, right, bottom or all, in px or %, as left=20%,top=100.",
        show_default=False,
    ),
]
MaskValues = Annotated[
    list[int] | None,
    typer.Option(
        "--mask-value",
        metavar="N",
        min=0,
        help="Fill this label of a mask with several: a gray level, a palette index, a category of a COCO "
        "file. May be repeated.",
        show_default=False,
    ),
]


def hole_options(
    mask: str | None,
    drawn: dict[str, list[str]],
    values: list[int],
    dilate: int,
    extend: str | None,
    *,
    invert: bool,
    resize: bool,
) -> HoleOptions:
    """What is to be filled. Raises MaskError if nothing is, or options for a mask are given without one."""
    from damgan_cli.inpainting.holes import ALPHA, HoleOptions
    from damgan_cli.masks.shapes import parse_shape

    shapes = tuple(parse_shape(kind, text) for kind, texts in drawn.items() for text in texts)
    if mask is None and not shapes and extend is None:
        raise MaskError(
            "Nothing says what is to be filled: there is no --mask.",
            "Give one, or --box X,Y,W,H, --polygon, --circle or --extend; `damgan mask` makes masks.",
        )
    if mask is None or mask == ALPHA:
        for option, given in {"invert-mask": invert, "resize-mask": resize, "mask-value": values}.items():
            if given and mask is None:
                raise MaskError(f"--{option} is for masks, but there is none.", "Give one with --mask MASK.")
            if given:
                raise MaskError(
                    f"--{option} does not go with --mask alpha.", "Transparent pixels are what is filled."
                )
    return HoleOptions(invert, dilate, resize, mask == ALPHA, tuple(values), shapes)
