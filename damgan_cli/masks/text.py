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
_USUAL_SHARE = 0.3  # of a box that its letters cover at most


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
    lab = cv2.cvtColor(part, cv2.COLOR_RGB2LAB).astype(np.int16)
    light, dark, hue = _strokes(part, tall)
    glyphs = [_glyphs(strokes, lab, box > 0, inside) for strokes in (light, dark, hue)]
    core, score = max(glyphs, key=lambda found: found[1])
    if not score:
        hole[view] |= box > 0
        return
    lighter = light[core].mean() > dark[core].mean()
    core |= _outline(core, dark if lighter else light, inside, round(0.15 * tall))
    rim = 1 + round(0.02 * tall)  # what anti-aliasing and JPEG have spread
    hole[view] |= cv2.dilate(core.astype(np.uint8), _disc(rim)) > 0


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2), np.uint8)


def _strokes(part: Pixels, tall: float) -> tuple[Pixels, Pixels, Pixels]:
    """How much each pixel (h, w) is lighter, darker, and of another hue than what is wider than a stroke."""
    lab = cv2.cvtColor(part, cv2.COLOR_RGB2LAB)
    disc = _disc(max(2, round(0.17 * tall)))
    light, dark = (
        np.asarray(cv2.morphologyEx(lab, way, disc), np.uint8)
        for way in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)
    )
    hue = np.maximum(light[..., 1:], dark[..., 1:]).max(axis=2)
    return light[..., 0], dark[..., 0], hue


def _glyphs(strokes: Pixels, lab: NDArray[np.int16], box: Hole, inside: Hole) -> tuple[Hole, float]:
    """The strokes of one colour in a box (h, w), and how well that colour accounts for what is there.

    The colour is that of the strongest strokes. Of see-through letters it varies, and may.
    """
    level, _ = cv2.threshold(strokes[box].reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    level = max(float(level), _LEAST)
    strong = (strokes > level) & box
    if not strong.any():
        return strong, 0.0
    strongest = strong & (strokes >= np.percentile(strokes[strong], 60))
    colour = np.median(lab[strongest], axis=0)
    apart = np.abs(lab - colour).max(axis=2)
    allowed = max(20.0, 2.5 * float(np.median(apart[strongest])))
    weak = ((strokes > 0.5 * level) & (apart < 1.6 * allowed) & inside).astype(np.uint8)
    _, labels = cv2.connectedComponents(weak, connectivity=8)
    kept = np.unique(labels[strong & (apart < allowed)])
    glyphs = np.isin(labels, kept[kept > 0]) & (weak > 0)
    glyphs |= box & (strokes > _LEAST) & (apart < allowed)
    # letters leave most of their box free: more is a patch of the background
    share = max(np.count_nonzero(glyphs & box) / np.count_nonzero(box), _USUAL_SHARE) / _USUAL_SHARE
    return glyphs, float(((strokes[glyphs] / allowed) ** 2).sum()) / share**4


def _outline(core: Hole, other: Pixels, inside: Hole, reach: int) -> Hole:
    """Outline or shadow: what is of the other polarity around glyphs (h, w), as far as it follows them."""
    distance = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    strong = (other > 2 * _LEAST) & inside
    hole = np.zeros(core.shape, bool)
    for far in range(1, max(2, reach) + 1):
        ring = (distance > far - 1) & (distance <= far) & inside
        if far > 1 and np.count_nonzero(ring & strong) < 0.3 * np.count_nonzero(ring):
            break
        hole |= ring & strong
    return hole
