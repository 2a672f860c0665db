"""The membrane that carries the error at the border into the hole."""

from __future__ import annotations

import numpy as np
import pytest

from damgan_cli.inpainting.membrane import match_seam


def square_hole(side=64, depth=20):
    hole = np.zeros((side, side), bool)
    hole[depth:-depth, depth:-depth] = True
    return hole


def test_a_fill_that_is_off_by_a_constant_is_put_right():
    rng = np.random.default_rng(0)
    truth = rng.random((50, 70, 3), np.float32)
    hole = np.zeros((50, 70), bool)
    hole[10:30, 20:70] = True
    shift = np.float32([0.1, -0.2, 0.05])
    assert np.abs(match_seam(truth - shift, truth, hole) - truth)[hole].max() < 1e-5


def test_a_slanted_error_is_put_right_between_the_borders():
    y, x = np.mgrid[:64, :64].astype(np.float32) / 64
    error = np.repeat((0.3 * x - 0.2 * y)[..., None], 3, axis=2)  # harmonic: the membrane
    hole = square_hole()
    matched = match_seam(-error, np.zeros_like(error), hole)
    assert np.abs(matched[hole]).max() < 0.02  # of 0.5 from corner to corner


def test_noise_on_the_border_fades_into_the_hole():
    known = np.random.default_rng(0).normal(0, 1, (128, 128, 3)).astype(np.float32)
    hole = square_hole(128, 32)
    matched = match_seam(np.zeros_like(known), known, hole)
    assert np.abs(matched[33, 32:96]).mean() > 0.2
    assert np.abs(matched[60:68, 60:68]).mean() < 0.15


def test_only_known_pixels_that_touch_the_hole_count():
    hole = square_hole()
    known = np.zeros((64, 64, 3), np.float32)
    known[:19] = known[:, :19] = 9
    known[45:] = known[:, 45:] = 9  # all but a ring of one pixel
    fill = np.full_like(known, 0.5)
    assert np.abs(match_seam(fill, known, hole)[hole]).max() < 1e-6


def test_what_is_deep_stays_as_it_is():
    hole, deep = square_hole(), square_hole(depth=26)
    known, fill = np.zeros((64, 64, 3), np.float32), np.ones((64, 64, 3), np.float32)
    matched = match_seam(fill, known, hole, deep)
    assert (matched[deep] == 1).all()
    across = matched[32, 20:26, 0]
    assert (np.diff(across) > 0).all()
    assert across[0] < 0.3
    assert across[-1] > 0.7


@pytest.mark.parametrize("hole", [np.zeros((9, 7), bool), np.ones((9, 7), bool)])
def test_without_a_border_nothing_changes(hole):
    fill = np.random.default_rng(0).random((9, 7, 3), np.float32)
    matched = match_seam(fill, np.zeros_like(fill), hole)
    assert np.array_equal(matched, fill)
    assert matched is not fill


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (33, 65)])
def test_any_shape_stays_finite_and_within_the_errors_of_the_border(shape):
    rng = np.random.default_rng(1)
    hole = rng.random(shape) < 0.6
    known = rng.uniform(-1, 1, (*shape, 3)).astype(np.float32)
    matched = match_seam(np.zeros_like(known), known, hole)
    assert np.abs(matched).max() <= 1 + 1e-5
