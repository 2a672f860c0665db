"""Images of one size made into those of another, and their contrast."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from damgan_cli.inpainting.resample import (
    contrast_restored,
    enlarged,
    mixed,
    pasted,
    rescaled,
    squared,
    widely_blurred,
)


def test_enlarging_a_window_is_cutting_it_from_the_whole():
    window = np.random.default_rng(0).random((20, 30, 4), np.float32)
    whole = enlarged(window, 3, (slice(0, 20), slice(0, 30)))
    assert whole.shape == (60, 90, 4)
    for rows, columns in (
        (slice(5, 9), slice(0, 30)),
        (slice(0, 4), slice(26, 30)),
        (slice(7, 20), slice(3, 8)),
    ):
        part = enlarged(window, 3, (rows, columns))
        wanted = whole[3 * rows.start : 3 * rows.stop, 3 * columns.start : 3 * columns.stop]
        assert np.allclose(part, wanted, atol=1e-6)


def test_rescaling_keeps_places():
    """A ramp stays the same ramp, whatever the scales of the octaves (OpenCV's cubic bends it by .05 px)."""
    ramp = np.repeat((np.arange(50, dtype=np.float32) + 0.5)[:, None], 50, axis=1)[..., None].repeat(3, 2)
    for factor in (1 / 2, 3 / 5, 2 / 3):
        side = int(50 / factor)
        finer = rescaled(ramp, factor, (side, side))
        assert np.allclose(finer[10:-10, 5, 0], ((np.arange(side) + 0.5) * factor)[10:-10], atol=0.06)


@pytest.mark.parametrize("shape", [(100, 60), (83, 41), (104, 63)])
def test_rescaling_cuts_and_continues(shape):
    image = np.random.default_rng(0).random((50, 30, 3), np.float32)
    whole = cv2.resize(image, (60, 100), interpolation=cv2.INTER_CUBIC)
    found = rescaled(image, 1 / 2, shape)
    common = slice(0, min(100, shape[0])), slice(0, min(60, shape[1]))
    assert found.shape == (*shape, 3)
    assert np.abs(found[common] - whole[common])[:-2, :-2].max() < 0.01


def test_pictures_are_pasted_mixed_and_squared_pixel_by_pixel():
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, (2, 20, 30, 3)).astype(np.float32)
    share = rng.random((20, 30), np.float32)
    hole = share > 0.5
    before = one.copy()
    assert np.array_equal(pasted(one, other, hole), np.where(hole[..., None], other, one))
    assert np.allclose(
        mixed(one, other, share), (1 - share)[..., None] * one + share[..., None] * other, atol=1e-6
    )
    assert np.allclose(squared(one), (one**2).sum(2), atol=1e-5)
    assert np.array_equal(one, before)


@pytest.mark.parametrize("sigma", [2.0, 10.0, 40.0])
def test_a_wide_blur_on_a_smaller_image_is_a_blur(sigma):
    image = np.random.default_rng(0).random((301, 410, 3), np.float32)
    image[100:, 200:] += 1
    exact = cv2.GaussianBlur(image, (0, 0), sigma)
    assert np.abs(widely_blurred(image, sigma) - exact)[20:-20, 20:-20].max() < 0.02


def test_a_wide_blur_of_a_small_image():
    assert np.allclose(widely_blurred(np.ones((3, 5, 3), np.float32), 40.0), 1)


def test_mixtures_get_their_contrast_back():
    one, other = np.random.default_rng(0).normal(0, 0.2, (2, 128, 128, 3)).astype(np.float32)
    half = np.full((128, 128), 0.5, np.float32)
    restored = contrast_restored((one + other) / 2, half, 4)
    assert ((one + other) / 2).std() == pytest.approx(0.141, abs=0.002)
    assert restored.std() == pytest.approx(0.2, abs=0.003)
    assert np.allclose(contrast_restored(one, np.ones_like(half), 4), one, atol=1e-6)
