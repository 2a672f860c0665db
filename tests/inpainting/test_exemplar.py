"""Detail for enlarged fills that is copied from known pixels."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest

from damgan_cli.inpainting import exemplar
from damgan_cli.inpainting.exemplar import Exemplar, agreement, copying_of
from damgan_cli.inpainting.resample import enlarged
from damgan_cli.inpainting.windows import reduced

SCALE = 4
HOLE = (slice(128, 256), slice(128, 256))


def window_of(photo):
    h, w = (side // SCALE for side in photo.shape[:2])
    blocks = photo.reshape(h, SCALE, w, SCALE, 3).astype(np.float32).mean((1, 3))
    return blocks / np.float32(127.5) - 1


def scene(noise=20):
    """A photo of 384 px with a hole of 128, gray to the left and bright to the right, noisy to the right."""
    rng = np.random.default_rng(0)
    photo = np.full((384, 384, 3), 60.0)
    photo[:, 192:] = 190 + rng.normal(0, noise, (384, 192, 3))
    unknown = np.zeros((384, 384), bool)
    unknown[HOLE] = True
    return np.clip(photo, 0, 255).astype(np.uint8), unknown


def exemplar_of(photo, unknown, filled=None, wanted=None):
    filled = window_of(photo) if filled is None else filled
    return Exemplar(
        filled,
        photo,
        unknown,
        unknown if wanted is None else wanted,
        SCALE,
        partial(reduced, photo, unknown),
        copying_of(128),
    )


@pytest.fixture(params=[1 << 30, 1], ids=["searched to the photo", "finer octaves take the window's offsets"])
def octaves(request, monkeypatch):
    monkeypatch.setattr(exemplar, "_LARGEST", request.param)


@pytest.mark.usefixtures("octaves")
def test_each_place_gets_the_detail_of_what_looks_like_it():
    photo, unknown = scene()
    detail = 127.5 * exemplar_of(photo, unknown).detail(HOLE)
    smooth, noisy = detail[16:-16, 8:40], detail[16:-16, -40:-8]
    assert smooth.std() < 1
    assert 12 < noisy.std() < 22  # of 20 in the photo: copies are not averaged away


@pytest.mark.usefixtures("octaves")
def test_windows_fit_together():
    photo, unknown = scene()
    source = exemplar_of(photo, unknown)
    whole = source.detail((slice(100, 300), slice(90, 310)))
    part = source.detail((slice(150, 230), slice(90, 200)))
    assert np.allclose(whole[50:130, :110], part, atol=1e-6)


@pytest.mark.usefixtures("octaves")
def test_what_lies_under_the_hole_makes_no_difference():
    photo, unknown = scene()
    other = photo.copy()
    other[unknown] = 255 - other[unknown]
    filled = window_of(photo)
    one, two = (exemplar_of(source, unknown, filled).detail(HOLE) for source in (photo, other))
    assert np.array_equal(one, two)
    assert np.array_equal(one, exemplar_of(photo, unknown, filled).detail(HOLE))


def test_a_stripe_is_continued_at_full_sharpness():
    """Below the window's resolution: stripes of two pixels that the guide cannot show."""
    photo = np.full((384, 384, 3), 40, np.uint8)
    photo[:, ::4] = photo[:, 1::4] = 200
    unknown = np.zeros((384, 384), bool)
    unknown[HOLE] = True
    source = exemplar_of(photo, unknown)
    filled = 127.5 * (
        enlarged(source.filled, SCALE, (slice(32, 64), slice(32, 64))) + source.detail(HOLE) + 1
    )
    middle = filled[40:-40, 40:-40, 0]
    assert middle.std() > 60  # of 80 in the photo
    assert np.abs(middle[0] - middle[-1]).mean() < 25  # upright, as they are around the hole


def test_where_nothing_is_known_there_is_no_detail():
    photo, _ = scene()
    everything = np.ones(photo.shape[:2], bool)
    assert (exemplar_of(photo, everything).detail((slice(0, 384), slice(0, 384))) == 0).all()


def test_detail_is_found_only_where_it_is_wanted():
    photo, unknown = scene()
    wanted = unknown.copy()
    wanted[192:] = False
    detail = exemplar_of(photo, unknown, wanted=wanted).detail(HOLE)
    wanted_there, unwanted = detail[20:40, 80:108], detail[90:108, 80:108]  # where the scene is noisy
    assert np.abs(unwanted).max() < 0.02  # of 2
    assert wanted_there.std() > 5 * unwanted.std()


def test_blots_disagree_with_the_fill_and_finer_detail_does_not():
    fill = np.zeros((120, 120, 3), np.float32)
    fill[:, 60:] = np.float32(0.8)  # an edge
    copied = fill + np.random.default_rng(0).normal(0, 0.15, fill.shape).astype(np.float32)
    copied[40:80, 15:35] = 0.5  # where the fill is even
    copied[:, 60:62] = 0  # the edge two pixels off
    found = agreement(copied, fill[::2, ::2], scale=2, blur=0.9)
    assert found[50:70, 20:30].max() < 0.05
    assert found[:, 56:66].mean() > 0.9
    assert found[:20].mean() > 0.9


@pytest.mark.usefixtures("octaves")
def test_a_fill_that_copies_disagree_with_stays_as_it_is(monkeypatch):
    photo, unknown = scene()
    assert np.abs(exemplar_of(photo, unknown).detail(HOLE)).max() > 0.1
    monkeypatch.setattr(exemplar, "agreement", lambda copied, *_: np.zeros(copied.shape[:2], np.float32))
    assert np.abs(exemplar_of(photo, unknown).detail(HOLE)[16:-16, 16:-16]).max() < 0.02


def test_photos_whose_sides_are_no_multiples_of_the_scale():
    photo, unknown = scene()
    source = exemplar_of(photo[:-2, :-3], unknown[:-2, :-3], window_of(photo))
    assert source.detail(HOLE).shape == (128, 128, 3)


def test_a_blurred_fill_finds_the_texture_it_was_blurred_from():
    """Among sharp patches the flat ones would be nearest to it; the more it is blurred, the more so."""
    rng = np.random.default_rng(0)
    photo = np.full((384, 384, 3), 128.0)
    photo[:, 160:] += np.kron(rng.normal(0, 30, (96, 56, 3)), np.ones((SCALE, SCALE, 1)))
    photo = np.clip(photo, 0, 255).astype(np.uint8)
    hole = (slice(144, 240), slice(224, 320))
    unknown = np.zeros((384, 384), bool)
    unknown[hole] = True
    sharp = window_of(photo)
    inside = unknown[::SCALE, ::SCALE][..., None]
    filled = np.where(inside, cv2.GaussianBlur(sharp, (0, 0), copying_of(128).blur), sharp)
    source = exemplar_of(photo, unknown, filled)
    made = 127.5 * (enlarged(filled, SCALE, (slice(36, 60), slice(56, 80))) + source.detail(hole))
    assert made.std() > 0.8 * photo[:, 160:].std()
