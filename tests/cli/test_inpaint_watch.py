"""``damgan inpaint --watch``: what arrives is filled once, when it is complete."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from damgan_cli.inpainting import arrivals as module
from damgan_cli.inpainting.arrivals import STILL, arrivals
from tests.cli.inpaint_files import HOLE, files, one_error
from tests.files import save
from tests.photos.photo_kinds import noise


class Clock:
    """Time that passes only in sleep()."""

    now = 0.0

    def sleep(self, seconds):
        self.now += seconds


def looks(folder, *more):
    clock = Clock()
    return arrivals(folder, *more, sleep=clock.sleep, clock=lambda: clock.now)


def until_new(watched, most=6):
    return next((new for _, new in zip(range(most), watched, strict=False) if new), [])


def test_a_photo_comes_once_when_it_is_complete(tmp_path):
    watched = looks(tmp_path)
    path = tmp_path / "sub" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"half")
    (tmp_path / "b.jpg.part").write_bytes(b"no photo yet")
    (tmp_path / "empty.png").touch()
    assert [next(watched) for _ in range(int(STILL))] == [[], []]
    path.write_bytes(b"half and the rest")  # it grows: the time counts anew
    assert [next(watched) for _ in range(int(STILL))] == [[], []]
    assert until_new(watched) == [path]
    assert until_new(watched) == []
    path.write_bytes(b"another photo")
    os.utime(path, (1, 1))
    assert until_new(watched) == [path]
    path.unlink()
    assert until_new(watched) == []


def test_a_photo_waits_for_its_mask(tmp_path):
    photos, masks = tmp_path / "photos", tmp_path / "photos" / "masks"
    masks.mkdir(parents=True)
    (photos / "a.jpg").write_bytes(b"photo")
    watched = looks(photos, masks)
    assert until_new(watched) == []
    (masks / "a.png").write_bytes(b"mask")
    assert until_new(watched) == [photos / "a.jpg"]


@pytest.fixture
def at_work(monkeypatch):
    """What happens between looks, by number of the look; Ctrl-C after the last."""

    def work(*steps):
        clock, todo = Clock(), list(steps)

        def sleep(_):
            clock.now += STILL
            if not todo:
                raise KeyboardInterrupt
            todo.pop(0)()

        monkeypatch.setattr(module.time, "sleep", sleep)
        monkeypatch.setattr(module.arrivals, "__kwdefaults__", {"sleep": sleep, "clock": lambda: clock.now})

    return work


def test_watch_fills_what_arrives_and_a_restart_nothing_twice(inpaint, tmp_path, at_work):
    (tmp_path / "in").mkdir()
    save("mask.png", HOLE)
    run = ("--watch", "in", "--mask", "mask.png", "-o", "out")
    nothing = lambda: None  # noqa: E731
    at_work(
        lambda: save("in/a.png", noise()),
        nothing,
        nothing,
        lambda: (
            save("in/sub/b.png", noise(seed=1)),
            Path("in/bad.png").write_bytes(b"no picture"),
            save("in/c.png", noise()[:9]),
        ),
        nothing,
        nothing,
    )
    result = inpaint(*run, "--json")
    assert result.code == 130
    assert "watching in" in result.err
    assert files("out") == ["a.png", "sub/b.png"]
    counts = json.loads(result.out)["counts"]
    assert (counts["filled"], counts["failed"], counts["skipped"]) == (2, 2, 0)
    before = {name: Path("out", name).stat().st_mtime_ns for name in files("out")}
    at_work(nothing, nothing)
    again = inpaint(*run, "--json")
    assert (again.code, json.loads(again.out)["counts"]["skipped"]) == (130, 2)
    assert before == {name: Path("out", name).stat().st_mtime_ns for name in files("out")}


def test_what_cannot_be_watched_is_told(inpaint, photo, tmp_path):
    one_error(inpaint("photo.png", "--watch", "--box", "0,0,5,5"), "--watch needs one folder")
    (tmp_path / "in").mkdir()
    one_error(inpaint("in", "--watch", "--box", "0,0,5,5"), "results need a folder too")
    one_error(inpaint("in", "--watch", "--box", "0,0,5,5", "-o", "o", "--dry-run"), "not go with --dry-run")
