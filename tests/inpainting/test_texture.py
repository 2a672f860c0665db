"""Detail from the surroundings of a hole."""

from __future__ import annotations

import numpy as np

from damgan_cli.inpainting.texture import PATCH, STRENGTH, Texture, enlarged

RATIO = 4


def canvas_of(photo):
    h, w = (side // RATIO for side in photo.shape[:2])
    blocks = photo.reshape(h, RATIO, w, RATIO, 3).astype(np.float32).mean((1, 3))
    return blocks / np.float32(127.5) - 1


def scene(noise, seed=0):
    """A photo of 384 px with a hole of 128, gray to the left and bright to the right, noisy to the right."""
    rng = np.random.default_rng(seed)
    photo = np.full((384, 384, 3), 60.0)
    photo[:, 192:] = 190 + rng.normal(0, noise, (384, 192, 3))
    unknown = np.zeros((384, 384), bool)
    unknown[128:256, 128:256] = True
    photo = np.clip(photo, 0, 255).astype(np.uint8)
    return photo, unknown, unknown[::RATIO, ::RATIO]


def test_each_place_gets_detail_of_what_looks_like_it_at_part_of_its_strength():
    photo, unknown, hole = scene(noise=20)
    texture = Texture(canvas_of(photo), hole, photo, unknown, RATIO)
    detail = 127.5 * texture.detail((slice(128, 256), slice(128, 256)))
    smooth, noisy = detail[:, 8:40], detail[:, -40:-8]
    assert smooth.std() < 1
    known = 127.5 * (photo[:, 264:].astype(np.float32) / 127.5 - 1)
    assert 0.8 < noisy.std() / (STRENGTH * known.std()) < 1.1  # overlapping patches do not cancel out
    assert np.abs(noisy.mean()) < 1


def test_what_stands_out_from_its_surroundings_is_not_copied():
    rng = np.random.default_rng(0)
    photo = np.clip(100 + rng.normal(0, 8, (384, 384, 3)), 0, 255)
    photo[40:100, 150:230] = 100 + 100 * rng.choice([-1, 1], (60, 80, 1))  # of the same mean colour
    photo = photo.astype(np.uint8)
    unknown = np.zeros((384, 384), bool)
    unknown[128:256, 128:256] = True
    texture = Texture(canvas_of(photo), unknown[::RATIO, ::RATIO], photo, unknown, RATIO)
    detail = 127.5 * texture.detail((slice(128, 256), slice(128, 256)))
    assert 3 < detail[64:].std() < 5
    assert np.abs(detail[64:]).max() < 40


def test_windows_fit_together_and_outside_there_is_none():
    photo, unknown, hole = scene(noise=20)
    texture = Texture(canvas_of(photo), hole, photo, unknown, RATIO)
    whole = texture.detail((slice(100, 300), slice(90, 310)))
    part = texture.detail((slice(150, 230), slice(90, 200)))
    assert np.array_equal(whole[50:130, :110], part)
    assert (texture.detail((slice(0, 30), slice(0, 30))) == 0).all()


def test_what_lies_under_the_hole_makes_no_difference():
    photo, unknown, hole = scene(noise=20)
    other = photo.copy()
    other[unknown] = 255 - other[unknown]
    filled = canvas_of(photo)
    window = (slice(128, 256), slice(128, 256))
    one, two = (Texture(filled, hole, source, unknown, RATIO).detail(window) for source in (photo, other))
    assert np.array_equal(one, two)


def test_where_nothing_is_known_there_is_no_detail():
    photo, _, _ = scene(noise=20)
    everything = np.ones(photo.shape[:2], bool)
    filled = canvas_of(photo)
    texture = Texture(filled, everything[::RATIO, ::RATIO], photo, everything, RATIO)
    assert (texture.detail((slice(0, 384), slice(0, 384))) == 0).all()


def test_where_little_is_known_patches_are_smaller():
    photo, unknown, hole = scene(noise=20)
    unknown[:] = hole[:] = True
    hole[:, 60 : 60 + PATCH // 2] = False
    unknown[:, 240 : 240 + RATIO * PATCH // 2] = False
    texture = Texture(canvas_of(photo), hole, photo, unknown, RATIO)
    assert texture.detail((slice(100, 200), slice(290, 380))).std() > 0.01


def test_sources_cut_by_the_photos_border_are_not_used():
    photo, unknown, hole = scene(noise=20)
    filled = canvas_of(photo)
    texture = Texture(filled, hole, photo[:-2, :-3], unknown[:-2, :-3], RATIO)
    assert texture.detail((slice(128, 256), slice(128, 256))).shape == (128, 128, 3)


def test_enlarging_a_window_is_cutting_it_from_the_whole():
    canvas = np.random.default_rng(0).random((20, 30, 4), np.float32)
    whole = enlarged(canvas, 3, (slice(0, 20), slice(0, 30)))
    assert whole.shape == (60, 90, 4)
    for rows, columns in (
        (slice(5, 9), slice(0, 30)),
        (slice(0, 4), slice(26, 30)),
        (slice(7, 20), slice(3, 8)),
    ):
        part = enlarged(canvas, 3, (rows, columns))
        wanted = whole[3 * rows.start : 3 * rows.stop, 3 * columns.start : 3 * columns.stop]
        assert np.allclose(part, wanted, atol=1e-6)
