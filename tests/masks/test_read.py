"""Masks of every kind mark the hole that is meant, or draw one clear error."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.masks.read import MaskWarning, hole_of, read_mask
from damgan_cli.photos.write import write_png
from tests.photos.photo_kinds import noise


def test_masks_of_every_mode_are_read_by_luminance(tmp_path):
    hole = noise(1) > 127
    gray = Image.fromarray(hole)
    opaque = gray.convert("RGBA")
    palette = gray.convert("L").convert("P")
    deep = hole.astype(np.uint16) * 65535
    for name, image in {
        "1": gray,
        "L": gray.convert("L"),
        "RGB": gray.convert("RGB"),
        "RGBA": opaque,
    }.items():
        image.save(tmp_path / f"{name}.png")
    palette.save(tmp_path / "P.png")
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("1", "L", "RGB", "RGBA", "P", "deep"):
            assert np.array_equal(read_mask(tmp_path / f"{name}.png"), hole), name
            assert np.array_equal(hole_of(Image.open(tmp_path / f"{name}.png")), hole), name
        assert np.array_equal(read_mask(tmp_path / "L.png", invert=True), ~hole)
        for array in (
            hole,
            hole[..., None],
            hole.astype(np.uint8) * 255,
            np.repeat(hole[..., None], 3, axis=2),
        ):
            assert np.array_equal(hole_of(array), hole)
    for unfit in (hole.astype(np.float32), hole[0], "mask.png"):
        with pytest.raises(ImageFileError, match="A mask cannot be"):
            hole_of(unfit)


def test_transparent_parts_of_a_mask_are_no_hole(tmp_path):
    strokes = np.full((8, 8, 4), 255, np.uint8)
    strokes[:4, :, 3] = 0  # white, but not visible
    Image.fromarray(strokes).save(tmp_path / "layer.png")
    mask = read_mask(tmp_path / "layer.png")
    assert not mask[:4].any()
    assert mask[4:].all()


def layer(colour, opacity=255):
    """Noise of 30x41 x 4: paint of one ``colour`` where `noise` is bright, all else transparent black."""
    pixels = np.zeros((30, 41, 4), np.uint8)
    pixels[PAINTED] = (*colour, opacity)
    return Image.fromarray(pixels)


PAINTED = noise(1) > 127
RED, GREEN, WHITE, BLACK = (255, 0, 0), (0, 160, 0), (255, 255, 255), (0, 0, 0)


@pytest.mark.parametrize("colour", [RED, GREEN, WHITE, (90, 90, 90)])
def test_a_paint_layer_is_read_by_its_opacity(colour, tmp_path):
    path = tmp_path / "layer.png"
    palette = layer(colour).quantize(2, method=Image.Quantize.FASTOCTREE)
    for image in (layer(colour), palette, layer(colour).convert("LA") if colour == WHITE else palette):
        image.save(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(read_mask(path), PAINTED)
            assert np.array_equal(hole_of(Image.open(path)), PAINTED)
            assert np.array_equal(read_mask(path, invert=True), ~PAINTED)
    pixels = np.dstack([np.array(layer(colour), np.uint16) * 257])
    cv2.imwrite(str(path), pixels[..., [2, 1, 0, 3]])
    assert np.array_equal(read_mask(path), PAINTED)
    with pytest.warns(MaskWarning, match="black and white only"):  # soft, as a brush with edges is
        assert np.array_equal(hole_of(layer(colour, 200)), PAINTED)


def test_black_paint_is_hole_and_said_to_be(tmp_path):
    with pytest.warns(MaskWarning, match="black on transparent"):
        assert np.array_equal(hole_of(layer(BLACK)), PAINTED)


def test_colours_of_several_kinds_are_paint_but_black_and_white_are_a_mask():
    pixels = np.array(layer(RED))
    pixels[5:9, :, :3] = BLACK
    pixels[9:12, :, :3] = WHITE
    assert np.array_equal(hole_of(pixels), PAINTED)
    hole = noise(1, seed=1) > 127
    masked = np.dstack([np.repeat(hole[..., None] * np.uint8(255), 3, axis=2), PAINTED * np.uint8(255)])
    assert np.array_equal(hole_of(masked), hole & PAINTED)


@pytest.mark.parametrize("opacity", [1, 100, 127])
@pytest.mark.parametrize("colour", [RED, WHITE, BLACK])
def test_paint_that_is_too_faint_is_an_error(colour, opacity, tmp_path):
    layer(colour, opacity).save(tmp_path / "faint.png")
    with pytest.raises(MaskError, match=rf"faint.png marks no hole.* highest opacity is {opacity / 255:.0%}"):
        read_mask(tmp_path / "faint.png")


def test_colours_too_dark_for_white_are_an_error_unless_the_mask_is_black(tmp_path):
    for colour in (RED, (0, 0, 255), (100, 0, 0)):
        layer(colour).convert("RGB").save(tmp_path / "red.png")
        with pytest.raises(MaskError, match="too dark to count as white"):
            read_mask(tmp_path / "red.png")
    faint = Image.new("RGBA", (4, 4), (255, 255, 255, 100))
    with pytest.raises(MaskError, match="highest opacity is 39%"):
        hole_of(faint)
    for empty in ("L", "RGB", "RGBA", "LA"):  # all black or all transparent: no hole, and no mistake
        assert not hole_of(Image.new(empty, (4, 4))).any()
    assert not hole_of(Image.new("RGBA", (4, 4), (0, 0, 0, 255))).any()
    assert not hole_of(Image.new("RGBA", (4, 4), (255, 0, 0, 0))).any()


def test_soft_masks_are_thresholded_with_one_warning(tmp_path):
    soft = np.array([[0, 100, 127, 128, 200, 255]], np.uint8)
    write_png(tmp_path / "soft.png", soft)
    with pytest.warns(MaskWarning, match="not black and white") as caught:
        mask = read_mask(tmp_path / "soft.png")
    assert mask.tolist() == [[False, False, False, True, True, True]]
    assert len(caught) == 1
    write_png(tmp_path / "labels.png", np.array([[0, 1]], np.uint8))
    with pytest.warns(MaskWarning, match="brightest value is 1"):
        assert not read_mask(tmp_path / "labels.png").any()
