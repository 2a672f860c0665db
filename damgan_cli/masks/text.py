"""Text in a photo, glyph by glyph: captions, dates, watermarks. Needs the extra ``text`` (RapidOCR).

RapidOCR (PP-OCR models, inside its wheel) finds boxes around lines of text. A box as the hole would lose what
can be seen between the letters, so the glyphs are told from their background in each: strokes are what a
top-hat as wide as no stroke leaves over, and what touches them (outline, shadow) goes with them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from damgan_cli.errors import MaskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hole = NDArray[np.bool_]
    Pixels = NDArray[np.uint8]
    Box = tuple[int, int, int, int]

_LOWEST = 0.5  # recognition score from which a box holds text
_LEAST = 12  # 8-bit levels by which glyphs differ from their background at least
_LARGE = 2000  # px of the longer side, to which RapidOCR reduces larger photos


def text_mask(photo: Pixels, region: Box | None = None) -> Hole:
    """Mark the glyphs of all text in ``photo`` (H, W, 3) uint8 RGB: (H, W) bool, True = glyph and its rim.

    ``region`` (left, top, width, height, in px) limits where text is looked for. It is then seen larger: in a
    whole photo of more than 2000 px a side, text of less than about 10 px at that size is missed. All False
    where no text is found. Raises MaskError without RapidOCR and for a region outside of the photo.
    """
    hole = np.zeros(photo.shape[:2], bool)
    left, top, width, height = region or (0, 0, photo.shape[1], photo.shape[0])
    place = slice(max(0, top), max(0, top + height)), slice(max(0, left), max(0, left + width))
    part = np.ascontiguousarray(photo[place])
    if not part.size:
        raise MaskError(f"The region {left},{top},{width},{height} lies outside of the photo.")
    found = np.zeros(part.shape[:2], bool)
    for corners in text_boxes(part):
        _add_glyphs(found, part, corners)
    hole[place] = found
    return hole


def text_boxes(photo: Pixels) -> list[NDArray[np.float32]]:
    """Boxes around lines of text in ``photo`` (H, W, 3): corners (4, 2), x and y, clockwise.

    Raises MaskError without RapidOCR.
    """
    result = _reader()(cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
    boxes = getattr(result, "boxes", None)
    return [] if boxes is None else [np.asarray(box, np.float32) for box in boxes]


@lru_cache(maxsize=1)
def _reader() -> Any:
    try:
        from rapidocr import RapidOCR
    except ImportError:
        raise MaskError(
            "Finding text needs RapidOCR, which is not installed.", "Install it: pip install 'damgan[text]'"
        ) from None
    return RapidOCR(params={"Global.log_level": "critical", "Global.text_score": _LOWEST})


def _add_glyphs(hole: Hole, photo: Pixels, corners: NDArray[np.float32]) -> None:
    """Mark in ``hole`` (H, W) the glyphs of one line of text in a box of ``corners``."""
    sides = [float(np.linalg.norm(corners[i] - corners[(i + 1) % 4])) for i in range(4)]
    tall = max(4.0, min((sides[0] + sides[2]) / 2, (sides[1] + sides[3]) / 2))
    margin = round(0.6 * tall) + 2
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - margin, 0)
    high = np.ceil(corners.max(axis=0)).astype(int) + margin + 1
    view = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
    part = photo[view]
    box = np.zeros(part.shape[:2], np.uint8)
    cv2.fillPoly(box, [np.rint(corners - low).astype(np.int32)], 1)
    inside = cv2.dilate(box, _disc(round(0.1 * tall) + 1)) > 0  # descenders, italics and shadows reach out
    bright, dark = _strokes(part, tall)
    cores = [_core(strokes, box > 0, inside) for strokes in (bright, dark)]
    strengths = [
        float(strokes[core].sum()) * _evenness(part, core)
        for strokes, core in zip((bright, dark), cores, strict=True)
    ]
    main = int(strengths[1] > strengths[0])
    core = cores[main]
    if not core.any():
        hole[view] |= box > 0
        return
    # outline and shadow are of the other polarity and touch the glyphs
    near = cv2.dilate(core.astype(np.uint8), _disc(max(2, round(0.08 * tall)))) > 0
    other = (bright, dark)[1 - main]
    edge = near & inside & (other > max(_LEAST, 0.6 * float(np.median((bright, dark)[main][core]))))
    rim = max(1, round(0.035 * tall)) + 1  # what anti-aliasing and JPEG have spread
    hole[view] |= cv2.dilate((core | edge).astype(np.uint8), _disc(rim)) > 0


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2), np.uint8)


def _strokes(part: Pixels, tall: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """How much each pixel (h, w) is brighter, and how much darker, than what is wider than a stroke."""
    lab = cv2.cvtColor(part, cv2.COLOR_RGB2LAB)
    disc = _disc(max(2, round(0.22 * tall)))
    bright = cv2.morphologyEx(lab, cv2.MORPH_TOPHAT, disc)
    dark = cv2.morphologyEx(lab, cv2.MORPH_BLACKHAT, disc)
    # colour (a, b) has no polarity of its own: it strengthens what lightness says
    return bright.max(axis=2), dark.max(axis=2)


def _core(strokes: NDArray[np.uint8], box: Hole, inside: Hole) -> Hole:
    """The surely stroke pixels, and those that hang together with them and are half as strong."""
    values = strokes[box]
    level, _ = cv2.threshold(values.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    level = max(level, _LEAST)
    weak = ((strokes > 0.5 * level) & inside).astype(np.uint8)
    _, labels = cv2.connectedComponents(weak, connectivity=8)
    strong = (strokes > level) & box
    kept = np.unique(labels[strong])
    return np.asarray(np.isin(labels, kept[kept > 0]) & (weak > 0))


def _evenness(part: Pixels, core: Hole) -> float:
    """Near 1 if ``core`` has one colour, as glyphs do, near 0 if it has many."""
    if not core.any():
        return 0.0
    colours = part[core].astype(np.float32)
    spread = float(np.median(np.abs(colours - np.median(colours, axis=0)).max(axis=1)))
    return 1 / (1 + spread / 20)
