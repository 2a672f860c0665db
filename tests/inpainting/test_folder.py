"""Workers side by side: results in order, one mask read once, memory for so many photos only."""

from __future__ import annotations

import threading
import time
import warnings

import numpy as np
import pytest
import torch

from damgan_cli.inpainting import folder
from damgan_cli.inpainting.folder import Options, fill_photos
from damgan_cli.inpainting.job import Job
from damgan_cli.masks.read import MaskWarning
from tests.cli.inpaint_files import HOLE, files
from tests.files import save
from tests.photos.photo_kinds import HEIGHT, WIDTH, noise

COUNT = 10


@pytest.fixture
def jobs(tmp_path):
    mask = save(tmp_path / "mask.png", HOLE)
    photos = [save(tmp_path / f"{number}.png", noise(seed=number)) for number in range(COUNT)]
    return [
        Job(photo.name, photo, mask, tmp_path / "out" / photo.name, None, (WIDTH, HEIGHT)) for photo in photos
    ]


@pytest.fixture
def at_work(monkeypatch):
    """How many photos of a run of three workers were in memory at once, at most."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    try_load, try_save, turn = folder._try_load, folder._try_save, threading.Lock()
    seen = {"now": 0, "most": 0}

    def load(*args):
        with turn:
            seen["now"] += 1
            seen["most"] = max(seen["most"], seen["now"])
        time.sleep(0.02)
        return try_load(*args)

    def save_it(*args):
        with turn:
            seen["now"] -= 1
        return try_save(*args)

    monkeypatch.setattr(folder, "_try_load", load)
    monkeypatch.setattr(folder, "_try_save", save_it)
    return seen


def test_results_come_in_order_and_one_mask_is_read_once(jobs, at_work, inpainter, monkeypatch, tmp_path):
    monkeypatch.setattr(inpainter, "batch_size", 2)
    save(tmp_path / "mask.png", np.where(HOLE, 200, 0).astype(np.uint8))  # not white: each reading warns
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = list(fill_photos(jobs, inpainter, Options()))
    assert [result.job for result in results] == jobs
    assert {result.status for result in results} == {"filled"}
    assert len([w for w in caught if w.category is MaskWarning]) == 1
    assert files(tmp_path / "out") == [job.name for job in jobs]
    assert at_work["most"] > 2  # more than one batch at once


def test_photos_that_fill_the_memory_come_one_at_a_time(jobs, at_work, inpainter, monkeypatch):
    monkeypatch.setattr(folder, "PIXELS_PER_WORKER", 1)
    assert len(list(fill_photos(jobs, inpainter, Options()))) == COUNT
    assert at_work["most"] == 1


def test_one_slow_photo_does_not_keep_the_others_waiting(jobs, inpainter, monkeypatch):
    """All that can be in memory beside it is done while the first is still being read."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(inpainter, "batch_size", 1)
    try_load, try_save = folder._try_load, folder._try_save
    others = threading.Semaphore(0)

    def load(job, *args):
        if job is jobs[0]:
            for _ in jobs[1:]:
                assert others.acquire(timeout=20)
        return try_load(job, *args)

    def save_it(*args):
        others.release()
        return try_save(*args)

    monkeypatch.setattr(folder, "_try_load", load)
    monkeypatch.setattr(folder, "_try_save", save_it)
    assert [result.status for result in fill_photos(jobs, inpainter, Options())] == ["filled"] * COUNT


def test_cores_without_a_photo_of_their_own_help_with_the_last(jobs, inpainter, monkeypatch):
    """Of two photos the first waits for the other twice: until it has begun, and until it is done."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(inpainter, "batch_size", 1)
    set_to = {}
    monkeypatch.setattr(torch, "set_num_threads", lambda n: set_to.update({threading.get_ident(): n}))
    begun, shares = threading.Event(), []
    try_load, fill_batch = folder._try_load, inpainter.fill_batch

    def load(job, *args):
        if job is jobs[1]:
            begun.set()
        else:
            assert begun.wait(timeout=20)
            shares.append(threading.get_ident())
        return try_load(job, *args)

    def fill(images, holes, *, threads):
        if threading.get_ident() in shares:
            shares.append(threads())
            while threads() == 1:
                time.sleep(0.001)
            set_to.clear()
        return fill_batch(images, holes, threads=threads)

    monkeypatch.setattr(folder, "_try_load", load)
    monkeypatch.setattr(inpainter, "fill_batch", fill)
    assert [result.status for result in fill_photos(jobs[:2], inpainter, Options())] == ["filled"] * 2
    mine, before = shares
    assert before == 1
    assert set_to[mine] == 2


def test_leaving_early_finishes_what_is_being_written_and_starts_nothing_more(
    jobs, at_work, inpainter, monkeypatch, tmp_path
):
    monkeypatch.setattr(inpainter, "batch_size", 1)
    run = fill_photos(jobs, inpainter, Options())
    assert next(run).status == "filled"
    run.close()
    left = files(tmp_path / "out")
    time.sleep(0.1)
    assert left == files(tmp_path / "out")
    assert 1 <= len(left) < COUNT
    assert not [name for name in left if name.endswith(".tmp")]
