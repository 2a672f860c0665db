"""Nearest-neighbour fields."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from damgan_cli.inpainting import patchmatch
from damgan_cli.inpainting.patchmatch import RADIUS, STRIDE, Field, Octave

PERIOD = 24


@pytest.fixture
def texture():
    """An octave of tiles that repeat every `PERIOD` px, with a hole whose fill is right but for noise."""
    rng = np.random.default_rng(0)
    image = np.tile(rng.uniform(-1, 1, (PERIOD, PERIOD, 3)), (5, 6, 1)).astype(np.float32)
    hole = np.zeros(image.shape[:2], bool)
    hole[40:80, 50:90] = True
    guess = image + hole[..., None] * rng.normal(0, 0.05, image.shape).astype(np.float32)
    return image, Octave(guess, hole, hole)


def test_a_place_finds_the_patch_that_it_repeats(texture):
    image, octave = texture
    field = Field.found(octave, 1, None, np.random.default_rng(0))
    rows, columns = np.nonzero(octave.wanted)
    off = field.offset_at(rows, columns) % PERIOD
    assert (off == 0).all(axis=1).mean() > 0.99
    assert np.abs(field.copied(octave) - image).mean() < 0.01  # of the noise .05


def test_fields_are_handed_on_at_twice_the_size(texture):
    image, octave = texture
    field = Field.found(octave, 2, None, np.random.default_rng(0))
    hole = octave.hole.repeat(2, 0).repeat(2, 1)[:-1]  # sides are odd at times
    larger = image.repeat(2, 0).repeat(2, 1)[:-1]
    finer = field.at(Octave(larger, hole, hole), 1)
    rows, columns = np.nonzero(hole)
    assert (finer.offset_at(rows, columns) % (2 * PERIOD) == 0).all(axis=1).mean() > 0.99


def test_a_search_does_not_leave_the_photo_at_one_side_to_enter_at_the_other():
    hole = np.zeros((30, 40), bool)
    octave = Octave(np.zeros((30, 40, 3), np.float32), hole, hole)
    rows, columns = np.indices(hole.shape)
    usable = octave.usable[octave.at(rows, columns)]
    assert usable[RADIUS:-RADIUS, RADIUS:-RADIUS].all()
    farthest = max(max(map(max, patchmatch._STEPS)) * STRIDE, patchmatch._JUMP)
    for shift in range(-farthest, farthest + 1):
        reached = octave.usable[octave.at(rows, columns) + shift] & usable
        assert (reached <= ((columns + shift >= 0) & (columns + shift < 40))).all()


def test_distances_are_the_same_in_any_blocks(texture, monkeypatch):
    _, octave = texture
    places, _ = octave.targets()
    patches = octave.patches(places)
    who = np.arange(len(places))[::-1]
    expected = np.square(octave.patches(places) - patches[who]).sum((1, 2))
    for block in (1 << 20, 7):
        monkeypatch.setattr(patchmatch, "_BLOCK", block)
        assert np.allclose(octave.distances(places, patches, who), expected, rtol=1e-5)


def test_where_no_patch_is_known_there_is_no_field():
    hole = np.ones((20, 20), bool)
    hole[:5] = False  # patches are larger
    octave = Octave(np.zeros((20, 20, 3), np.float32), hole, hole)
    assert Field.found(octave, 1, None, np.random.default_rng(0)) is None


def test_looking_takes_no_threads_but_the_workers_own():
    """Those of numpy's products would wait for cores on which other workers are busy."""
    code = """
import time
import numpy as np
import torch
from damgan_cli.inpainting import patchmatch, shifts

torch.set_num_threads(1)
random = np.random.default_rng(0)
hole = np.zeros((150, 150), bool)
hole[20:90, 20:90] = True
octave = patchmatch.Octave(random.uniform(-1, 1, (*hole.shape, 3)).astype(np.float32), hole, hole)
sources, (places, _) = np.flatnonzero(octave.usable), octave.targets()
for look in (
    lambda: patchmatch._nearest(octave, places, sources, random),
    lambda: shifts._repeats(octave, random),
):
    look()
    time.sleep(1)  # those that numpy has started at import wait at full speed for a moment
    own, all_of_them = time.thread_time(), time.process_time()
    for _ in range(5):
        look()
    print((time.thread_time() - own) / (time.process_time() - all_of_them))
"""
    many = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=many, capture_output=True, check=True, text=True)
    assert all(float(own) > 0.95 for own in done.stdout.split())
    assert len(done.stdout.split()) == 2
