"""``fit``: what becomes of holes that are deeper than those the model learned."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from damgan_cli.inpainting.inpainter import Inpainter
from tests.inpainting.holes import hole_with, photo

SHAPE = (300, 420)
DEEP = hole_with(SHAPE, (60, 240, 100, 330))
THIN = hole_with(SHAPE, (100, 110, 50, 350))


@pytest.fixture(scope="module")
def fits(tiny_weights):
    return {
        fit: Inpainter(tiny_weights, device="cpu", dtype="float32", fit=fit)
        for fit in ("auto", "smooth", "native")
    }


def filled(inpainter, hole, rgb):
    return inpainter.fill_batch([rgb], [hole])[0].rgb


def test_deep_holes_differ_and_thin_ones_do_not(fits):
    rgb = photo(*SHAPE)
    deep = [filled(inpainter, DEEP, rgb) for inpainter in fits.values()]
    assert not np.array_equal(deep[0], deep[1])
    assert not np.array_equal(deep[1], deep[2])
    thin = [filled(inpainter, THIN, rgb) for inpainter in fits.values()]
    assert np.array_equal(thin[0], thin[1])
    assert np.array_equal(thin[1], thin[2])


def test_auto_has_the_grain_of_the_surroundings(fits):
    flat = np.full((*SHAPE, 3), 120, np.uint8)
    grainy = flat + np.random.default_rng(0).integers(0, 30, flat.shape, np.uint8)

    def grain(rgb):
        inner = rgb[120:180, 150:280].astype(float)
        return np.abs(np.diff(inner, axis=1)).mean()

    assert grain(filled(fits["auto"], DEEP, flat)) < grain(filled(fits["smooth"], DEEP, flat)) + 0.5
    assert grain(filled(fits["auto"], DEEP, grainy)) > 2 * grain(filled(fits["smooth"], DEEP, grainy))


@pytest.mark.parametrize("fit", ["auto", "smooth", "native"])
def test_every_choice_keeps_known_pixels_and_never_sees_the_truth(fits, fit):
    rgb = photo(*SHAPE)
    other = rgb.copy()
    other[DEEP] = 255 - other[DEEP]
    one, two = (filled(fits[fit], DEEP, source) for source in (rgb, other))
    assert np.array_equal(one[~DEEP], rgb[~DEEP])
    assert np.array_equal(one, two)
    assert np.array_equal(one, filled(fits[fit], DEEP, rgb))  # the same bytes each time


def test_large_fills_are_pasted_in_pieces_that_fit_together(fits, monkeypatch):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rgb = np.stack([x / 2, y / 2, 200 - x / 3], -1).astype(np.uint8)
    at_once = filled(fits["smooth"], DEEP, rgb)
    monkeypatch.setattr("damgan_cli.inpainting.windows._PIECE", 50)
    difference = np.abs(filled(fits["smooth"], DEEP, rgb).astype(int) - at_once)
    assert difference.max() <= 8  # levels: the membrane is solved on grids that lie a little differently
    assert difference[DEEP].mean() < 0.3


def test_an_unknown_fit_is_refused(tiny_weights):
    with pytest.raises(ValueError, match="auto, smooth, native"):
        Inpainter(tiny_weights, fit="crop")


def test_fit_on_the_command_line(damgan, tiny_weights, tmp_path):
    Image.fromarray(photo(*SHAPE)).save(tmp_path / "photo.png")
    Image.fromarray(DEEP).save(tmp_path / "mask.png")
    call = [
        "inpaint",
        str(tmp_path / "photo.png"),
        "--mask",
        str(tmp_path / "mask.png"),
        "-w",
        str(tiny_weights),
    ]
    pixels = {}
    for fit in ("auto", "native"):
        out = tmp_path / f"{fit}.png"
        result = damgan(*call, "-o", str(out), "--fit", fit, "--json")
        assert result.code == 0
        assert json.loads(result.out)["fit"] == fit
        pixels[fit] = np.array(Image.open(out))
    assert not np.array_equal(pixels["auto"], pixels["native"])
    refused = damgan(*call, "--fit", "crop")
    assert refused.code == 2
    assert "smooth" in refused.err
