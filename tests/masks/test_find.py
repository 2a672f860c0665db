"""Objects, text, scratches and what is the same are found where they are, and not where they are not."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from damgan_cli.errors import MaskError
from damgan_cli.masks import text
from damgan_cli.masks.objects import object_mask
from damgan_cli.masks.same import same_mask
from damgan_cli.masks.scratches import scratch_mask
from damgan_cli.masks.text import text_mask

HEIGHT, WIDTH = 240, 320


def meadow(seed=0):
    """Green noise with a gradient: (240, 320, 3) uint8."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1.5)
    slope = np.linspace(0, 40, WIDTH)[None] + 30 * noise / noise.std() * 0.3
    return np.clip(np.stack([60 + slope, 120 + slope, 50 + slope], axis=2), 0, 255).astype(np.uint8)


def balloon():
    """A red disc with a thin string below it, on a meadow; and where they are."""
    photo = meadow()
    there = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(there, (150, 90), 40, 1, -1)
    cv2.line(there, (150, 130), (155, 170), 1, 2)
    photo[there > 0] = (200, 30, 40)
    return photo, there > 0


def recall(found, true):
    return (found & true).sum() / true.sum()


def precision(found, true, margin=4):
    near = cv2.dilate(true.astype(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8)) > 0
    return (found & near).sum() / max(1, found.sum())


# ------------------------------------------------------------------------------------------ objects
@pytest.mark.parametrize(
    "prompt", [{"box": (95, 40, 115, 140)}, {"points": [(150, 90)]}, {"points": [(150, 90), (130, 80)]}]
)
def test_an_object_is_marked_to_its_rim_with_its_thin_parts(prompt):
    photo, there = balloon()
    found = object_mask(photo, **prompt)
    assert found.dtype == bool
    assert recall(found, there) > 0.97
    assert precision(found, there) > 0.97
    assert np.array_equal(object_mask(photo, **prompt), found)  # the same again


