"""Copied detail deep in holes of windows at full resolution."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest

from damgan_cli.inpainting import deep, exemplar
from damgan_cli.inpainting.deep import DEEP, GRIDS, SHALLOW, edges, roughness, with_copied_detail
from damgan_cli.inpainting.exemplar import copying_of
from damgan_cli.inpainting.plan import Reach, plan
from damgan_cli.inpainting.windows import reduced

SIDE, HOLE = 256, (slice(64, 192), slice(64, 192))
INSIDE = (slice(64 + DEEP, 192 - DEEP),) * 2
"""As deep as all of the fill's detail is replaced."""


@pytest.fixture
def scene():
    """A photo of noise (σ 12 levels), its hole, and a fill that draws a grid there, as strong as that."""
    rng = np.random.default_rng(0)
    photo = np.clip(128 + rng.normal(0, 12, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    unknown = np.zeros((SIDE, SIDE), bool)
    unknown[HOLE] = True
    filled = photo.astype(np.float32) / 127.5 - 1
    filled[unknown] = (12 / 127.5 * grid())[unknown]
    return photo, unknown, filled


@pytest.fixture
def unseen(monkeypatch):
    """Grids that nobody notices, and holes of which every pixel is worth it: only depth counts."""
    monkeypatch.setattr(deep, "_LEAST", 1)
    monkeypatch.setattr(
        deep, "gridness", lambda _filled, _unknown, wanted: np.zeros(wanted.shape, np.float32)
    )


def grid():
    """(SIDE, SIDE, 3) with a standard deviation of 1 and a period of 4 px both ways."""
    wave = np.sqrt(2) * np.cos(np.arange(SIDE) * np.pi / 2 + np.pi / 4)
    return np.float32(np.outer(wave, wave))[..., None].repeat(3, 2)


def copied(photo, unknown, filled, wanted=None, **options):
    reduce = partial(reduced, photo, unknown)
    depth = cv2.distanceTransform(unknown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    wanted = unknown if wanted is None else wanted
    return with_copied_detail(filled, photo, unknown, wanted, depth, reduce, **options)


def test_a_grid_becomes_the_texture_around_the_hole(scene):
    photo, unknown, filled = scene
    result = 127.5 * copied(photo, unknown, filled)[INSIDE]
    pattern = grid()[INSIDE]
    before, after = (np.abs((image * pattern).mean()) for image in (127.5 * filled[INSIDE], result))
    assert before == pytest.approx(12, rel=0.01)
    assert after < 1
    assert 9 < result.std() < 15  # of 12 around: copies are neither averaged away nor exaggerated


@pytest.mark.usefixtures("unseen")
def test_known_and_shallow_pixels_and_what_is_not_wanted_stay(scene):
    photo, unknown, filled = scene
    wanted = unknown.copy()
    wanted[:, 140:] = False
    result = copied(photo, unknown, filled, wanted)
    changed = (result != filled).any(2)
    assert changed[INSIDE][:, : 140 - INSIDE[1].start].mean() > 0.99
    changed[64 + SHALLOW : 192 - SHALLOW, 64 + SHALLOW : 140] = False
    assert not changed.any()


def test_what_lies_under_the_hole_makes_no_difference(scene):
    photo, unknown, filled = scene
    result = copied(photo, unknown, filled)
    photo[unknown] = 255
    assert np.array_equal(copied(photo, unknown, filled), result)


def test_a_fill_that_copies_disagree_with_stays(scene, monkeypatch):
    monkeypatch.setattr(exemplar, "agreement", lambda made, *_: np.zeros(made.shape[:2], np.float32))
    assert np.array_equal(copied(*scene), scene[2])


def test_where_nothing_is_known_the_fill_stays(scene):
    photo, unknown, filled = scene
    assert np.array_equal(copied(photo, np.ones_like(unknown), filled), filled)


def test_odd_sides(scene):
    photo, unknown, filled = (layer[:-1, :-3] for layer in scene)
    changed = (copied(photo, unknown, filled) != filled).any(2)
    assert changed[INSIDE].all()
    assert not changed[~unknown].any()


def test_what_is_rough_in_the_fill_is_copied_from_rough_places(scene, monkeypatch):
    """Left of the hole gray, right of it noise; in it a grid that is gray at half the size."""
    photo, unknown, filled = scene
    photo[:, : SIDE // 2] = 128
    filled[~unknown] = (photo / np.float32(127.5) - 1)[~unknown]
    told = 127.5 * copied(photo, unknown, filled)[INSIDE].std()
    monkeypatch.setattr(deep, "_ROUGHNESS", 0.0)
    untold = 127.5 * copied(photo, unknown, filled)[INSIDE].std()
    assert told > 9 > 2 * untold


def test_copies_are_rougher_than_the_fill_by_what_it_lacks(scene):
    """Known pixels get rougher from left to right, σ 2 to 30; the fill has σ 10."""
    photo, unknown, filled = scene
    noise = np.random.default_rng(0).normal(0, 1, photo.shape)
    photo[:] = np.clip(128 + noise * np.linspace(2, 30, SIDE)[:, None], 0, 255)
    filled[:] = photo / np.float32(127.5) - 1
    filled[unknown] = (10 / 127.5 * noise[::-1])[unknown]
    assert 12 < 127.5 * copied(photo, unknown, filled)[INSIDE].std() < 16.5


@pytest.mark.usefixtures("unseen")
@pytest.mark.parametrize(("side", "changes"), [(2 * DEEP - 4, False), (2 * DEEP + 8, True)])
def test_only_what_is_deep_changes(scene, side, changes):
    photo, unknown, filled = scene
    unknown[:] = False
    unknown[60 : 60 + side, 60 : 60 + side] = True
    filled[unknown] = (12 / 127.5 * grid())[unknown]
    assert np.array_equal(copied(photo, unknown, filled), filled) != changes


@pytest.mark.usefixtures("unseen")
def test_how_deep_others_are_makes_no_difference(scene):
    """A window of strokes beside a deep hole that another window fills."""
    photo, unknown, filled = scene
    strip = np.zeros_like(unknown)
    strip[208:252] = True  # 22 px deep, beside the hole's 64
    filled[strip] = (12 / 127.5 * grid())[strip]
    assert np.array_equal(copied(photo, unknown | strip, filled, strip), filled)


def test_grids_are_replaced_near_known_pixels_too(scene):
    photo, unknown, filled = scene
    unknown[:] = False
    unknown[60:100, 60:200] = True  # 20 px deep
    filled[:] = photo / np.float32(127.5) - 1
    filled[60:100, 60:130] = (12 / 127.5 * grid())[60:100, 60:130]  # to its right the photo itself
    result = copied(photo, unknown, filled)
    replaced = 127.5 * result[60 + GRIDS[1] : 100 - GRIDS[1], 60 + GRIDS[1] : 110]
    assert np.abs((replaced * grid()[: replaced.shape[0], : replaced.shape[1]]).mean()) < 1
    assert 9 < replaced.std() < 15
    assert np.array_equal(result[:, 170:], filled[:, 170:])


@pytest.mark.parametrize(
    ("part", "least"),
    [((slice(60, 75), slice(20, 240)), 1), ((slice(100, 124), slice(100, 124)), deep._LEAST)],
    ids=["strokes of 15 px", "a few pixels"],
)
def test_small_grids_stay(scene, monkeypatch, part, least):
    photo, unknown, filled = scene
    monkeypatch.setattr(deep, "_LEAST", least)
    unknown[:] = False
    unknown[part] = True
    filled[:] = photo / np.float32(127.5) - 1
    filled[part] = (12 / 127.5 * grid())[part]
    assert np.array_equal(copied(photo, unknown, filled), filled)


@pytest.mark.parametrize("copying", [None, copying_of(256)])
@pytest.mark.parametrize("reach", [100, 40])
def test_windows_at_full_resolution_get_it_with_copying(scene, reach, copying):
    photo, unknown, filled = scene
    (window,) = plan(photo, unknown, reach=Reach(reach, reach, reach))
    flat = np.zeros((*window.hole.shape, 4), np.float32)
    if window.scale == 1:
        flat[..., :3] = filled[window.box]
    fill = window.prepared(flat, photo, np.zeros(unknown.shape, np.float32), copying=copying).fill
    plain = window.prepared(flat, photo, np.zeros(unknown.shape, np.float32)).fill
    assert np.array_equal(fill, plain) != (window.scale == 1 and copying is not None)


def test_roughness_is_what_is_fine_in_hole_and_known_pixels_apart(scene):
    _, unknown, filled = scene
    rng = np.random.default_rng(0)
    filled[:] = rng.normal(0, 0.1, filled.shape)
    filled[unknown] = np.linspace(-1, 1, SIDE, dtype=np.float32)[None, :, None].repeat(SIDE, 0)[unknown]
    rough = roughness(filled, unknown)
    assert np.abs(rough[:60, :60] / (0.1 * np.sqrt(3)) - 1).mean() < 0.15
    assert rough[HOLE][12:-12, 12:-12].max() < 0.02


def step(height):
    """(SIDE, SIDE, 3): a slanted edge of ``height`` through the middle."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.where(rows + columns // 3 > SIDE * 2 // 3, np.float32(height), np.float32(0))[..., None].repeat(
        3, 2
    )


def test_edges_are_steep_and_have_one_direction():
    rng = np.random.default_rng(0)
    near = cv2.dilate(np.uint8(np.abs(np.diff(step(1)[..., 0], axis=0, prepend=0)) > 0), np.ones((3, 3))) > 0
    near[:8] = False  # where the first row has no other before it
    far = cv2.dilate(near.astype(np.uint8), np.ones((41, 41))) == 0
    found = edges(step(1.0))
    assert found[near].min() > 0.9
    assert found[far].max() == 0
    assert edges(step(0.1)).max() < 0.1  # faint
    assert edges(np.linspace(-1, 1, SIDE * SIDE * 3, dtype=np.float32).reshape(SIDE, SIDE, 3)).max() == 0
    assert edges(rng.normal(0, 0.5, (SIDE, SIDE, 3)).astype(np.float32)).mean() < 0.05  # texture, as steep


@pytest.mark.usefixtures("unseen")
def test_edges_of_the_fill_are_kept_if_asked_for(scene):
    photo, unknown, filled = scene
    filled[unknown] += step(0.8)[unknown] - 0.4
    photo[:, :32] = np.clip(photo[:, :32].astype(int) + 51, 0, 255)  # both sides of the edge are known
    photo[:, -32:] = np.clip(photo[:, -32:].astype(int) - 51, 0, 255)
    filled[~unknown] = photo[~unknown] / np.float32(127.5) - 1
    near = np.zeros_like(unknown)
    near[INSIDE] = (np.abs(np.diff(step(1)[..., 0], axis=0, prepend=0)) > 0)[INSIDE]
    far = np.zeros_like(unknown)
    far[INSIDE] = (cv2.dilate(near.astype(np.uint8), np.ones((25, 25))) == 0)[INSIDE]
    change, kept = (
        np.abs(copied(photo, unknown, filled, **options) - filled).mean(2)
        for options in ({}, {"edges_kept": True})
    )
    assert change[near].mean() > 0.03
    assert kept[near].mean() < 0.2 * change[near].mean()
    assert kept[far].mean() > 0.8 * change[far].mean() > 0.02