def test_a_large_photo_is_cut_in_detail():
    photo, there = balloon()
    large = cv2.resize(photo, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    found = object_mask(large, box=(760, 320, 920, 1120))
    there = cv2.resize(there.astype(np.uint8), (WIDTH * 8, HEIGHT * 8), interpolation=cv2.INTER_NEAREST) > 0
    assert recall(found, there) > 0.97
    assert precision(found, there, 16) > 0.97


def test_what_is_not_meant_is_left_out():
    photo, there = balloon()
    photo[70:110, 210:250] = (200, 30, 40)
    found = object_mask(photo, box=(95, 40, 165, 140), not_points=[(230, 90), (218, 78), (242, 102)])
    assert recall(found, there) > 0.9
    assert found[85:95, 225:235].mean() < 0.2


def test_a_box_may_be_the_whole_photo_and_must_not_be_outside():
    photo, there = balloon()
    assert recall(object_mask(photo, box=(0, 0, WIDTH, HEIGHT)), there) > 0.9
    object_mask(np.zeros((40, 40, 3), np.uint8), box=(5, 5, 9, 9))  # nothing there: no crash
    for prompt, words in (
        ({}, "needs a box or a point"),
        ({"box": (400, 0, 9, 9)}, "lies outside"),
        ({"points": [(1, 300)]}, "lies outside"),
    ):
        with pytest.raises(MaskError, match=words):
            object_mask(photo, **prompt)


# ------------------------------------------------------------------------------------------ text
def captioned(line, colour, outline=None):
    image = Image.fromarray(meadow())
    font = ImageFont.load_default(26)
    width = 0 if outline is None else 2
    ImageDraw.Draw(image).text((20, 190), line, colour, font, stroke_width=width, stroke_fill=outline)
    cover = Image.new("L", image.size)
    ImageDraw.Draw(cover).text((20, 190), line, 255, font, stroke_width=width)
    return np.asarray(image), np.asarray(cover) > 96


@pytest.mark.parametrize(
    ("colour", "outline"), [("white", None), ((255, 140, 30), None), ("black", None), ("yellow", "black")]
)
def test_text_is_marked_by_its_letters_with_their_outline(colour, outline):
    pytest.importorskip("rapidocr")
    photo, there = captioned("24.07.1998 Oslo", colour, outline)
    found = text_mask(photo)
    assert recall(found, there) > 0.98
    assert precision(found, there, 3) > 0.9
    assert not found[:170].any()
    assert not text_mask(photo, region=(0, 0, WIDTH, 150)).any()
    assert np.array_equal(text_mask(photo, region=(0, 150, WIDTH, 90))[:150], np.zeros((150, WIDTH), bool))


def test_no_text_is_an_empty_mask_and_no_rapidocr_an_error(monkeypatch):
    pytest.importorskip("rapidocr")
    assert not text_mask(meadow()).any()
    with pytest.raises(MaskError, match="lies outside"):
        text_mask(meadow(), region=(400, 0, 9, 9))
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    text._reader.cache_clear()
    with pytest.raises(MaskError, match=r"pip install 'damgan\[text\]'"):
        text_mask(meadow())


# ------------------------------------------------------------------------------------------ scratches
def scratched():
    photo = meadow()
    there = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.line(there, (60, 10), (80, 220), 1, 1)
    cv2.line(there, (20, 60), (300, 100), 1, 2)
    bright = there > 0
    dark = np.zeros_like(there)
    cv2.line(dark, (240, 5), (250, 200), 1, 2)
    for x, y in ((150, 30), (180, 150), (120, 200)):
        cv2.circle(there, (x, y), 2, 1, -1)
    photo[there > 0] = 230
    photo[dark > 0] = 20
    return photo, (there > 0) | (dark > 0) | bright


def test_bright_and_dark_scratches_and_dust_are_found():
    photo, there = scratched()
    found = scratch_mask(photo)
    assert recall(found, there) > 0.95
    assert precision(found, there, 5) > 0.8
    shares = [scratch_mask(photo, strength).mean() for strength in (0, 0.5, 1)]
    assert shares == sorted(shares)
    region = scratch_mask(photo, region=(200, 0, 120, HEIGHT))
    assert not region[:, :200].any()
    assert np.array_equal(region[:, 200:], found[:, 200:])
    assert scratch_mask(meadow(), 0).mean() < 0.01
    assert scratch_mask(np.zeros((9, 9, 3), np.uint8)).shape == (9, 9)
    with pytest.raises(MaskError, match="strength of 2"):
        scratch_mask(photo, 2)


# ------------------------------------------------------------------------------------------ same
def test_a_watermark_is_what_is_the_same_in_many_photos():
    cover = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(cover).text((90, 100), "SAMPLE", 255, ImageFont.load_default(36))
    share = np.asarray(cover)[..., None] / 255 * 0.4
    clean = [np.roll(meadow(seed), 29 * seed, axis=(0, 1)) for seed in range(10)]
    stamped = [(photo * (1 - share) + 255 * share).astype(np.uint8) for photo in clean]
    found = same_mask(iter(stamped))
    assert recall(found, share[..., 0] > 0.2) > 0.9
    assert precision(found, share[..., 0] > 0.1, 5) > 0.85
    assert same_mask(iter(clean)).mean() < 0.005
    with pytest.raises(MaskError, match="from 3 photos"):
        same_mask(iter(stamped[:3]))
    with pytest.raises(MaskError, match="different sizes"):
        same_mask(iter([*stamped, stamped[0][:9]]))


def test_none_of_these_loads_torch():
    names = ("objects", "text", "scratches", "same", "find", "shapes", "labels")
    program = f"import sys; {'; '.join(f'import damgan_cli.masks.{name}' for name in names)}; "
    loaded = subprocess.run(
        [sys.executable, "-c", program + "print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.stdout.strip() == "False", loaded.stderr
